//! Lanes as they are shown: what each holds, who serves it, what waits in it. What the catalogue
//! and the runs need is what counts; the stream follows it within a moment.

use super::App;
use crate::domain::distribution::{DesiredScript, distribution};
use events::catalog::Catalog;
use events::run::{Run, RunStatus};
use events::runner::Registration;
use events::{Lane, LaneTags, RunnerId, Timestamp};
use schemas::Name;
use std::collections::{BTreeMap, BTreeSet};

/// A lane that something needs.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    pub lane: Lane,
    pub tags: LaneTags,
    /// What its runners hold.
    pub scripts: BTreeMap<Name, DesiredScript>,
    /// The active agents whose runs, or whose capabilities' scripts, belong there.
    pub agents: BTreeSet<Name>,
    /// Those that are online and serve it.
    pub runners: BTreeSet<RunnerId>,
    /// Those of them that hold its scripts and take no runs.
    pub holding_only: BTreeSet<RunnerId>,
    /// Runs that nobody has claimed.
    pub waiting: usize,
    /// Since when the oldest of them does.
    pub waiting_since: Option<Timestamp>,
    /// Runs that a runner holds.
    pub running: usize,
}

impl App {
    /// Every lane that an agent, a pin or an unfinished run needs; by tags.
    pub fn lanes(&self) -> Vec<LaneView> {
        let catalog = self.projections().catalog().catalog;
        let wanted = LaneView::wanted(&catalog).into_iter();
        // By tags, so that no run's have to be hashed; of a run nothing is copied.
        let mut lanes: BTreeMap<LaneTags, LaneView> =
            wanted.map(|lane| (lane.tags.clone(), lane)).collect();
        let _: Vec<()> = self.projections().of_live_runs(|run| {
            let tags = &run.request.lane_tags;
            if !lanes.contains_key(tags) {
                lanes.insert(tags.clone(), view(&tags.lane(), tags));
            }
            lanes.get_mut(tags)?.count(run);
            None
        });
        let there = self.online();
        let serve = |mut lane: LaneView| {
            lane.serve(&there);
            lane
        };
        lanes.into_values().map(serve).collect()
    }
}

fn view(lane: &Lane, tags: &LaneTags) -> LaneView {
    LaneView {
        lane: lane.clone(),
        tags: tags.clone(),
        scripts: BTreeMap::new(),
        agents: BTreeSet::new(),
        runners: BTreeSet::new(),
        holding_only: BTreeSet::new(),
        waiting: 0,
        waiting_since: None,
        running: 0,
    }
}

impl LaneView {
    /// What a catalogue wants of its lanes, by tags; who serves them and what waits is not known.
    pub(super) fn wanted(catalog: &Catalog) -> Vec<Self> {
        let lanes = distribution(catalog).into_iter();
        let mut lanes: Vec<Self> = lanes
            .map(|(id, desired)| Self {
                scripts: desired.scripts,
                agents: desired.agents,
                ..view(&id, &desired.tags)
            })
            .collect();
        lanes.sort_by(|a, b| a.tags.cmp(&b.tags));
        lanes
    }

    fn serve(&mut self, there: &BTreeMap<RunnerId, Registration>) {
        for (id, _) in there.iter().filter(|(_, r)| r.serves(&self.tags)) {
            self.runners.insert(id.clone());
        }
        let only = |id: &&RunnerId| there[*id].holds_scripts_only();
        self.holding_only = self.runners.iter().filter(only).cloned().collect();
    }

    /// A run that a hook holds back is in no queue yet, and takes no slot.
    fn count(&mut self, run: &Run) {
        if run.state.status != RunStatus::Pending {
            self.running += 1;
        } else if !run.state.held {
            self.waiting += 1;
            let since = self.waiting_since.unwrap_or(run.queued_at);
            self.waiting_since = Some(since.min(run.queued_at));
        }
    }
}
