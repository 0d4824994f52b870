//! Which of the live runs somebody holds: looked up by status, because what waits may be a hundred times
//! as many.

use super::{Projections, read};
use events::RunnerId;
use events::run::{Run, RunStatus};

/// What a run is in that a runner holds.
const HELD: [RunStatus; 3] = [RunStatus::Claimed, RunStatus::Running, RunStatus::Stopping];

impl Projections {
    /// The live runs that this runner holds.
    pub fn held_by(&self, runner: &RunnerId) -> Vec<Run> {
        self.held(&HELD, |holder| holder == runner)
    }

    /// Those that runners over HTTP hold.
    pub fn held_over_http(&self) -> Vec<Run> {
        self.held(&HELD, RunnerId::is_over_http)
    }

    /// Who has still to hear of a stop.
    pub fn stopping_over_http(&self) -> impl Iterator<Item = RunnerId> {
        let runs = self.held(&[RunStatus::Stopping], RunnerId::is_over_http);
        runs.into_iter().filter_map(|run| run.state.runner_id)
    }

    fn held(&self, statuses: &[RunStatus], holder: impl Fn(&RunnerId) -> bool) -> Vec<Run> {
        let runs = read(&self.shared.runs);
        let held = statuses
            .iter()
            .flat_map(|status| runs.live_in(*status, u64::MAX));
        let held = held.map(|(_, run)| run);
        held.filter(|run| run.state.runner_id.as_ref().is_some_and(&holder))
            .cloned()
            .collect()
    }
}
