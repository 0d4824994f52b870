//! Stopping a run: what follows depends on whether somebody holds it.

use events::run::{RunEvent, RunState, RunStatus};

/// The step a stop leads to; `None` when there is nothing to do any more.
pub fn stop(state: &RunState) -> Option<RunEvent> {
    match state.status {
        RunStatus::Pending => Some(RunEvent::Stopped { outcome: None }),
        RunStatus::Claimed | RunStatus::Running => Some(RunEvent::StopRequested),
        RunStatus::Stopping | RunStatus::Completed | RunStatus::Failed | RunStatus::Stopped => None,
    }
}
