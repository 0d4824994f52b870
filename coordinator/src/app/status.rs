//! How the coordinator itself is doing.

use super::{App, AppError};
use crate::projections::{Breaks, FOLLOWED};
use events::log::jetstream::{Link, StreamFacts};
use events::run::RunStatus;
use events::subject::Stream;
use std::collections::BTreeMap;

/// Counts, and how far the projection has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub broker: Link,
    pub scripts: usize,
    pub agents: usize,
    pub runs: BTreeMap<&'static str, u64>,
    pub runners: usize,
    pub runners_online: usize,
    pub streams: Vec<StreamStatus>,
    /// What the broker's streams hold and may hold; none where it does not answer.
    pub stored: Vec<StreamFacts>,
    /// Messages that were skipped since the start because they cannot be what they claim.
    pub quarantined: u64,
    /// Where the hash chain of the catalogue did not hold.
    pub breaks: Breaks,
}

/// One stream that the projection follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    pub stream: Stream,
    /// The last sequence the projection has applied.
    pub applied: u64,
    /// The stream's last sequence; `None` when the broker does not answer.
    pub last: Option<u64>,
}

impl Status {
    /// How many runs are in a status.
    pub fn runs_in(&self, status: RunStatus) -> u64 {
        self.runs.get(status.as_str()).copied().unwrap_or_default()
    }
}

impl App {
    pub async fn status(&self) -> Result<Status, AppError> {
        let projections = self.projections();
        let state = projections.catalog();
        let catalog = state.catalog;
        let counts = RunStatus::ALL.map(|status| (status.as_str(), projections.count(status)));
        let runners = self.runners();
        // Read before the first wait: a borrowed link must not be held over one.
        let broker = *self.0.broker.wire.link().borrow();
        let streams = FOLLOWED.map(|stream| self.stream_status(stream));
        let streams = futures::future::join_all(streams);
        let (streams, stored) = tokio::join!(streams, self.0.broker.storage.streams());
        Ok(Status {
            broker,
            scripts: catalog.scripts.len(),
            agents: catalog.agents.len(),
            runs: counts.into(),
            runners: runners.len(),
            runners_online: runners.iter().filter(|runner| runner.online).count(),
            streams,
            stored: stored.unwrap_or_default(),
            quarantined: projections.quarantined(),
            breaks: state.breaks,
        })
    }

    pub(super) async fn stream_status(&self, stream: Stream) -> StreamStatus {
        let bounds = self.0.broker.log.bounds(stream).await;
        StreamStatus {
            stream,
            applied: *self.projections().watch(stream).borrow(),
            last: bounds.ok().map(|bounds| bounds.last_sequence),
        }
    }
}
