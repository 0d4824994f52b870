//! The state machine of a run, as one pure function.

use super::{FailureReason, HookPoint, RunEvent};
use crate::RunnerId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Pending,
    Claimed,
    Running,
    Stopping,
    Completed,
    Failed,
    Stopped,
}

impl RunStatus {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Claimed,
        Self::Running,
        Self::Stopping,
        Self::Completed,
        Self::Failed,
        Self::Stopped,
    ];

    /// Whether the run has ended; it never leaves such a status.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stopped)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All of a run that changes; what was asked for stands in its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    pub status: RunStatus,
    /// Counts from 1.
    pub attempt: u32,
    /// Who holds it, or held it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<RunnerId>,
    /// Whether the present attempt's script may have been spawned.
    pub started: bool,
    /// Pending, and not yet in the queue: its `on_run_start` hook has not spoken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
}

/// A step that cannot follow the run's present state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {status} run (attempt {attempt}) cannot take the step {step}")]
pub struct Illegal {
    status: RunStatus,
    attempt: u32,
    step: &'static str,
}

impl RunState {
    /// A run that was just requested.
    pub fn requested() -> Self {
        Self {
            status: RunStatus::Pending,
            attempt: 1,
            runner_id: None,
            started: false,
            held: false,
            reason: None,
        }
    }

    /// A run that waits for its `on_run_start` hook.
    pub fn held() -> Self {
        Self {
            held: true,
            ..Self::requested()
        }
    }

    /// Whether this runner holds the run in this attempt.
    pub fn is_held_by(&self, runner: &RunnerId, attempt: u32) -> bool {
        self.runner_id.as_ref() == Some(runner) && self.attempt == attempt
    }

    /// The state that `event` leads to.
    pub fn after(&self, event: &RunEvent) -> Result<Self, Illegal> {
        use RunStatus::{Claimed, Completed, Failed, Pending, Running, Stopped, Stopping};
        let next = match (self.status, event) {
            (Pending, RunEvent::Requested(_)) if self.held => Self::requested(),
            (Pending, RunEvent::Claimed { runner_id, attempt })
                if !self.held && *attempt == self.attempt =>
            {
                self.claimed(runner_id, *attempt)
            }
            // The holder died before the script was spawned: the attempt is still unused.
            (Claimed, RunEvent::Claimed { runner_id, attempt }) if *attempt == self.attempt => {
                self.claimed(runner_id, *attempt)
            }
            // The holder died with the script running, and the script may be repeated.
            (Running, RunEvent::Claimed { runner_id, attempt }) if *attempt == self.attempt + 1 => {
                self.claimed(runner_id, *attempt)
            }
            (Claimed, RunEvent::Started { runner_id, attempt })
                if self.is_held_by(runner_id, *attempt) =>
            {
                Self {
                    status: Running,
                    started: true,
                    ..self.clone()
                }
            }
            (Claimed, RunEvent::Released { runner_id, attempt })
                if self.is_held_by(runner_id, *attempt) =>
            {
                Self {
                    status: Pending,
                    runner_id: None,
                    ..self.clone()
                }
            }
            (
                Running | Stopping,
                RunEvent::ResultChunk {
                    runner_id, attempt, ..
                },
            ) if self.started && self.is_held_by(runner_id, *attempt) => self.clone(),
            (
                Running | Stopping,
                RunEvent::Completed {
                    runner_id, attempt, ..
                },
            ) if self.started && self.is_held_by(runner_id, *attempt) => self.ended(Completed),
            (Pending | Claimed | Running | Stopping, RunEvent::Failed { reason, .. }) => Self {
                reason: Some(*reason),
                ..self.ended(Failed)
            },
            (Claimed | Running, RunEvent::StopRequested) => self.ended(Stopping),
            // Nobody holds a pending run, so there is nothing to wait for.
            (Pending | Stopping, RunEvent::Stopped { .. }) => self.ended(Stopped),
            // A note, for whoever decides what follows.
            (Pending, RunEvent::HookNotRun { point, .. })
                if self.held && *point == HookPoint::OnRunStart =>
            {
                self.clone()
            }
            (Completed | Failed | Stopped, RunEvent::HookNotRun { point, .. })
                if *point == HookPoint::OnRunFinish =>
            {
                self.clone()
            }
            (
                Completed | Failed | Stopped,
                RunEvent::CallbackNotMade { .. } | RunEvent::SessionDeleted,
            ) => self.clone(),
            (
                Claimed | Running | Stopping,
                RunEvent::SessionBound {
                    runner_id, attempt, ..
                },
            ) if self.is_held_by(runner_id, *attempt) => self.clone(),
            // Evidence from whoever does not hold the run any more.
            (
                _,
                RunEvent::LateResult {
                    runner_id, attempt, ..
                },
            ) if self.status.is_final() || !self.is_held_by(runner_id, *attempt) => self.clone(),
            _ => return Err(self.illegal(event)),
        };
        Ok(next)
    }

    fn claimed(&self, runner_id: &RunnerId, attempt: u32) -> Self {
        Self {
            status: RunStatus::Claimed,
            attempt,
            runner_id: Some(runner_id.clone()),
            started: false,
            held: false,
            reason: None,
        }
    }

    fn ended(&self, status: RunStatus) -> Self {
        Self {
            status,
            held: false,
            ..self.clone()
        }
    }

    fn illegal(&self, event: &RunEvent) -> Illegal {
        Illegal {
            status: self.status,
            attempt: self.attempt,
            step: event.name(),
        }
    }
}

impl RunEvent {
    /// The event's `type` on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Requested(_) => "requested",
            Self::Claimed { .. } => "claimed",
            Self::Started { .. } => "started",
            Self::Released { .. } => "released",
            Self::ResultChunk { .. } => "result_chunk",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::HookNotRun { .. } => "hook_not_run",
            Self::CallbackNotMade { .. } => "callback_not_made",
            Self::SessionBound { .. } => "session_bound",
            Self::SessionDeleted => "session_deleted",
            Self::StopRequested => "stop_requested",
            Self::Stopped { .. } => "stopped",
            Self::LateResult { .. } => "late_result",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Envelope;
    use crate::run::{BoundExecutor, Outcome, RunRequest, RunStep};
    use serde_json::Value;

    fn runner(name: &str) -> RunnerId {
        name.parse().unwrap()
    }

    fn outcome() -> Outcome {
        Outcome {
            exit_code: 0,
            result_data: Value::Null,
            result_chunks: None,
            duration_ms: 1,
        }
    }

    fn request() -> RunRequest {
        let stored = include_bytes!("../../golden/runs/requested.json");
        match Envelope::<RunStep>::from_bytes(stored).unwrap().event.step {
            RunEvent::Requested(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    /// A state of attempt 1 that runner `a` holds where anybody can hold it.
    fn state(status: RunStatus) -> RunState {
        let pending = RunState::requested();
        let claimed = RunState {
            runner_id: Some(runner("a")),
            ..pending.clone()
        };
        match status {
            RunStatus::Pending => pending,
            RunStatus::Claimed => RunState { status, ..claimed },
            _ => RunState {
                status,
                started: true,
                ..claimed
            },
        }
    }

    fn events() -> Vec<(&'static str, RunEvent)> {
        let (a, b) = (runner("a"), runner("b"));
        let claimed = |runner_id: &RunnerId, attempt| RunEvent::Claimed {
            runner_id: runner_id.clone(),
            attempt,
        };
        let started = |runner_id: &RunnerId, attempt| RunEvent::Started {
            runner_id: runner_id.clone(),
            attempt,
        };
        let completed = |runner_id: &RunnerId, attempt| RunEvent::Completed {
            runner_id: runner_id.clone(),
            attempt,
            outcome: outcome(),
        };
        let bound = |runner_id: &RunnerId| RunEvent::SessionBound {
            runner_id: runner_id.clone(),
            attempt: 1,
            executor: BoundExecutor {
                session_id: String::new(),
                hostname: String::new(),
                profile: String::new(),
                project_dir: None,
            },
        };
        let not_run = |point| RunEvent::HookNotRun {
            point,
            error: String::new(),
        };
        let chunk = |runner_id: &RunnerId, attempt| RunEvent::ResultChunk {
            runner_id: runner_id.clone(),
            attempt,
            index: 0,
            base64: String::new(),
        };
        vec![
            ("claimed a1", claimed(&a, 1)),
            ("claimed b1", claimed(&b, 1)),
            ("claimed b2", claimed(&b, 2)),
            ("claimed b3", claimed(&b, 3)),
            ("started a1", started(&a, 1)),
            ("started b1", started(&b, 1)),
            ("started a2", started(&a, 2)),
            (
                "released a1",
                RunEvent::Released {
                    runner_id: a.clone(),
                    attempt: 1,
                },
            ),
            (
                "released b1",
                RunEvent::Released {
                    runner_id: b.clone(),
                    attempt: 1,
                },
            ),
            (
                "no callback",
                RunEvent::CallbackNotMade {
                    error: String::new(),
                },
            ),
            ("bound a1", bound(&a)),
            ("bound b1", bound(&b)),
            ("session deleted", RunEvent::SessionDeleted),
            ("chunk a1", chunk(&a, 1)),
            ("chunk b1", chunk(&b, 1)),
            ("chunk a2", chunk(&a, 2)),
            ("completed a1", completed(&a, 1)),
            ("completed b1", completed(&b, 1)),
            (
                "failed",
                RunEvent::Failed {
                    reason: FailureReason::Lost,
                    error: String::new(),
                    outcome: None,
                },
            ),
            ("held", RunEvent::Held(Box::new(request()))),
            ("requested", RunEvent::Requested(Box::new(request()))),
            ("no start hook", not_run(HookPoint::OnRunStart)),
            ("no finish hook", not_run(HookPoint::OnRunFinish)),
            ("stop_requested", RunEvent::StopRequested),
            ("stopped", RunEvent::Stopped { outcome: None }),
            (
                "late_result",
                RunEvent::LateResult {
                    runner_id: a,
                    attempt: 1,
                    outcome: outcome(),
                },
            ),
        ]
    }

    /// Every pair of a state and an event, as one table.
    #[test]
    fn every_state_and_every_event() {
        let mut table = String::new();
        let held = ("held", RunState::held());
        let states = RunStatus::ALL.map(|status| (status.as_str(), state(status)));
        for (before, state) in states.into_iter().chain([held]) {
            for (name, event) in events() {
                let next = match state.after(&event) {
                    Ok(next) => format!(
                        "{} {}{}",
                        if next.held {
                            "held"
                        } else {
                            next.status.as_str()
                        },
                        next.runner_id.as_ref().map_or("-", RunnerId::as_str),
                        next.attempt
                    ),
                    Err(_) => "refused".to_owned(),
                };
                table += &format!("{before:<10} {name:<15} {next}\n");
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_final_state_is_never_left() {
        for status in RunStatus::ALL.into_iter().filter(|s| s.is_final()) {
            for (_, event) in events() {
                let next = state(status).after(&event);
                assert!(next.is_err() || next == Ok(state(status)));
            }
        }
    }

    #[test]
    fn a_run_that_was_stopped_before_it_started_cannot_complete() {
        let stopping = state(RunStatus::Claimed)
            .after(&RunEvent::StopRequested)
            .unwrap();
        let (_, completed) = events()
            .into_iter()
            .find(|(name, _)| *name == "completed a1")
            .unwrap();
        assert!(stopping.after(&completed).is_err());
    }
}
