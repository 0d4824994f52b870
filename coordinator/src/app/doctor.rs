//! What is wrong with the system, as far as a running coordinator can see.

use super::{App, StreamStatus};
use crate::diagnosis::{Broker, Finding, Skipped, System, Unserved, findings};
use crate::projections::FOLLOWED;
use events::Timestamp;

impl App {
    /// Everything that was looked at. `url` and `embedded` are of the broker; it may be away.
    pub async fn doctor(&self, url: String, embedded: bool) -> Vec<Finding> {
        // Read before the first wait: a borrowed link must not be held over one.
        let connected = self.0.broker.wire.link().borrow().connected;
        let storage = &self.0.broker.storage;
        let behind = futures::future::join_all(FOLLOWED.map(|stream| self.stream_status(stream)));
        let (streams, account, behind) = tokio::join!(storage.streams(), storage.account(), behind);
        let catalog = self.projections().catalog();
        let system = System {
            broker: Broker {
                connected,
                url,
                embedded,
                version: storage.server_version(),
                cluster: storage.cluster(),
            },
            streams: streams.ok(),
            account: account.ok(),
            behind: behind
                .into_iter()
                .map(|status| (status.stream, lag(&status)))
                .collect(),
            breaks: (catalog.breaks.count, catalog.breaks.first),
            newer: catalog.newer,
            skipped: (self.projections().quarantined(), self.skipped()),
            silent: self.silent(),
            unserved: self.unserved(),
            clock_off: Timestamp::now().duration_since(self.now()),
        };
        findings(&system)
    }

    fn skipped(&self) -> Vec<Skipped> {
        let last = self.projections().last_skipped().into_iter();
        last.map(|skipped| Skipped {
            stream: skipped.stream.name(),
            sequence: skipped.sequence,
            subject: skipped.subject,
            reason: skipped.reason,
        })
        .collect()
    }

    /// Neither heard nor gone in order.
    fn silent(&self) -> Vec<(String, Timestamp)> {
        let runners = self.runners().into_iter();
        let silent = runners.filter(|runner| !runner.online && runner.left_at.is_none());
        silent
            .map(|runner| {
                let known = [runner.last_heartbeat, runner.synced_at];
                let last = known
                    .into_iter()
                    .flatten()
                    .fold(runner.registered_at, Timestamp::max);
                (runner.runner_id.to_string(), last)
            })
            .collect()
    }

    fn unserved(&self) -> Vec<Unserved> {
        let lanes = self.lanes().into_iter();
        let nobody = lanes.filter(|lane| {
            let takes_runs = lane.runners.difference(&lane.holding_only).next().is_some();
            !takes_runs && (lane.waiting > 0 || !lane.agents.is_empty())
        });
        nobody
            .map(|lane| Unserved {
                lane: lane.lane.to_string(),
                tags: lane.tags.to_string(),
                agents: lane.agents.len(),
                waiting: lane.waiting,
            })
            .collect()
    }
}

fn lag(status: &StreamStatus) -> u64 {
    let last = status.last.unwrap_or(status.applied);
    last.saturating_sub(status.applied)
}
