//! Runners: what they said of themselves, and whether they are there.

use super::App;
use crate::domain::distribution::distribution;
use crate::projections::{Hearing, Runner};
use events::runner::Registration;
use events::{Lane, LaneTags, RunId, RunnerId, Timestamp};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};

/// A runner as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerView {
    pub runner_id: RunnerId,
    pub registration: Registration,
    pub registered_at: Timestamp,
    /// On our clock; `None` when nothing was heard since we started.
    pub last_heartbeat: Option<Timestamp>,
    pub online: bool,
    /// It stopped in order.
    pub left_at: Option<Timestamp>,
    /// It takes no new runs.
    pub draining: bool,
    /// The runs it held at its last heartbeat.
    pub runs: BTreeSet<RunId>,
    /// What its folder held when it last said so.
    pub scripts: BTreeMap<Name, Digest>,
    pub synced_at: Option<Timestamp>,
    /// The lanes in use that its tags serve.
    pub lanes: BTreeMap<Lane, LaneTags>,
}

impl App {
    /// All runners that the stream knows, sorted by id; those that left are among them.
    pub fn runners(&self) -> Vec<RunnerView> {
        let (now, hearing) = (Timestamp::now(), self.0.heartbeats.hearing());
        let lanes = self.lanes_in_use();
        let runners = self.projections().runners();
        let views = runners.iter();
        views
            .map(|(id, runner)| view(id, runner, &hearing, &lanes, now))
            .collect()
    }

    /// What heartbeats say, for those who act on it.
    pub(crate) fn hearing(&self) -> Hearing {
        self.0.heartbeats.hearing()
    }

    /// The lanes that agents or unfinished runs need.
    fn lanes_in_use(&self) -> BTreeMap<Lane, LaneTags> {
        let desired = distribution(&self.projections().catalog().catalog);
        let desired = desired
            .into_iter()
            .map(|(lane, desired)| (lane, desired.tags));
        let live = self.projections().live_runs().into_iter();
        let live = live.map(|run| (run.request.lane_tags.lane(), run.request.lane_tags));
        desired.chain(live).collect()
    }
}

/// A runner that left in order is not online, whatever heartbeat came last.
fn is_online(id: &RunnerId, runner: &Runner, hearing: &Hearing, now: Timestamp) -> bool {
    runner.left_at.is_none() && hearing.presences.is_online(id, now)
}

fn view(
    id: &RunnerId,
    runner: &Runner,
    hearing: &Hearing,
    lanes: &BTreeMap<Lane, LaneTags>,
    now: Timestamp,
) -> RunnerView {
    let heard = hearing.presences.of(id);
    let offered = &runner.registration.tags;
    let served = lanes.iter().filter(|(_, tags)| tags.is_served_by(offered));
    let (scripts, synced_at) = match &runner.synced {
        Some(synced) => (synced.scripts.clone(), Some(synced.at)),
        None => (BTreeMap::new(), None),
    };
    RunnerView {
        runner_id: id.clone(),
        registration: runner.registration.clone(),
        registered_at: runner.registered_at,
        last_heartbeat: heard.map(|heard| heard.at),
        online: is_online(id, runner, hearing, now),
        left_at: runner.left_at,
        draining: heard.is_some_and(|heard| heard.presence.draining),
        runs: heard.map_or_else(BTreeSet::new, |heard| heard.presence.runs.clone()),
        scripts,
        synced_at,
        lanes: served
            .map(|(lane, tags)| (lane.clone(), tags.clone()))
            .collect(),
    }
}
