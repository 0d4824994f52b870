//! What is left of a run for ever, once it has ended. When and where that is stored is the reactor's.

use crate::domain::runs::sorted;
use events::history::{ERROR_MAX_CHARS, RunSummary};
use events::run::Run;
use schemas::Digest;
use serde_json::Value;

/// The summary of a run that has ended; `hostname` is its runner's. None of one that has not.
pub fn summary(run: &Run, hostname: Option<&str>) -> Option<RunSummary> {
    let request = &run.request;
    let outcome = run.outcome.as_ref();
    let error = run.error.as_ref();
    Some(RunSummary {
        run_id: request.run_id.clone(),
        ended_sequence: run.ended_sequence?,
        kind: request.kind,
        session_id: request.session_id.clone(),
        agent: request.agent.clone(),
        agent_version: request.agent_version,
        program: request.program.clone(),
        digest: request.digest,
        lane_tags: request.lane_tags.clone(),
        actor: run.actor.clone(),
        stopped_by: run.stopped_by.clone(),
        runner_id: run.state.runner_id.clone(),
        hostname: hostname.map(str::to_owned),
        requested_at: run.created_at,
        claimed_at: run.claimed_at,
        started_at: run.started_at,
        ended_at: run.ended_at?,
        attempts: run.state.attempt,
        status: run.state.status,
        reason: run.state.reason,
        error: error.map(|error| error.chars().take(ERROR_MAX_CHARS).collect()),
        exit_code: outcome.map(|outcome| outcome.exit_code),
        duration_ms: outcome.map(|outcome| outcome.duration_ms),
        parameters_digest: parameters_digest(run),
        result_bytes: outcome.map(|outcome| match &outcome.result_chunks {
            Some(chunks) => chunks.bytes,
            None => outcome.result_data.to_string().len() as u64,
        }),
        parent_session_id: request.parent_session_id.clone(),
        hook_of: request.hook_of.clone(),
        callback_of: request.callback_of.clone(),
        retry_of: request.retry_of.clone(),
    })
}

fn parameters_digest(run: &Run) -> Digest {
    let parameters = sorted(Value::Object(run.request.parameters.clone()));
    Digest::of(parameters.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{completed_run, pending_run, stepped};
    use events::Timestamp;
    use events::run::{RunEvent, RunStatus};
    use serde_json::json;

    #[test]
    fn a_summary_has_the_size_of_the_result_and_not_the_result() {
        let summary = summary(&completed_run(json!({"sent": true})), Some("web1")).unwrap();
        assert_eq!(
            (summary.status, summary.result_bytes, summary.ended_sequence),
            (RunStatus::Completed, Some(13), 4)
        );
        let text = serde_json::to_string(&summary).unwrap();
        assert!(!text.contains("sent") && text.contains("web1"), "{text}");
    }

    #[test]
    fn who_wanted_the_end_is_told() {
        let stopped = [RunEvent::Stopped { outcome: None }];
        let run = stepped(pending_run(Timestamp::UNIX_EPOCH), stopped);
        let by = summary(&run, None).unwrap().stopped_by.unwrap();
        assert_eq!(by, crate::testing::actor());
    }

    #[test]
    fn a_run_that_goes_on_has_none() {
        assert_eq!(summary(&pending_run(Timestamp::UNIX_EPOCH), None), None);
    }

    #[test]
    fn the_order_of_parameters_does_not_matter() {
        let mut one = completed_run(json!(1));
        let mut other = one.clone();
        one.request.parameters = json!({"a": 1, "b": {"x": 1, "y": 2}})
            .as_object()
            .unwrap()
            .clone();
        other.request.parameters = json!({"b": {"y": 2, "x": 1}, "a": 1})
            .as_object()
            .unwrap()
            .clone();
        assert_eq!(parameters_digest(&one), parameters_digest(&other));
    }
}
