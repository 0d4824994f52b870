//! Runners' access to the broker: who may join with what, and who is shut out. Whether a key is its
//! sender's own is not known here.

use super::{Decision, Rejection};
use events::catalog::{Catalog, CatalogEvent, Kind};
use events::member::{BrokerKey, Joined, Member};
use events::{RunnerId, Timestamp, member};
use schemas::Name;

/// A runner at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    pub runner_id: RunnerId,
    pub key: BrokerKey,
    pub ticket: Ticket,
}

/// What it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// An admin's token lets in whoever brings it.
    Admin,
    /// A token that is good once.
    OneTime(Name),
    /// That it holds the private half of this key.
    Key(BrokerKey),
}

/// A runner joins, or is recognised.
///
/// # Errors
/// When what it shows does not let it in, or the key or the id belong to another.
pub fn join(catalog: &Catalog, who: &Applicant, now: Timestamp) -> Result<Decision, Rejection> {
    let name = member::catalog_name(&who.runner_id);
    let before = catalog.members.get(&name);
    let there = before.filter(|member| !member.is_revoked());
    if matches!(&who.ticket, Ticket::Key(proven) if *proven != who.key) {
        return Err(not_a_member(who));
    }
    // Also when a token comes a second time: the first answer may have been lost.
    if there.is_some_and(|member| member.key == who.key) {
        return match &who.ticket {
            Ticket::OneTime(token) => recognised(catalog, token, &name, now),
            Ticket::Admin | Ticket::Key(_) => Ok(Decision::Unchanged),
        };
    }
    let token = match &who.ticket {
        Ticket::Key(_) => {
            return Err(shut_out(before, who)
                .err()
                .unwrap_or_else(|| not_a_member(who)));
        }
        Ticket::Admin => shut_out(before, who)?,
        Ticket::OneTime(token) => {
            unused(catalog, token, now)?;
            one_time(before, who)?;
            Some(token.clone())
        }
    };
    own_key(catalog, &name, who)?;
    Ok(Decision::append(CatalogEvent::RunnerJoined(Joined {
        runner: name,
        key: who.key.clone(),
        token,
    })))
}

/// Its key opens nothing any more; and it comes back with a token made for that, only.
///
/// # Errors
/// When it has not joined.
pub fn revoke(catalog: &Catalog, runner_id: &RunnerId) -> Result<Decision, Rejection> {
    let runner = member::catalog_name(runner_id);
    match catalog.members.get(&runner) {
        Some(member) if member.is_revoked() => Ok(Decision::Unchanged),
        Some(_) => Ok(Decision::append(CatalogEvent::RunnerRevoked { runner })),
        None => Err(Rejection::NotFound {
            kind: Kind::Runner,
            name: runner,
        }),
    }
}

/// The token that let it in, or one it does not need; it is not used up by that.
fn recognised(
    catalog: &Catalog,
    token: &Name,
    runner: &Name,
    now: Timestamp,
) -> Result<Decision, Rejection> {
    let issued = catalog.tokens.get(token);
    match issued.and_then(|issued| issued.used.as_ref()) {
        Some(used) if used.runner == *runner => Ok(Decision::Unchanged),
        _ => unused(catalog, token, now).map(|()| Decision::Unchanged),
    }
}

fn unused(catalog: &Catalog, name: &Name, now: Timestamp) -> Result<(), Rejection> {
    let missing = || Rejection::NotFound {
        kind: Kind::Token,
        name: name.clone(),
    };
    let issued = catalog.tokens.get(name).ok_or_else(missing)?;
    if let Some(used) = &issued.used {
        return Err(Rejection::TokenUsed {
            token: name.clone(),
            runner: used.runner.clone(),
        });
    }
    match issued.is_expired(now) {
        true => Err(Rejection::TokenExpired {
            token: name.clone(),
        }),
        false => Ok(()),
    }
}

/// An admin's token often lies where the runner finds it by itself, so it does not undo what
/// somebody has done on purpose.
fn shut_out(before: Option<&Member>, who: &Applicant) -> Result<Option<Name>, Rejection> {
    match before {
        Some(member) if member.is_revoked() => Err(Rejection::RunnerRevoked {
            runner_id: who.runner_id.clone(),
        }),
        _ => Ok(None),
    }
}

/// Who is given one token is not to take another runner's place with it.
fn one_time(before: Option<&Member>, who: &Applicant) -> Result<(), Rejection> {
    let runner_id = who.runner_id.clone();
    match before {
        Some(member) if !member.is_revoked() => Err(Rejection::AlreadyJoined { runner_id }),
        Some(member) if member.key == who.key => Err(Rejection::KeyRevoked { runner_id }),
        _ => Ok(()),
    }
}

/// The broker takes a key for one user only.
fn own_key(catalog: &Catalog, name: &Name, who: &Applicant) -> Result<(), Rejection> {
    let mut others = catalog.members.iter().filter(|(other, _)| *other != name);
    match others.find(|(_, member)| member.key == who.key) {
        Some((other, _)) => Err(Rejection::KeyTaken {
            runner_id: who.runner_id.clone(),
            other: other.clone(),
        }),
        None => Ok(()),
    }
}

fn not_a_member(who: &Applicant) -> Rejection {
    Rejection::NotJoined {
        runner_id: who.runner_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{evolved, given, name};
    use events::Role;
    use events::token::Token;
    use rstest::rstest;
    use schemas::Digest;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn key(letter: char) -> BrokerKey {
        let rest: String = std::iter::repeat_n(letter, 55).collect();
        format!("U{rest}").parse().unwrap()
    }

    fn applicant(runner: &str, letter: char, ticket: Ticket) -> Applicant {
        Applicant {
            runner_id: runner.parse().unwrap(),
            key: key(letter),
            ticket,
        }
    }

    fn once(token: &str) -> Ticket {
        Ticket::OneTime(name(token))
    }

    /// Two tokens that are good once, the first used by `web` with key A.
    fn joined() -> Catalog {
        let token = |name: &str, end| {
            CatalogEvent::TokenCreated(Token {
                name: self::name(name),
                role: Role::Runner,
                hash: Digest::of(name.as_bytes()),
                expires_at: end,
            })
        };
        let catalog = given([
            token("first", None),
            token("second", None),
            token("late", Some(NOW)),
        ]);
        let decision = join(&catalog, &applicant("web", 'A', once("first")), NOW).unwrap();
        evolved(catalog, decision)
    }

    fn revoked() -> Catalog {
        let catalog = joined();
        let decision = revoke(&catalog, &"web".parse().unwrap()).unwrap();
        evolved(catalog, decision)
    }

    #[rstest]
    #[case::its_answer_was_lost(applicant("web", 'A', once("first")))]
    #[case::another_token_is_not_needed(applicant("web", 'A', once("second")))]
    #[case::its_key(applicant("web", 'A', Ticket::Key(key('A'))))]
    #[case::an_admin(applicant("web", 'A', Ticket::Admin))]
    fn who_has_joined_is_recognised(#[case] who: Applicant) {
        assert_eq!(join(&joined(), &who, NOW), Ok(Decision::Unchanged));
    }

    #[rstest]
    #[case::used_up(applicant("db", 'B', once("first")), "used up by runner web")]
    #[case::expired(applicant("db", 'B', once("late")), "expired")]
    #[case::revoked(applicant("db", 'B', once("gone")), "not found")]
    #[case::place_of_another(applicant("web", 'B', once("second")), "has joined already")]
    #[case::same_token_other_key(applicant("web", 'B', once("first")), "used up")]
    #[case::key_of_another(applicant("db", 'A', once("second")), "belongs to runner web")]
    #[case::key_of_another_by_admin(applicant("db", 'A', Ticket::Admin), "belongs to runner web")]
    #[case::proves_another_key(applicant("web", 'A', Ticket::Key(key('B'))), "has not joined")]
    #[case::only_a_key(applicant("db", 'B', Ticket::Key(key('B'))), "has not joined")]
    fn who_may_not_join_is_told_why(#[case] who: Applicant, #[case] why: &str) {
        let refusal = join(&joined(), &who, NOW).unwrap_err().to_string();
        assert!(refusal.contains(why), "{refusal}");
    }

    #[test]
    fn a_token_is_used_up_by_the_first_who_joins() {
        let catalog = joined();
        let used = catalog.tokens[&name("first")].used.clone().unwrap();
        assert_eq!(used.runner, name("web"));
        let admin = applicant("web", 'B', Ticket::Admin);
        let again = evolved(catalog.clone(), join(&catalog, &admin, NOW).unwrap());
        assert_eq!(again.members[&name("web")].key, key('B'));
    }

    #[rstest]
    #[case::its_key(applicant("web", 'A', Ticket::Key(key('A'))), false)]
    #[case::its_old_token(applicant("web", 'A', once("first")), false)]
    #[case::an_admin(applicant("web", 'B', Ticket::Admin), false)]
    #[case::new_token_old_key(applicant("web", 'A', once("second")), false)]
    #[case::new_token_new_key(applicant("web", 'B', once("second")), true)]
    fn who_was_shut_out_comes_back_with_a_new_token_only(
        #[case] who: Applicant,
        #[case] let_in: bool,
    ) {
        assert_eq!(join(&revoked(), &who, NOW).is_ok(), let_in);
    }

    #[test]
    fn revoking_twice_is_revoking_once() {
        let web: RunnerId = "web".parse().unwrap();
        assert_eq!(revoke(&revoked(), &web), Ok(Decision::Unchanged));
        assert!(revoke(&revoked(), &"db".parse().unwrap()).is_err());
    }
}
