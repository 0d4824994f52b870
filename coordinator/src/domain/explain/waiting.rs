//! A run that nobody holds: why no runner takes it.

use super::words::{all, either};
use super::{Candidate, Cause, Contact, Facts, Standing, Verdict};
use crate::domain::ids::run_of_hook;
use events::run::HookPoint;
use schemas::{Name, Tag};
use std::collections::BTreeSet;
use std::time::Duration;

/// A free runner asks its lanes far more often than this; later, something is wrong with it.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    if let Some(hook) = facts.run.request.hooks.on_run_start.as_ref()
        && facts.run.state.held
    {
        return held_back(facts, &hook.agent_name);
    }
    let since = facts.run.claimed_at.unwrap_or(facts.run.queued_at);
    let found = blocker(facts, None);
    let summary = match facts.run.state.attempt {
        1 => found.summary,
        attempt => {
            let all = facts.run.request.max_attempts;
            format!("Attempt {attempt} of {all} waits: {}", found.summary)
        }
    };
    Verdict {
        cause: found.cause,
        summary,
        waits_for: Some(found.waits_for),
        since,
        hint: found.hint,
    }
}

/// A hook speaks first: why *its* run waits is its own explanation.
fn held_back(facts: &Facts<'_>, hook: &Name) -> Verdict {
    let hook_run = run_of_hook(&facts.run.request.run_id, HookPoint::OnRunStart);
    let since = facts.run.created_at;
    Verdict {
        cause: Cause::HookWaiting,
        summary: format!(
            "The on_run_start hook, agent {hook}, has not answered for {}; no runner can take the \
             run before that.",
            facts.lasted(since)
        ),
        waits_for: Some(format!("the hook's run {hook_run}")),
        since,
        hint: Some(format!("coordinator run explain {hook_run}")),
    }
}

/// What stands between a run and a runner.
pub(super) struct Blocker {
    pub cause: Cause,
    pub summary: String,
    pub waits_for: String,
    pub hint: Option<String>,
}

/// `lost` is the runner that is not counted, because the run has to go elsewhere.
pub(super) fn blocker(facts: &Facts<'_>, lost: Option<&events::RunnerId>) -> Blocker {
    let (tags, run) = (facts.tags(), &facts.run.request.run_id);
    let others = || facts.fleet.iter().filter(|c| Some(&c.runner_id) != lost);
    let serving: Vec<&Candidate> = others().filter(|c| c.executes(tags)).collect();
    let in_state = |state: Standing| -> Vec<&Candidate> {
        let wanted = serving.iter().filter(|c| c.note(tags, run).state == state);
        wanted.copied().collect()
    };
    if serving.is_empty() {
        return unserved(facts, &others().collect::<Vec<_>>());
    }
    let (free, busy) = (in_state(Standing::Free), in_state(Standing::Busy));
    if let Some(first) = free.first() {
        return claimable(facts, first);
    }
    if !busy.is_empty() {
        return full(facts, &busy);
    }
    let unheard = in_state(Standing::Unheard);
    if let Some(first) = unheard.first() {
        return unknown(facts, first);
    }
    if !in_state(Standing::Draining).is_empty() {
        return all_draining(facts, &serving);
    }
    offline(facts, &serving)
}

fn unserved(facts: &Facts<'_>, fleet: &[&Candidate]) -> Blocker {
    let tags = facts.tags();
    let there: Vec<&&Candidate> = fleet.iter().filter(|c| c.may_be_there()).collect();
    let unfit = |why: Standing| there.iter().find(move |c| c.unfit(tags) == Some(why));
    if let Some(first) = unfit(Standing::HoldsOnly) {
        return holds_only(facts, first);
    }
    if let Some(first) = unfit(Standing::OwnTagsOnly) {
        return own_tags_only(facts, first);
    }
    let lacks = |c: &Candidate| tags.missing_from(&c.offers).cloned().collect::<Vec<Tag>>();
    let lacking = there.iter().map(|c| (lacks(c), &c.runner_id));
    let closest = lacking.min_by_key(|(missing, id)| (missing.len(), *id));
    // Where a runner has it already, the question is who else there is.
    let other = match facts.run.state.runner_id {
        Some(_) => "other ",
        None => "",
    };
    let (cause, summary) = match closest {
        None if fleet.is_empty() => (
            Cause::NoRunner,
            format!(
                "No {other}runner has joined yet; this run needs one that offers all of {tags}."
            ),
        ),
        None => (
            Cause::NoRunner,
            format!("No {other}runner is online, and none of those known offers all of {tags}."),
        ),
        Some((missing, closest)) => {
            let offered = |tag: &&Tag| there.iter().any(|c| c.offers.contains(*tag));
            let nowhere: Vec<&Tag> = missing.iter().filter(|tag| !offered(tag)).collect();
            let summary = match nowhere.len() {
                0 => format!(
                    "No single online runner offers all of {tags}; the closest, {closest}, lacks {}.",
                    all(&missing)
                ),
                n if n == missing.len() => format!(
                    "No {other}online runner offers {}; {closest} offers all else that is demanded.",
                    either(nowhere)
                ),
                _ => format!(
                    "No {other}online runner offers {}; the closest, {closest}, lacks {}.",
                    either(nowhere),
                    all(&missing)
                ),
            };
            (Cause::MissingTags, summary)
        }
    };
    Blocker {
        cause,
        summary,
        waits_for: format!("a runner that offers all of {tags}"),
        hint: start_one(tags.iter()),
    }
}

fn holds_only(facts: &Facts<'_>, first: &Candidate) -> Blocker {
    let (id, tags) = (&first.runner_id, facts.tags());
    Blocker {
        cause: Cause::HoldsOnly,
        summary: format!(
            "Runner {id} on {} offers all of {tags} and holds scripts only; no online runner \
             executes such runs.",
            first.hostname
        ),
        waits_for: format!("a runner that executes runs of {tags}"),
        hint: start_one(tags.iter()),
    }
}

fn own_tags_only(facts: &Facts<'_>, first: &Candidate) -> Blocker {
    let (id, tags) = (&first.runner_id, facts.tags());
    let own = either(first.one_of.iter().filter(|tag| !tag.is_reserved()));
    Blocker {
        cause: Cause::OwnTagsOnly,
        summary: format!(
            "Runner {id} on {} offers all of {tags} and takes only work that demands {own}; no \
             other online runner offers all.",
            first.hostname
        ),
        waits_for: format!("a runner that offers all of {tags} and takes such work"),
        hint: start_one(tags.iter()),
    }
}

/// What a user can give a runner; the other tags it offers by itself.
fn start_one<'a>(tags: impl Iterator<Item = &'a Tag> + Clone) -> Option<String> {
    // `runner start` makes none of this kind.
    if tags.clone().any(|tag| tag.as_str() == "type:autonomous") {
        return None;
    }
    let own: BTreeSet<&str> = tags
        .filter(|tag| !tag.is_reserved() && !INTERPRETERS.contains(&tag.as_str()))
        .map(Tag::as_str)
        .collect();
    Some(match own.is_empty() {
        true => "runner start".to_owned(),
        false => {
            let own: Vec<&str> = own.into_iter().collect();
            format!("runner start --tags {}", own.join(","))
        }
    })
}

/// Runners that a sentence names.
const NAMED_MAX: usize = 4;
/// A runner offers these where it finds the program.
const INTERPRETERS: [&str; 4] = ["uv", "python3", "bash", "node"];

fn claimable(facts: &Facts<'_>, free: &Candidate) -> Blocker {
    let (id, busy, slots) = (&free.runner_id, free.holds.len(), free.slots);
    let waited = facts.now.duration_since(facts.run.created_at);
    let late = Duration::try_from(waited).is_ok_and(|waited| waited > TAKEN_WITHIN);
    let ahead = ahead(facts);
    let (summary, hint) = match late {
        false => (
            format!(
                "{id} has a free slot ({busy} of {slots} busy) and is about to take it{ahead}."
            ),
            None,
        ),
        true => (
            format!(
                "{id} has a free slot ({busy} of {slots} busy) and has not taken it for {}{ahead}.",
                facts.lasted(facts.run.created_at)
            ),
            Some(format!("the log of runner {id}")),
        ),
    };
    Blocker {
        cause: Cause::Claimable,
        summary,
        waits_for: format!("{id} to claim it"),
        hint,
    }
}

fn full(facts: &Facts<'_>, busy: &[&Candidate]) -> Blocker {
    let held: usize = busy.iter().map(|c| c.holds.len()).sum();
    let slots: u32 = busy.iter().map(|c| c.slots).sum();
    let ahead = ahead(facts);
    let summary = match busy {
        [one] => format!(
            "All slots are busy: {held} of {slots} on {}, the only online runner that could take \
             it{ahead}.",
            one.runner_id
        ),
        many => format!(
            "All slots are busy: {held} of {slots} on the {} online runners that could take \
             it{ahead}.",
            many.len()
        ),
    };
    Blocker {
        cause: Cause::SlotsFull,
        summary,
        waits_for: "a free slot".to_owned(),
        hint: Some("coordinator run list --status running".to_owned()),
    }
}

fn ahead(facts: &Facts<'_>) -> String {
    match facts.position().ahead {
        0 => String::new(),
        1 => "; 1 run of its lane goes first".to_owned(),
        n => format!("; {n} runs of its lane go first"),
    }
}

fn unknown(facts: &Facts<'_>, candidate: &Candidate) -> Blocker {
    let (id, tags) = (&candidate.runner_id, facts.tags());
    Blocker {
        cause: Cause::Unknown,
        summary: format!(
            "Runner {id} serves this lane, but this coordinator has not listened long enough to \
             say whether it is online."
        ),
        waits_for: format!("a sign of life from a runner that offers all of {tags}"),
        hint: Some("ask again in a few seconds".to_owned()),
    }
}

fn all_draining(facts: &Facts<'_>, serving: &[&Candidate]) -> Blocker {
    let tags = facts.tags();
    let summary = match serving {
        [only] => format!(
            "Runner {} on {} is draining ({}) and takes no new runs; no other offers all of {tags}.",
            only.runner_id,
            only.hostname,
            contact(facts, only)
        ),
        several => {
            let each = |c: &&Candidate| match c.contact {
                Contact::Draining { .. } => format!("{} is draining", c.runner_id),
                _ => format!("{} is offline", c.runner_id),
            };
            let mut named: Vec<String> = several.iter().take(NAMED_MAX).map(each).collect();
            if several.len() > NAMED_MAX {
                named.push(format!("and so on for {} more", several.len() - NAMED_MAX));
            }
            format!(
                "None of the {} runners that offer all of {tags} takes new runs: {}.",
                several.len(),
                named.join(", ")
            )
        }
    };
    Blocker {
        cause: Cause::Draining,
        summary,
        waits_for: format!("another runner that offers all of {tags}"),
        hint: start_one(tags.iter()),
    }
}

fn offline(facts: &Facts<'_>, serving: &[&Candidate]) -> Blocker {
    let tags = facts.tags();
    let summary = match serving {
        [only] => format!(
            "Runner {} on {} is offline ({}); no other offers all of {tags}.",
            only.runner_id,
            only.hostname,
            contact(facts, only)
        ),
        many => {
            let last = many.iter().max_by_key(|c| gone_since(c));
            let last = last.map_or_else(String::new, |last| {
                format!(" (last seen: {}, {})", last.runner_id, contact(facts, last))
            });
            format!(
                "All {} runners that offer all of {tags} are offline{last}.",
                many.len()
            )
        }
    };
    let hint = match serving {
        [only] => format!("start it again on {}: runner start", only.hostname),
        _ => "coordinator runner list".to_owned(),
    };
    Blocker {
        cause: Cause::Offline,
        summary,
        waits_for: format!("a runner that offers all of {tags} to come online"),
        hint: Some(hint),
    }
}

fn gone_since(candidate: &Candidate) -> Option<events::Timestamp> {
    match candidate.contact {
        Contact::Left { at } => Some(at),
        Contact::Silent { since } => since,
        Contact::Online | Contact::Draining { .. } | Contact::Unheard => None,
    }
}

/// `not heard for 40 s`
pub(super) fn contact(facts: &Facts<'_>, candidate: &Candidate) -> String {
    match candidate.contact {
        Contact::Online => "online".to_owned(),
        Contact::Draining { since } => format!("for {}", facts.lasted(since)),
        Contact::Unheard => "not heard yet".to_owned(),
        Contact::Silent { since: Some(since) } => {
            format!("not heard for {}", facts.lasted(since))
        }
        Contact::Silent { since: None } => "not heard since this coordinator started".to_owned(),
        Contact::Left { at } => format!("it was stopped {} ago", facts.lasted(at)),
    }
}
