//! The fold of `RUNNERS`: the newest registration of each runner, what its folder holds, and
//! whether it left. A registration that the stream has dropped takes its runner with it.

use super::changes::Changes;
use super::keys;
use super::quarantine::Quarantine;
use super::store::{Store, StoreError};
use events::log::Stored;
use events::runner::{Registration, RunnerEvent};
use events::{Envelope, RunnerId, Timestamp, subject};
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

/// Shared with whoever reads it; copied only where a reader still looks at the one before.
#[derive(Debug, Default)]
pub struct Runners(Arc<BTreeMap<RunnerId, Runner>>);

impl Runners {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut runners = BTreeMap::new();
        for row in store.rows::<Runner>(keys::RUNNERS) {
            let (key, runner) = row?;
            let id = keys::text_of(keys::RUNNERS, &key).and_then(|text| text.parse().ok());
            let id = id.ok_or_else(|| StoreError::Damaged("a runner id is none".to_owned()))?;
            runners.insert(id, runner);
        }
        Ok(Self(Arc::new(runners)))
    }

    pub fn all(&self) -> Arc<BTreeMap<RunnerId, Runner>> {
        self.0.clone()
    }

    /// Applies one message.
    pub fn apply(&mut self, message: &Stored, changes: &mut Changes) -> Result<(), Quarantine> {
        let id = subject::parse_runner(&message.subject).ok_or(Quarantine::Subject)?;
        let envelope = Envelope::<RunnerEvent>::from_bytes(&message.payload)?;
        let (at, sequence) = (envelope.at, message.sequence);
        let known = self.0.get(&id).cloned();
        let next = match (envelope.event, known) {
            (RunnerEvent::Registered(registration), known) => Runner {
                registration,
                registered_at: at,
                registered_sequence: sequence,
                synced: known.and_then(|runner| runner.synced),
                left_at: None,
            },
            // The stream has dropped its registration; the next one comes within a day.
            (RunnerEvent::Synced { .. } | RunnerEvent::Left, None) => return Ok(()),
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
        Arc::make_mut(&mut self.0).insert(id, next);
        Ok(())
    }

    /// Drops what was said in messages that the stream has dropped.
    pub fn forget(&mut self, first_sequence: u64, changes: &mut Changes) {
        Arc::make_mut(&mut self.0).retain(|id, runner| {
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
    }
}
