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
    /// Of the report that began the account.
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
                    (true, _) => sequence,
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
