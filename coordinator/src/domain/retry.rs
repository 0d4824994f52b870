//! A run once more: exactly as it was, or as the catalogue would have it now.

use super::runs::RunCommand;
use super::{Rejection, agents};
use events::catalog::Catalog;
use events::run::{Run, RunKind, RunRequest};
use events::{RunId, SessionId};
use schemas::{AgentStatus, Digest, Timeout};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryCommand {
    /// The run to repeat.
    pub run_id: RunId,
    /// With the agent and the script as they are now.
    pub current: bool,
    /// See [`RunCommand::fail_fast`].
    pub fail_fast: bool,
    /// See [`RunCommand::idempotency_key`].
    pub idempotency_key: Option<String>,
}

impl RetryCommand {
    /// What another retry under the same key differs in.
    pub fn fingerprint(&self) -> Digest {
        let asked = serde_json::json!(["retry", self.run_id, self.current]);
        Digest::of(asked.to_string().as_bytes())
    }
}

/// Whether the run can be repeated.
///
/// # Errors
/// When it has not ended, or its agent takes no runs. An agent that is gone is no obstacle.
pub fn check(catalog: &Catalog, run: &Run) -> Result<(), Rejection> {
    if !run.state.status.is_final() {
        return Err(Rejection::RunNotEnded {
            run_id: run.request.run_id.clone(),
            status: run.state.status,
        });
    }
    let agent = run.request.agent.clone();
    match agents::find(catalog, &agent) {
        Ok(entry) if entry.current.document.status == AgentStatus::Inactive => {
            Err(Rejection::AgentInactive { agent })
        }
        _ => Ok(()),
    }
}

/// The very same request, as a run of its own: what was executed, with what a hook had made of the
/// parameters. Its hooks run again, so that a repetition is no way around one that blocks.
pub fn exact(run: &Run, run_id: RunId, session_id: SessionId) -> RunRequest {
    // A run that went on with a session does so again.
    let session_id = match run.request.kind {
        RunKind::StartSession => session_id,
        RunKind::ResumeSession => run.request.session_id.clone(),
    };
    RunRequest {
        retry_of: Some(run.request.run_id.clone()),
        run_id,
        session_id,
        fingerprint: None,
        // Whoever repeats it does so in another trace.
        traceparent: None,
        hook_of: None,
        callback_of: None,
        ..run.request.clone()
    }
}

/// What was asked for, for the present versions. Time limits are those that hold now: a request's
/// own cannot be told from the agent's then.
pub fn current(run: &Run) -> RunCommand {
    let request = run.asked();
    let schedule_timeout = request.schedule_timeout_seconds;
    RunCommand {
        agent: request.agent,
        parameters: request.parameters,
        additional_demands: request.demands,
        project_dir: request.project_dir,
        session_id: None,
        parent_session_id: request.parent_session_id,
        execution_mode: request.execution_mode,
        timeout_seconds: None,
        schedule_timeout: schedule_timeout.and_then(|seconds| Timeout::try_from(seconds).ok()),
        fail_fast: false,
        idempotency_key: None,
        traceparent: None,
    }
}
