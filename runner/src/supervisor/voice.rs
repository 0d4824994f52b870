//! What the runner says of itself in `RUNNERS`, in order: who it is, and what it holds. Only changes
//! are told, gathered for a moment, so that a thousand runners with hundreds of scripts cost little.

use super::effects::say;
use super::own_agents;
use crate::apply::{Shelved, Synced};
use crate::station::Station;
use events::Timestamp;
use events::runner::{Held, Holding, Registration, RunnerEvent, SYNC_ERROR_MAX_CHARS, SyncError};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Between two registrations; retention of `RUNNERS` is far longer.
const REGISTER_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// What changes within this time after a report is told together in the next one.
const REPORT_PAUSE: Duration = Duration::from_millis(250);
/// Scripts in one event: each takes under 1 KiB, an event at most 1 MiB.
const SCRIPTS_PER_REPORT: usize = 500;
/// Versions of bundles that are remembered; what is held is nearly always what was wanted lately.
const VERSIONS_MAX: usize = 10_000;

/// What comes to the voice.
pub struct Ears {
    pub synced: watch::Receiver<Option<Synced>>,
    /// Registrations before this sequence of `RUNNERS` do not count any more.
    pub forgotten: watch::Receiver<u64>,
    /// Our own agents are to be read again.
    pub agents: Arc<Notify>,
}

/// Speaks as long as the runner lives.
pub async fn speak(station: Arc<Station>, registration: Registration, mut ears: Ears) {
    let mut account = Account::default();
    loop {
        let now = own_agents::with(&station, registration.clone());
        let registered = say(&station, RunnerEvent::Registered(now)).await;
        tokio::spawn(own_agents::tell_refused(station.clone()));
        account.begin_anew();
        let day = tokio::time::sleep(REGISTER_EVERY);
        tokio::pin!(day);
        loop {
            let synced = ears.synced.borrow_and_update().clone();
            for event in synced
                .iter()
                .flat_map(|synced| account.news(synced, Timestamp::now()))
            {
                say(&station, event).await;
            }
            tokio::time::sleep(REPORT_PAUSE).await;
            tokio::select! {
                changed = ears.synced.changed() => if changed.is_err() { return },
                Ok(_) = ears.forgotten.wait_for(|sequence| *sequence > registered) => break,
                () = ears.agents.notified() => break,
                () = &mut day => break,
            }
        }
        own_agents::read_again(&station).await;
    }
}

/// What was told so far.
#[derive(Debug, Default)]
pub struct Account {
    told: BTreeMap<Name, Holding>,
    begun: bool,
    versions: BTreeMap<Digest, u32>,
}

impl Account {
    fn begin_anew(&mut self) {
        self.told.clear();
        self.begun = false;
    }

    /// The events that bring what was told to what is.
    fn news(&mut self, synced: &Synced, now: Timestamp) -> Vec<RunnerEvent> {
        self.learn(synced);
        let is: BTreeMap<Name, Holding> = synced
            .scripts
            .iter()
            .map(|(name, shelved)| (name.clone(), self.holding(name, shelved, now)))
            .collect();
        let news = is
            .iter()
            .filter(|(name, holding)| self.told.get(*name) != Some(*holding));
        let news: Vec<(Name, Holding)> = news.map(|(n, h)| (n.clone(), h.clone())).collect();
        let gone = self.told.keys().filter(|name| !is.contains_key(*name));
        let mut gone: BTreeSet<Name> = gone.cloned().collect();
        let mut parts: Vec<&[(Name, Holding)]> = news.chunks(SCRIPTS_PER_REPORT).collect();
        if parts.is_empty() && (!self.begun || !gone.is_empty()) {
            parts.push(&[]);
        }
        let mut events = Vec::new();
        for part in parts {
            events.push(RunnerEvent::Synced {
                whole: !std::mem::replace(&mut self.begun, true),
                scripts: part.iter().cloned().collect(),
                gone: std::mem::take(&mut gone),
            });
        }
        self.told = is;
        events
    }

    fn learn(&mut self, synced: &Synced) {
        if self.versions.len() > VERSIONS_MAX {
            self.versions.clear();
        }
        let known = synced.scripts.values().map(|shelved| shelved.wanted);
        self.versions
            .extend(known.map(|want| (want.digest, want.version)));
    }

    /// An error that goes on keeps the time when it began.
    fn holding(&self, name: &Name, shelved: &Shelved, now: Timestamp) -> Holding {
        let held = shelved.held.map(|(digest, since)| Held {
            digest,
            version: self.versions.get(&digest).copied(),
            since,
        });
        let before = self.told.get(name).and_then(|told| told.error.as_ref());
        let error = shelved.error.as_ref().map(|message| {
            let message: String = message.chars().take(SYNC_ERROR_MAX_CHARS).collect();
            let same = before.filter(|before| before.message == message);
            let since = same.map_or(now, |before| before.since);
            SyncError { message, since }
        });
        Holding { held, error }
    }
}

/// How a script stands, for who asks for it alone.
pub fn holding(name: &Name, shelved: &Shelved, now: Timestamp) -> Holding {
    let mut account = Account::default();
    account
        .versions
        .insert(shelved.wanted.digest, shelved.wanted.version);
    account.holding(name, shelved, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Want;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn shelved(version: u32, held: Option<&str>, error: Option<&str>) -> Shelved {
        Shelved {
            wanted: Want {
                version,
                digest: Digest::of(format!("v{version}").as_bytes()),
                catalog_sequence: 1,
            },
            held: held.map(|content| (Digest::of(content.as_bytes()), at(1))),
            error: error.map(str::to_owned),
        }
    }

    fn synced(scripts: &[(&str, Shelved)]) -> Synced {
        let scripts = scripts.iter().cloned();
        Synced {
            scripts: scripts
                .map(|(name, s)| (name.parse().unwrap(), s))
                .collect(),
            ..Synced::default()
        }
    }

    /// `whole`, the names told, the names gone.
    fn shown(events: &[RunnerEvent]) -> Vec<(bool, Vec<String>, Vec<String>)> {
        let names = |names: Vec<&Name>| names.iter().map(ToString::to_string).collect();
        let shown = events.iter().map(|event| match event {
            RunnerEvent::Synced {
                whole,
                scripts,
                gone,
            } => (
                *whole,
                names(scripts.keys().collect()),
                names(gone.iter().collect()),
            ),
            other => panic!("{other:?}"),
        });
        shown.collect()
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut account = Account::default();
        let first = synced(&[
            ("a", shelved(1, Some("v1"), None)),
            ("b", shelved(1, None, None)),
        ]);
        let told = shown(&account.news(&first, at(5)));
        assert_eq!(told, [(true, vec!["a".into(), "b".into()], vec![])]);
        assert!(account.news(&first, at(6)).is_empty());
        let second = synced(&[("a", shelved(2, Some("v2"), None))]);
        let told = shown(&account.news(&second, at(7)));
        assert_eq!(told, [(false, vec!["a".into()], vec!["b".into()])]);
        account.begin_anew();
        assert!(shown(&account.news(&second, at(8)))[0].0);
    }

    #[test]
    fn a_runner_that_holds_nothing_says_so_once() {
        let mut account = Account::default();
        assert_eq!(
            shown(&account.news(&synced(&[]), at(1))),
            [(true, vec![], vec![])]
        );
        assert!(account.news(&synced(&[]), at(2)).is_empty());
    }

    #[test]
    fn an_error_that_goes_on_keeps_its_beginning_and_what_is_held_its_version() {
        let mut account = Account::default();
        let good = synced(&[("a", shelved(1, Some("v1"), None))]);
        account.news(&good, at(1));
        let bad = synced(&[("a", shelved(2, Some("v1"), Some("disk full")))]);
        account.news(&bad, at(5));
        assert!(account.news(&bad, at(9)).is_empty());
        let told = &account.told["a"];
        assert_eq!(told.error.as_ref().unwrap().since, at(5));
        assert_eq!(told.held.as_ref().unwrap().version, Some(1));
    }

    #[test]
    fn many_scripts_are_told_in_parts_of_one_account() {
        let names: Vec<String> = (0..=SCRIPTS_PER_REPORT).map(|n| format!("s{n}")).collect();
        let scripts: Vec<(&str, Shelved)> = names
            .iter()
            .map(|name| (name.as_str(), shelved(1, Some("v1"), None)))
            .collect();
        let told = shown(&Account::default().news(&synced(&scripts), at(1)));
        let parts: Vec<(bool, usize)> = told.iter().map(|(w, n, _)| (*w, n.len())).collect();
        assert_eq!(parts, [(true, SCRIPTS_PER_REPORT), (false, 1)]);
    }
}
