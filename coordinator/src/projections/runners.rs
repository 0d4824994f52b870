//! The fold of `RUNNERS`: the newest registration of each runner, what its folder holds, whether
//! it left, and the last word of a coordinator to it. A registration that the stream has dropped
//! takes its runner with it.

use super::changes::Changes;
use super::holdings::{Holdings, Report};
use super::keys;
use super::quarantine::Quarantine;
use super::store::{Store, StoreError};
use events::log::Stored;
use events::runner::{Registration, RunnerEvent, RunnerOrder};
use events::subject::RunnerSubject;
use events::{Actor, Envelope, RunnerId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A runner as it described itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runner {
    pub registration: Registration,
    pub registered_at: Timestamp,
    pub registered_sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
}

/// That a runner has said what its folder holds; what that is stands in `holdings`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Synced {
    /// Of its last report.
    pub at: Timestamp,
    /// Of the registration under which the account began: without it a rebuild would know neither.
    pub sequence: u64,
}

/// The last word of a coordinator to a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ordered {
    pub order: RunnerOrder,
    pub at: Timestamp,
    pub by: Actor,
    pub sequence: u64,
}

/// Shared with whoever reads it; copied only where a reader still looks at the one before.
#[derive(Debug, Default)]
pub struct Runners {
    known: Arc<BTreeMap<RunnerId, Runner>>,
    /// Also of runners that were forgotten: the next order has to expect it.
    orders: Arc<BTreeMap<RunnerId, Ordered>>,
    holdings: Holdings,
}

impl Runners {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            known: Arc::new(load(store, keys::RUNNERS)?),
            orders: Arc::new(load(store, keys::RUNNER_ORDERS)?),
            holdings: Holdings::load(store)?,
        })
    }

    pub fn all(&self) -> Arc<BTreeMap<RunnerId, Runner>> {
        self.known.clone()
    }

    pub fn orders(&self) -> Arc<BTreeMap<RunnerId, Ordered>> {
        self.orders.clone()
    }

    pub fn holdings(&self) -> Holdings {
        self.holdings.clone()
    }

    /// Applies one message.
    pub fn apply(&mut self, message: &Stored, changes: &mut Changes) -> Result<(), Quarantine> {
        match RunnerSubject::parse(&message.subject).ok_or(Quarantine::Subject)? {
            RunnerSubject::Word(id) => {
                let envelope = message.envelope()?;
                self.word(id, message.sequence, envelope, changes);
            }
            RunnerSubject::Order(id) => {
                let envelope = message.envelope()?;
                self.order(id, message.sequence, envelope, changes);
            }
        }
        Ok(())
    }

    /// What a runner says of itself.
    fn word(
        &mut self,
        id: RunnerId,
        sequence: u64,
        envelope: Envelope<RunnerEvent>,
        changes: &mut Changes,
    ) {
        let at = envelope.at;
        let known = self.known.get(&id).cloned();
        let next = match (envelope.event, known) {
            (RunnerEvent::Registered(registration), known) => Runner {
                registration,
                registered_at: at,
                registered_sequence: sequence,
                synced: known.and_then(|runner| runner.synced),
                left_at: None,
            },
            // Forgotten, or the stream has dropped its registration; it registers again soon.
            (RunnerEvent::Synced { .. } | RunnerEvent::Left, None) => return,
            (RunnerEvent::Left, Some(runner)) => Runner {
                left_at: Some(at),
                ..runner
            },
            (
                RunnerEvent::Synced {
                    whole,
                    scripts,
                    gone,
                },
                Some(runner),
            ) => {
                let begun = match (whole, runner.synced) {
                    (true, _) => runner.registered_sequence,
                    (false, Some(synced)) => synced.sequence,
                    // The stream has dropped the beginning of the account.
                    (false, None) => return,
                };
                let report = Report {
                    whole,
                    scripts,
                    gone,
                };
                self.holdings.apply(&id, report, changes);
                let synced = Synced {
                    at,
                    sequence: begun,
                };
                Runner {
                    synced: Some(synced),
                    ..runner
                }
            }
        };
        changes.put(keys::runner(&id), &next);
        Arc::make_mut(&mut self.known).insert(id, next);
    }

    /// What a coordinator says to a runner.
    fn order(
        &mut self,
        id: RunnerId,
        sequence: u64,
        envelope: Envelope<RunnerOrder>,
        changes: &mut Changes,
    ) {
        if envelope.event == RunnerOrder::Forgotten {
            changes.delete(keys::runner(&id));
            Arc::make_mut(&mut self.known).remove(&id);
            self.holdings.drop(&id, changes);
        }
        let ordered = Ordered {
            order: envelope.event,
            at: envelope.at,
            by: envelope.actor,
            sequence,
        };
        changes.put(keys::runner_order(&id), &ordered);
        Arc::make_mut(&mut self.orders).insert(id, ordered);
    }

    /// Drops what was said in messages that the stream has dropped.
    pub fn forget(&mut self, first_sequence: u64, changes: &mut Changes) {
        let holdings = &mut self.holdings;
        Arc::make_mut(&mut self.known).retain(|id, runner| {
            let begun = runner.synced.map(|synced| synced.sequence);
            if runner.registered_sequence < first_sequence {
                holdings.drop(id, changes);
                changes.delete(keys::runner(id));
                return false;
            }
            if begun.is_some_and(|sequence| sequence < first_sequence) {
                holdings.drop(id, changes);
                runner.synced = None;
                changes.put(keys::runner(id), runner);
            }
            true
        });
        Arc::make_mut(&mut self.orders).retain(|id, ordered| {
            let kept = ordered.sequence >= first_sequence;
            if !kept {
                changes.delete(keys::runner_order(id));
            }
            kept
        });
    }
}

fn load<T: serde::de::DeserializeOwned>(
    store: &Store,
    prefix: &[u8],
) -> Result<BTreeMap<RunnerId, T>, StoreError> {
    let rows = store.rows::<T>(prefix).map(|row| {
        let (key, value) = row?;
        let id = keys::text_of(prefix, &key).and_then(|text| text.parse().ok());
        let id = id.ok_or_else(|| StoreError::Damaged("a runner id is none".to_owned()))?;
        Ok((id, value))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::runner::{Held, Holding};
    use events::{EventId, subject};
    use schemas::{Digest, Name};
    use std::collections::BTreeSet;

    fn id() -> RunnerId {
        "web-1".parse().unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn stored<E: Serialize>(sequence: u64, subject: String, event: E) -> Stored {
        let at = Timestamp::UNIX_EPOCH;
        let envelope = Envelope {
            id: EventId::fresh(),
            at,
            actor: Actor::policy("test"),
            previous: None,
            event,
        };
        Stored {
            subject,
            sequence,
            at,
            payload: envelope.to_bytes(),
            follows: None,
        }
    }

    fn word(sequence: u64, event: RunnerEvent) -> Stored {
        stored(sequence, subject::runner(&id()), event)
    }

    fn order(sequence: u64, event: RunnerOrder) -> Stored {
        stored(sequence, subject::runner_order(&id()), event)
    }

    fn registered(sequence: u64) -> Stored {
        let registration = crate::testing::registration(&["bash"]);
        word(sequence, RunnerEvent::Registered(registration))
    }

    fn synced(sequence: u64, whole: bool, scripts: &[&str], gone: &[&str]) -> Stored {
        let holding = |text: &&str| {
            let held = Held {
                digest: Digest::of(text.as_bytes()),
                version: Some(1),
                since: Timestamp::UNIX_EPOCH,
            };
            let held = Some(held);
            (name(text), Holding { held, error: None })
        };
        let gone: BTreeSet<Name> = gone.iter().map(|text| name(text)).collect();
        let scripts = scripts.iter().map(holding).collect();
        let event = RunnerEvent::Synced {
            whole,
            scripts,
            gone,
        };
        word(sequence, event)
    }

    fn folded(messages: &[Stored]) -> Runners {
        let mut runners = Runners::default();
        for message in messages {
            let mut changes = Changes::default();
            runners.apply(message, &mut changes).unwrap();
        }
        runners
    }

    fn held(runners: &Runners) -> Vec<String> {
        let shelf = runners.holdings().of(&id());
        shelf.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn reports_add_up_and_a_whole_one_begins_anew() {
        let first = [
            registered(1),
            synced(2, true, &["a", "b"], &[]),
            synced(3, false, &["c"], &["a"]),
        ];
        assert_eq!(held(&folded(&first)), ["b", "c"]);
        let again = [&first[..], &[registered(4), synced(5, true, &["d"], &[])]].concat();
        assert_eq!(held(&folded(&again)), ["d"]);
    }

    #[test]
    fn changes_without_the_beginning_of_their_account_count_for_nothing() {
        let runners = folded(&[registered(3), synced(4, false, &["c"], &[])]);
        assert!(held(&runners).is_empty());
        assert_eq!(runners.all()[&id()].synced, None);
    }

    /// What retention drops is dropped as if it had never been read.
    #[test]
    fn a_beginning_that_the_stream_drops_takes_its_account_with_it() {
        let messages = [
            synced(1, true, &["x"], &[]),
            registered(2),
            synced(3, true, &["a"], &[]),
            registered(4),
            synced(5, false, &["b"], &[]),
        ];
        for first in 1..=6 {
            let mut dropped = folded(&messages);
            dropped.forget(first, &mut Changes::default());
            let left: Vec<Stored> = messages
                .iter()
                .filter(|m| m.sequence >= first)
                .cloned()
                .collect();
            let rebuilt = folded(&left);
            assert_eq!(held(&dropped), held(&rebuilt), "from {first}");
        }
    }

    #[test]
    fn who_is_forgotten_is_gone_until_it_registers_again() {
        let before = [
            registered(1),
            synced(2, true, &["a"], &[]),
            order(3, RunnerOrder::Forgotten),
        ];
        let runners = folded(&before);
        assert!(runners.all().is_empty() && held(&runners).is_empty());
        assert_eq!(runners.orders()[&id()].sequence, 3);
        let again = [&before[..], &[synced(4, false, &["b"], &[]), registered(5)]].concat();
        let runners = folded(&again);
        assert!(runners.all().contains_key(&id()) && held(&runners).is_empty());
    }

    #[test]
    fn an_order_counts_only_where_coordinators_write() {
        let forged = stored(1, subject::runner(&id()), RunnerOrder::Forgotten);
        let mut runners = Runners::default();
        assert!(runners.apply(&forged, &mut Changes::default()).is_err());
    }
}
