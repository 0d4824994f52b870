//! What a hook is given, what it may answer, and what an answer makes of the run that waits for
//! it. When a hook runs, and what follows from its failure, is `policy`'s.

use super::Rejection;
use super::runs::{RunCommand, checked};
use events::run::{ExecutionMode, HookOf, HookPoint, Run, RunRequest, RunStatus};
use schemas::check::CompiledSchema;
use schemas::parameters::argv;
use schemas::{Demands, Hook, Hooks};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What an `on_run_start` hook says of the run that waits for it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Answer {
    Continue {
        /// In place of the run's own.
        #[serde(default)]
        parameters: Option<Map<String, Value>>,
    },
    Block {
        #[serde(default)]
        block_reason: Option<String>,
    },
}

/// A result that is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its result is no answer ({why}); it has to print {{\"action\": \"continue\"}}, \
     {{\"action\": \"continue\", \"parameters\": {{…}}}} or \
     {{\"action\": \"block\", \"block_reason\": \"…\"}}"
)]
pub struct NoAnswer {
    why: String,
}

impl Answer {
    /// # Errors
    /// When the result is of another form.
    pub fn read(result: &Value) -> Result<Self, NoAnswer> {
        Self::deserialize(result).map_err(|error| NoAnswer {
            why: error.to_string(),
        })
    }
}

/// What a hook is given: the run's parameters before, and its result after.
pub fn parameters(of: &Run, point: HookPoint) -> Map<String, Value> {
    let result = || of.outcome.as_ref().map(|outcome| &outcome.result_data);
    let chunks = of
        .outcome
        .as_ref()
        .and_then(|outcome| outcome.result_chunks.as_ref());
    match (point, of.state.status) {
        (HookPoint::OnRunStart, _) => of.request.parameters.clone(),
        // More than parameters may hold: the hook learns how much it is, and can ask for it.
        (HookPoint::OnRunFinish, _) if let Some(chunks) = chunks => named(json!({
            "status": of.state.status,
            "run_id": of.request.run_id,
            "result_data": null,
            "result_bytes": chunks.bytes,
        })),
        (HookPoint::OnRunFinish, RunStatus::Completed) => match result() {
            Some(Value::Object(result)) => result.clone(),
            // Parameters have names.
            other => named(json!({ "result_data": other })),
        },
        (HookPoint::OnRunFinish, status) => named(json!({
            "status": status,
            "reason": of.state.reason,
            "error": of.error,
            "result_data": result(),
        })),
    }
}

/// How a hook's run is asked for.
pub fn command(of: &Run, hook: &Hook, parameters: Map<String, Value>) -> RunCommand {
    RunCommand {
        agent: hook.agent_name.clone(),
        parameters,
        additional_demands: Demands::default(),
        project_dir: of.request.project_dir.clone(),
        session_id: None,
        parent_session_id: Some(of.request.session_id.clone()),
        execution_mode: ExecutionMode::AsyncPoll,
        timeout_seconds: Some(hook.timeout_seconds),
        schedule_timeout: None,
        fail_fast: false,
        idempotency_key: None,
        traceparent: of.request.traceparent.clone(),
    }
}

/// The request as a hook's: it has no hooks itself, so that hooks come to an end.
pub fn as_hook(request: RunRequest, of: &Run, point: HookPoint) -> RunRequest {
    RunRequest {
        hooks: Hooks::default(),
        hook_of: Some(HookOf {
            run_id: of.request.run_id.clone(),
            point,
        }),
        ..request
    }
}

/// The request with the parameters of a hook, checked like those of a caller. `written` is the
/// parameters' schema of the very version that the run pinned, `schema` the same, compiled.
/// Checking takes up to the schema's deadline: not for a thread that others wait for.
///
/// # Errors
/// When they do not fit.
pub fn changed(
    request: &RunRequest,
    written: Option<&Value>,
    schema: Option<&CompiledSchema>,
    parameters: Map<String, Value>,
) -> Result<RunRequest, Rejection> {
    let parameters = checked(&request.agent, written, schema, parameters)?;
    Ok(RunRequest {
        arguments: argv(written, &parameters)?,
        parameters,
        ..request.clone()
    })
}

fn named(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{completed_run, pending_run, request, stepped};
    use events::Timestamp;
    use events::run::{FailureReason, RunEvent};
    use rstest::rstest;

    #[rstest]
    #[case(json!({"action": "continue"}), Some(Answer::Continue { parameters: None }))]
    #[case(json!({"action": "continue", "parameters": null, "mood": "good"}),
        Some(Answer::Continue { parameters: None }))]
    #[case(json!({"action": "block", "block_reason": "Friday"}),
        Some(Answer::Block { block_reason: Some("Friday".to_owned()) }))]
    #[case(json!({"action": "block"}), Some(Answer::Block { block_reason: None }))]
    #[case(json!({"action": "continue", "parameters": [1]}), None)]
    #[case(json!({"action": "explode"}), None)]
    #[case(json!({"return_code": 0, "stdout": "", "stderr": ""}), None)]
    #[case(json!(null), None)]
    #[case(json!("continue"), None)]
    fn answers(#[case] result: Value, #[case] expected: Option<Answer>) {
        assert_eq!(Answer::read(&result).ok(), expected);
    }

    #[test]
    fn a_wrong_answer_is_told_what_is_right() {
        let error = Answer::read(&json!({"ok": true})).unwrap_err().to_string();
        assert!(error.contains(r#"{"action": "continue"}"#), "{error}");
    }

    #[rstest]
    #[case(json!({"sent": true}), json!({"sent": true}))]
    #[case(json!([1, 2]), json!({"result_data": [1, 2]}))]
    #[case(json!(null), json!({"result_data": null}))]
    fn a_finish_hook_is_given_the_result(#[case] result: Value, #[case] given: Value) {
        let parameters = parameters(&completed_run(result), HookPoint::OnRunFinish);
        assert_eq!(Value::Object(parameters), given);
    }

    #[test]
    fn a_finish_hook_is_told_of_a_failure() {
        let failed = RunEvent::Failed {
            reason: FailureReason::NoMatch,
            error: "nobody".to_owned(),
            outcome: None,
        };
        let run = stepped(pending_run(Timestamp::UNIX_EPOCH), [failed]);
        let given = json!({
            "status": "failed", "reason": "no_match", "error": "nobody", "result_data": null,
        });
        let parameters = parameters(&run, HookPoint::OnRunFinish);
        assert_eq!(Value::Object(parameters), given);
    }

    #[test]
    fn changed_parameters_are_checked_and_become_another_command_line() {
        let schema = json!({
            "type": "object",
            "properties": {"n": {"type": "integer"}, "m": {"type": "integer", "default": 3}},
        });
        let compiled = CompiledSchema::compile(&schema).unwrap();
        let with = |parameters: Value| {
            let parameters = named(parameters);
            changed(&request(1), Some(&schema), Some(&compiled), parameters)
        };
        let request = with(json!({"n": 7})).unwrap();
        assert_eq!(request.arguments, ["--n", "7", "--m", "3"]);
        let refusal = with(json!({"n": "seven"})).unwrap_err().to_string();
        assert!(refusal.contains("$.n"), "{refusal}");
    }
}
