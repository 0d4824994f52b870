//! The fold of `RUNNERS`: the newest registration of each runner, what its folder holds, whether
//! it left, and the last word of a coordinator to it. A registration that the stream has dropped
//! takes its runner with it.

use super::changes::Changes;
use super::keys;
use super::quarantine::Quarantine;
use super::store::{Store, StoreError};
use events::log::Stored;
use events::runner::{Registration, RunnerEvent, RunnerOrder};
use events::subject::RunnerSubject;
use events::{Actor, Envelope, RunnerId, Timestamp};
use schemas::{Digest, Name};
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

/// What a runner's folder held when it last said so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Synced {
    pub scripts: BTreeMap<Name, Digest>,
    pub at: Timestamp,
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
}

impl Runners {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            known: Arc::new(load(store, keys::RUNNERS)?),
            orders: Arc::new(load(store, keys::RUNNER_ORDERS)?),
        })
    }

    pub fn all(&self) -> Arc<BTreeMap<RunnerId, Runner>> {
        self.known.clone()
    }

    pub fn orders(&self) -> Arc<BTreeMap<RunnerId, Ordered>> {
        self.orders.clone()
    }

    /// Applies one message.
    pub fn apply(&mut self, message: &Stored, changes: &mut Changes) -> Result<(), Quarantine> {
        match RunnerSubject::parse(&message.subject).ok_or(Quarantine::Subject)? {
            RunnerSubject::Word(id) => {
                let envelope = Envelope::from_bytes(&message.payload)?;
                self.word(id, message.sequence, envelope, changes);
            }
            RunnerSubject::Order(id) => {
                let envelope = Envelope::from_bytes(&message.payload)?;
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
        let next = match (envelope.event, self.known.get(&id).cloned()) {
            (RunnerEvent::Registered(registration), known) => Runner {
                registration,
                registered_at: at,
                registered_sequence: sequence,
                synced: known.and_then(|runner| runner.synced),
                left_at: None,
            },
            // Forgotten, or the stream has dropped its registration; it registers again soon.
            (RunnerEvent::Synced { .. } | RunnerEvent::Left, None) => return,
            (RunnerEvent::Synced { scripts }, Some(runner)) => Runner {
                synced: Some(Synced {
                    scripts,
                    at,
                    sequence,
                }),
                ..runner
            },
            (RunnerEvent::Left, Some(runner)) => Runner {
                left_at: Some(at),
                ..runner
            },
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
        Arc::make_mut(&mut self.known).retain(|id, runner| {
            let synced = runner.synced.as_ref().map(|synced| synced.sequence);
            if runner.registered_sequence < first_sequence {
                changes.delete(keys::runner(id));
                return false;
            }
            if synced.is_some_and(|sequence| sequence < first_sequence) {
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
