//! One run as it stands: its request, its state, and when each step happened.

use super::{
    BoundExecutor, ExecutionMode, HookPoint, Illegal, Outcome, RunEvent, RunRequest, RunState,
    RunStep,
};
use crate::{Actor, Envelope, SessionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The fold of a run's steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// As it stands in the queue; of a held run, as it was asked for.
    pub request: RunRequest,
    /// The parameters that were asked for, where the `on_run_start` hook has changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_parameters: Option<Map<String, Value>>,
    pub state: RunState,
    /// Who asked for it.
    pub actor: Actor,
    pub created_at: Timestamp,
    /// Since when runners can take it, or could: after `created_at` where a hook came first.
    pub queued_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why hooks of it were not even requested.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hook_errors: BTreeMap<HookPoint, String>,
    /// Why its parent's session was not resumed with its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_error: Option<String>,
    /// Who executes it, where that is not its runner itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<BoundExecutor>,
    /// Since when its session is not shown any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_deleted_at: Option<Timestamp>,
    /// Who wanted its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// In `RUNS`: the step that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_sequence: Option<u64>,
    /// In `RUNS`: its first step. Runs sort by it.
    pub first_sequence: u64,
    /// In `RUNS`: its newest step, which the next one must expect.
    pub last_sequence: u64,
}

impl Run {
    /// The run that a first message begins; `None` where it is no beginning.
    pub fn begin(sequence: u64, envelope: Envelope<RunStep>) -> Option<Self> {
        // What is requested with an `on_run_start` hook was held before: the beginning is missing.
        let is_held = |request: &RunRequest| request.hooks.on_run_start.is_some();
        let (request, state) = match envelope.event.step {
            RunEvent::Held(request) if is_held(&request) => (request, RunState::held()),
            RunEvent::Requested(request) if !is_held(&request) => (request, RunState::requested()),
            _ => return None,
        };
        Some(Self {
            request: *request,
            given_parameters: None,
            state,
            actor: envelope.actor,
            created_at: envelope.at,
            queued_at: envelope.at,
            claimed_at: None,
            started_at: None,
            ended_at: None,
            outcome: None,
            error: None,
            hook_errors: BTreeMap::new(),
            callback_error: None,
            executor: None,
            session_deleted_at: None,
            stopped_by: None,
            ended_sequence: None,
            first_sequence: sequence,
            last_sequence: sequence,
        })
    }

    /// The session that is to be resumed with the end of this run, once it has ended.
    pub fn calls_back(&self) -> Option<&SessionId> {
        let asked = self.request.execution_mode == ExecutionMode::AsyncCallback;
        self.request.parent_session_id.as_ref().filter(|_| asked)
    }

    /// The request as it was asked for, whatever its hook made of it.
    pub fn asked(&self) -> RunRequest {
        let mut request = self.request.clone();
        if let Some(given) = &self.given_parameters {
            request.parameters = given.clone();
        }
        request
    }

    /// Applies the next step. One that was applied already changes nothing; one that cannot
    /// follow is refused and leaves the run as it was.
    pub fn evolve(&mut self, sequence: u64, envelope: Envelope<RunStep>) -> Result<(), Illegal> {
        if sequence <= self.last_sequence {
            return Ok(());
        }
        let RunStep { step, .. } = envelope.event;
        let had_ended = self.state.status.is_final();
        self.state = self.state.after(&step)?;
        self.last_sequence = sequence;
        if self.state.status.is_final() && !had_ended {
            self.ended_sequence = Some(sequence);
        }
        self.note_stop(envelope.actor, &step);
        self.note(envelope.at, step);
        Ok(())
    }

    fn note(&mut self, at: Timestamp, step: RunEvent) {
        match step {
            RunEvent::Held(_)
            | RunEvent::StopRequested
            | RunEvent::ResultChunk { .. }
            | RunEvent::LateResult { .. } => {}
            RunEvent::Requested(request) => self.release(at, *request),
            RunEvent::HookNotRun { point, error } => {
                self.hook_errors.insert(point, error);
            }
            RunEvent::CallbackNotMade { error } => self.callback_error = Some(error),
            RunEvent::SessionBound { executor, .. } => self.executor = Some(executor),
            RunEvent::SessionDeleted => self.session_deleted_at = Some(at),
            RunEvent::Claimed { .. } => {
                self.claimed_at = Some(at);
                self.started_at = None;
                self.executor = None;
            }
            RunEvent::Started { .. } => self.started_at = Some(at),
            RunEvent::Released { .. } => self.claimed_at = None,
            RunEvent::Completed { outcome, .. } => self.end(at, Some(outcome), None),
            RunEvent::Failed { error, outcome, .. } => self.end(at, outcome, Some(error)),
            RunEvent::Stopped { outcome } => self.end(at, outcome, None),
        }
    }

    fn note_stop(&mut self, actor: Actor, step: &RunEvent) {
        // What nobody holds is stopped at once; otherwise the end comes from its runner.
        let wanted = matches!(step, RunEvent::StopRequested | RunEvent::Stopped { .. });
        if wanted && self.stopped_by.is_none() {
            self.stopped_by = Some(actor);
        }
    }

    fn release(&mut self, at: Timestamp, request: RunRequest) {
        self.queued_at = at;
        let before = std::mem::replace(&mut self.request, request);
        if before.parameters != self.request.parameters {
            self.given_parameters = Some(before.parameters);
        }
    }

    fn end(&mut self, at: Timestamp, outcome: Option<Outcome>, error: Option<String>) {
        self.ended_at = Some(at);
        self.outcome = outcome;
        self.error = error;
    }
}
