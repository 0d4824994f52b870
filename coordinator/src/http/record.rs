//! A run as an audit shows it: who had what executed where and when, and how it ended. The fields have
//! the names they have in a run; what `HISTORY` does not keep is not there.

use events::history::RunSummary;
use events::run::{FailureReason, HookOf, Program, Run, RunKind, RunStatus};
use events::{Actor, Lane, RunId, RunnerId, SessionId, Timestamp, Via};
use schemars::JsonSchema;
use schemas::{Digest, Name};
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordView {
    run_id: RunId,
    r#type: RunKind,
    session_id: SessionId,
    agent_name: Name,
    agent_version: u32,
    script: Option<Name>,
    script_version: Option<u32>,
    digest: Digest,
    lane: Lane,
    demands: Demanded,
    runner_id: Option<RunnerId>,
    hostname: Option<String>,
    actor: Actor,
    /// The actor's door, and what the run followed from.
    through: String,
    stopped_by: Option<Actor>,
    created_at: Timestamp,
    claimed_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    status: RunStatus,
    reason: Option<FailureReason>,
    error: Option<String>,
    exit_code: Option<i32>,
    duration_ms: Option<u64>,
    attempt: u32,
    parameters_digest: Option<Digest>,
    result_bytes: Option<u64>,
    parent_session_id: Option<SessionId>,
    hook_of: Option<HookOf>,
    callback_of: Option<RunId>,
    retry_of: Option<RunId>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Demanded {
    tags: Vec<String>,
}

/// What a run followed from.
struct Origin<'a> {
    via: Via,
    hook_of: Option<&'a HookOf>,
    callback_of: Option<&'a RunId>,
    retry_of: Option<&'a RunId>,
    parent: Option<&'a SessionId>,
}

impl Origin<'_> {
    fn told(&self) -> String {
        if let Some(HookOf { run_id, point }) = self.hook_of {
            return format!("{point} hook of {run_id}");
        }
        if let Some(run_id) = self.callback_of {
            return format!("callback of {run_id}");
        }
        let via = serde_json::to_value(self.via).unwrap_or_default();
        let mut told = via.as_str().unwrap_or_default().to_owned();
        if let Some(run_id) = self.retry_of {
            told.push_str(&format!(", retry of {run_id}"));
        }
        if let Some(session) = self.parent {
            told.push_str(&format!(", for {session}"));
        }
        told
    }
}

/// What an actor came through, and what the run followed from, in one line.
pub fn through(run: &Run) -> String {
    let request = &run.request;
    let origin = Origin {
        via: run.actor.via,
        hook_of: request.hook_of.as_ref(),
        callback_of: request.callback_of.as_ref(),
        retry_of: request.retry_of.as_ref(),
        parent: request.parent_session_id.as_ref(),
    };
    origin.told()
}

impl From<RunSummary> for RecordView {
    fn from(run: RunSummary) -> Self {
        let origin = Origin {
            via: run.actor.via,
            hook_of: run.hook_of.as_ref(),
            callback_of: run.callback_of.as_ref(),
            retry_of: run.retry_of.as_ref(),
            parent: run.parent_session_id.as_ref(),
        };
        let through = origin.told();
        let (script, script_version) = pinned(&run.program);
        Self {
            through,
            script,
            script_version,
            run_id: run.run_id,
            r#type: run.kind,
            session_id: run.session_id,
            agent_name: run.agent,
            agent_version: run.agent_version,
            digest: run.digest,
            lane: run.lane_tags.lane(),
            demands: Demanded {
                tags: run.lane_tags.iter().map(ToString::to_string).collect(),
            },
            runner_id: run.runner_id,
            hostname: run.hostname,
            actor: run.actor,
            stopped_by: run.stopped_by,
            created_at: run.requested_at,
            claimed_at: run.claimed_at,
            started_at: run.started_at,
            completed_at: Some(run.ended_at),
            status: run.status,
            reason: run.reason,
            error: run.error,
            exit_code: run.exit_code,
            duration_ms: run.duration_ms,
            attempt: run.attempts,
            parameters_digest: Some(run.parameters_digest),
            result_bytes: run.result_bytes,
            parent_session_id: run.parent_session_id,
            hook_of: run.hook_of,
            callback_of: run.callback_of,
            retry_of: run.retry_of,
        }
    }
}

/// A run that has not ended.
impl From<Run> for RecordView {
    fn from(run: Run) -> Self {
        let through = through(&run);
        let (script, script_version) = pinned(&run.request.program);
        let Run { request, state, .. } = run;
        Self {
            through,
            script,
            script_version,
            run_id: request.run_id,
            r#type: request.kind,
            session_id: request.session_id,
            agent_name: request.agent,
            agent_version: request.agent_version,
            digest: request.digest,
            lane: request.lane_tags.lane(),
            demands: Demanded {
                tags: request.lane_tags.iter().map(ToString::to_string).collect(),
            },
            runner_id: state.runner_id,
            hostname: None,
            actor: run.actor,
            stopped_by: run.stopped_by,
            created_at: run.created_at,
            claimed_at: run.claimed_at,
            started_at: run.started_at,
            completed_at: run.ended_at,
            status: state.status,
            reason: state.reason,
            error: run.error,
            exit_code: None,
            duration_ms: None,
            attempt: state.attempt,
            parameters_digest: None,
            result_bytes: None,
            parent_session_id: request.parent_session_id,
            hook_of: request.hook_of,
            callback_of: request.callback_of,
            retry_of: request.retry_of,
        }
    }
}

fn pinned(program: &Program) -> (Option<Name>, Option<u32>) {
    match program {
        Program::Script(script) => (Some(script.name.clone()), Some(script.version)),
        Program::Command | Program::Model => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::history::summary;
    use crate::testing::{request, requested_run, stepped};
    use events::run::{HookPoint, RunEvent, RunRequest};
    use rstest::rstest;

    type Change = for<'a> fn(&'a mut RunRequest);

    fn plain(_: &mut RunRequest) {}

    fn of_session(request: &mut RunRequest) {
        request.parent_session_id = Some(SessionId::from_bits(2));
    }

    fn again(request: &mut RunRequest) {
        request.retry_of = Some(RunId::from_bits(3));
    }

    fn told(request: &mut RunRequest) {
        request.callback_of = Some(RunId::from_bits(3));
    }

    fn hook(request: &mut RunRequest) {
        let (run_id, point) = (RunId::from_bits(3), HookPoint::OnRunStart);
        request.hook_of = Some(HookOf { run_id, point });
    }

    #[rstest]
    #[case::by_hand(plain, "cli")]
    #[case::for_a_session(of_session, "cli, for ses_0000000000000002")]
    #[case::again(again, "cli, retry of run_0000000000000003")]
    #[case::told_of_an_end(told, "callback of run_0000000000000003")]
    #[case::a_hook(hook, "on_run_start hook of run_0000000000000003")]
    fn a_run_says_through_what_it_was_asked_for(#[case] change: Change, #[case] told: &str) {
        let mut asked = request(1);
        change(&mut asked);
        let run = requested_run(asked);
        assert_eq!(through(&run), told);
        let ended = stepped(run, [RunEvent::Stopped { outcome: None }]);
        let summary = summary(&ended, None).unwrap();
        assert_eq!(RecordView::from(summary).through, told);
    }
}
