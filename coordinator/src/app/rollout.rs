//! How far a script has come, now and as it goes on.

use super::runners::Drained;
use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::distribution::distribution;
use crate::domain::rollout::{Facts, Host, Rollout, rollout};
use events::RunnerId;
use events::catalog::Kind;
use events::subject::Stream;
use schemas::Name;
use std::time::Duration;
use tokio::sync::watch;

/// That a runner has gone silent is no message: it is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Changes within this time are seen together.
const GATHER: Duration = Duration::from_millis(100);

/// Wakes whenever a rollout may look different.
pub struct RolloutNews {
    runners: watch::Receiver<u64>,
    catalog: watch::Receiver<u64>,
    heartbeats: watch::Receiver<u64>,
}

impl RolloutNews {
    pub async fn changed(&mut self) {
        // All senders live as long as the app; an end would only make us look too often.
        tokio::select! {
            _ = self.runners.changed() => {}
            _ = self.catalog.changed() => {}
            _ = self.heartbeats.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => return,
        }
        tokio::time::sleep(GATHER).await;
    }
}

impl App {
    /// # Errors
    /// When there is no such script.
    pub fn rollout(&self, script: &Name) -> Result<Rollout, AppError> {
        let catalog = self.projections().catalog().catalog;
        let entry = catalog.scripts.get(script).ok_or(Rejection::NotFound {
            kind: Kind::Script,
            name: script.clone(),
        })?;
        let lanes = distribution(&catalog).into_iter();
        let lanes = lanes.filter(|(_, lane)| lane.scripts.contains_key(script));
        let (runners, orders) = (
            self.projections().runners(),
            self.projections().runner_orders(),
        );
        let (holdings, hearing) = (self.projections().holdings(), self.hearing());
        let now = self.now();
        let drained = |id: &RunnerId| orders.get(id).and_then(Drained::of).is_some();
        let there = runners
            .iter()
            .filter(|(_, runner)| runner.left_at.is_none());
        let hosts = there.map(|(id, runner)| Host {
            runner_id: id,
            registration: &runner.registration,
            online: hearing.is_online(id, now),
            last_heard: hearing.presences.of(id).map(|heard| heard.at),
            drained: drained(id),
            holding: holdings.holding(id, script),
        });
        Ok(rollout(&Facts {
            script,
            version: entry.current.version,
            digest: entry.current.digest,
            changed_at: entry.modified_at,
            lanes: lanes.map(|(lane, desired)| (lane, desired.tags)).collect(),
            runners: hosts.collect(),
        }))
    }

    /// What to wait for between two looks at a rollout.
    pub fn rollout_news(&self) -> RolloutNews {
        RolloutNews {
            runners: self.projections().watch(Stream::Runners),
            catalog: self.projections().watch(Stream::Catalog),
            heartbeats: self.0.heartbeats.news(),
        }
    }
}
