//! What a monitoring system asks for every few seconds, so nothing here reads the store or waits for
//! more than the broker's word on how far each stream goes.

use super::{App, LaneView, StreamStatus};
use crate::projections::{FOLLOWED, Pace};
use events::run::RunStatus;
use std::collections::BTreeMap;

/// Runners by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    pub online: usize,
    /// Online, and taking no new runs.
    pub draining: usize,
    /// Not heard, and not left in order.
    pub stale: usize,
}

#[derive(Debug)]
pub struct Gauges {
    pub runs: BTreeMap<&'static str, u64>,
    pub lanes: Vec<LaneView>,
    pub fleet: Fleet,
    /// None while the broker does not answer.
    pub streams: Vec<StreamStatus>,
    pub connected: bool,
    pub quarantined: u64,
    pub chain_breaks: u64,
    pub scripts: usize,
    pub agents: usize,
}

impl App {
    pub async fn gauges(&self) -> Gauges {
        let projections = self.projections();
        let state = projections.catalog();
        let counts = RunStatus::ALL.map(|status| (status.as_str(), projections.count(status)));
        let connected = self.0.broker.wire.link().borrow().connected;
        let streams = match connected {
            true => {
                let streams = FOLLOWED.map(|stream| self.stream_status(stream));
                futures::future::join_all(streams).await
            }
            false => Vec::new(),
        };
        Gauges {
            runs: counts.into(),
            lanes: self.lanes(),
            fleet: self.runners_by_status(),
            streams,
            connected,
            quarantined: projections.quarantined(),
            chain_breaks: state.breaks.count,
            scripts: state.catalog.scripts.len(),
            agents: state.catalog.agents.len(),
        }
    }

    /// How long things take.
    pub fn pace(&self) -> &Pace {
        self.projections().pace()
    }

    fn runners_by_status(&self) -> Fleet {
        let mut fleet = Fleet::default();
        for runner in self.runners() {
            match (runner.online, runner.draining, runner.left_at) {
                (true, true, _) => fleet.draining += 1,
                (true, false, _) => fleet.online += 1,
                (false, _, None) => fleet.stale += 1,
                (false, _, Some(_)) => {}
            }
        }
        fleet
    }
}
