//! What follows from hooks: a held run waits for its `on_run_start` hook and then goes on or
//! fails; an ended run's `on_run_finish` hook is started once; the hook of a run that was ended
//! meanwhile is stopped. How long a hook may take is its own run's timeout.

use crate::domain::hooks::{Answer, parameters};
use events::RunId;
use events::run::{FailureReason, HookOf, HookPoint, Run, RunEvent, RunStatus};
use schemas::{Hook, OnError};
use serde_json::{Map, Value};

/// A live run that hooks have to do with: one that is held, with its hook's run; or the run of an
/// `on_run_start` hook, with the run that it is for. The other one may not exist (yet).
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub run: Run,
    pub other: Option<Run>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Request the run of the hook. It is one run, however often this is done.
    Start {
        of: Run,
        point: HookPoint,
        hook: Hook,
        parameters: Map<String, Value>,
    },
    /// Put the held run into its lane's queue, with these parameters where there are any.
    Release {
        run: Run,
        parameters: Option<Map<String, Value>>,
    },
    /// Append the step, unless something else came first.
    Append { run: Run, step: RunEvent },
    /// Nobody waits for this hook's run any more.
    Stop { run_id: RunId },
}

/// What follows from a live run.
pub fn of_live(pair: &Pair) -> Option<Action> {
    let Pair { run, other } = pair;
    match &run.request.hook_of {
        Some(HookOf {
            point: HookPoint::OnRunStart,
            ..
        }) => of_hook(run, other.as_ref()),
        _ if run.state.held => of_held(run, other.as_ref()),
        _ => None,
    }
}

/// What follows from an ended run whose `on_run_finish` hook was not requested yet.
pub fn of_ended(run: &Run) -> Option<Action> {
    start(run, HookPoint::OnRunFinish)
}

/// How a failure is told that a hook is to blame for.
pub fn blocked(why: &str) -> RunEvent {
    RunEvent::Failed {
        reason: FailureReason::Blocked,
        error: format!("Blocked by on_run_start hook: {why}"),
        outcome: None,
    }
}

fn of_hook(hook: &Run, of: Option<&Run>) -> Option<Action> {
    let waits = of.is_none_or(|of| of.state.held);
    let can_be_stopped = !matches!(hook.state.status, RunStatus::Stopping);
    (!waits && can_be_stopped).then(|| Action::Stop {
        run_id: hook.request.run_id.clone(),
    })
}

fn of_held(run: &Run, hook_run: Option<&Run>) -> Option<Action> {
    let point = HookPoint::OnRunStart;
    let hook = point.of(&run.request.hooks)?;
    if let Some(error) = run.hook_errors.get(&point) {
        return Some(failed(run, hook, error));
    }
    let Some(hook_run) = hook_run else {
        return start(run, point);
    };
    let id = &hook_run.request.run_id;
    match (hook_run.state.status, &hook_run.outcome) {
        (RunStatus::Completed, Some(outcome)) => Some(match Answer::read(&outcome.result_data) {
            Ok(Answer::Continue { parameters }) => released(run, parameters),
            Ok(Answer::Block { block_reason }) => {
                let reason = block_reason.unwrap_or_else(|| "it gave no reason".to_owned());
                append(run, blocked(&reason))
            }
            Err(error) => failed(run, hook, &format!("{id}: {error}")),
        }),
        (status, _) if status.is_final() => {
            let error = hook_run.error.as_deref().unwrap_or("it was stopped");
            Some(failed(run, hook, &format!("{id} {status}: {error}")))
        }
        _ => None,
    }
}

/// The hook has failed: what it has to say is not known.
fn failed(run: &Run, hook: &Hook, error: &str) -> Action {
    match hook.on_error {
        OnError::Continue => released(run, None),
        OnError::Block => {
            let why = format!("the hook {} itself failed: {error}", hook.agent_name);
            append(run, blocked(&why))
        }
    }
}

fn start(of: &Run, point: HookPoint) -> Option<Action> {
    Some(Action::Start {
        hook: point.of(&of.request.hooks)?.clone(),
        parameters: parameters(of, point),
        of: of.clone(),
        point,
    })
}

fn released(run: &Run, parameters: Option<Map<String, Value>>) -> Action {
    Action::Release {
        run: run.clone(),
        parameters,
    }
}

fn append(run: &Run, step: RunEvent) -> Action {
    Action::Append {
        run: run.clone(),
        step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{envelope, request, stepped};
    use events::Timestamp;
    use events::run::{Outcome, RunRequest, RunStep};
    use rstest::rstest;
    use serde_json::json;

    fn begun(request: RunRequest) -> Run {
        let first = envelope(Timestamp::UNIX_EPOCH, RunStep::first(request));
        Run::begin(1, first).unwrap()
    }

    fn held(on_error: &str) -> Run {
        let hook = json!({"type": "agent", "agent_name": "gate", "on_error": on_error});
        let hooks = json!({"on_run_start": hook, "on_run_finish": hook});
        begun(RunRequest {
            hooks: serde_json::from_value(hooks).unwrap(),
            ..request(1)
        })
    }

    fn hook_run(end: Option<RunEvent>) -> Run {
        let (runner_id, attempt) = (runner(), 1);
        let claimed = RunEvent::Claimed {
            runner_id: runner_id.clone(),
            attempt,
        };
        let started = RunEvent::Started { runner_id, attempt };
        let of = HookOf {
            run_id: request(1).run_id,
            point: HookPoint::OnRunStart,
        };
        let run = begun(RunRequest {
            hook_of: Some(of),
            ..request(2)
        });
        stepped(run, [claimed, started].into_iter().chain(end))
    }

    fn runner() -> events::RunnerId {
        "a".parse().unwrap()
    }

    fn said(result_data: Value) -> RunEvent {
        RunEvent::Completed {
            runner_id: runner(),
            attempt: 1,
            outcome: Outcome {
                exit_code: 0,
                result_data,
                duration_ms: 1,
                result_chunks: None,
            },
        }
    }

    fn broke() -> RunEvent {
        RunEvent::Failed {
            reason: FailureReason::Timeout,
            error: "it took too long".to_owned(),
            outcome: None,
        }
    }

    fn told(action: Option<Action>) -> String {
        match action {
            None => "wait".to_owned(),
            Some(Action::Start { hook, point, .. }) => format!("start {point} {}", hook.agent_name),
            Some(Action::Release { parameters, .. }) => format!("release {parameters:?}"),
            Some(Action::Append {
                step: RunEvent::Failed { reason, error, .. },
                ..
            }) => format!("{reason:?}: {error}"),
            Some(other) => format!("{other:?}"),
        }
    }

    fn follows(run: Run, other: Option<Run>) -> String {
        told(of_live(&Pair { run, other }))
    }

    #[test]
    fn a_held_runs_hook_is_started_and_waited_for() {
        let started = follows(held("block"), None);
        assert_eq!(started, "start on_run_start gate");
        assert_eq!(follows(held("block"), Some(hook_run(None))), "wait");
    }

    #[rstest]
    #[case(json!({"action": "continue"}), "release None")]
    #[case(json!({"action": "continue", "parameters": {}}), "release Some({})")]
    #[case(json!({"action": "block", "block_reason": "Friday"}),
        "Blocked: Blocked by on_run_start hook: Friday")]
    fn what_the_hook_says_is_done(
        #[case] result: Value,
        #[case] expected: &str,
        #[values("continue", "block")] on_error: &str,
    ) {
        let hook = hook_run(Some(said(result)));
        assert_eq!(follows(held(on_error), Some(hook)), expected);
    }

    #[rstest]
    #[case::failure(broke(), "run_0000000000000002 failed: it took too long")]
    #[case::no_answer(said(json!(3)), "run_0000000000000002: its result is no answer")]
    fn a_hook_that_fails_follows_its_on_error(#[case] end: RunEvent, #[case] why: &str) {
        let hook = || Some(hook_run(Some(end.clone())));
        assert_eq!(follows(held("continue"), hook()), "release None");
        let blocked = follows(held("block"), hook());
        let expected =
            format!("Blocked: Blocked by on_run_start hook: the hook gate itself failed: {why}");
        assert!(blocked.starts_with(&expected), "{blocked}");
    }

    #[test]
    fn so_does_one_that_cannot_be_requested() {
        let not_run = RunEvent::HookNotRun {
            point: HookPoint::OnRunStart,
            error: "gone".to_owned(),
        };
        let run = |on_error| stepped(held(on_error), [not_run.clone()]);
        assert_eq!(follows(run("continue"), None), "release None");
        let blocked = follows(run("block"), None);
        assert!(blocked.ends_with("itself failed: gone"), "{blocked}");
    }

    #[test]
    fn the_hook_of_a_run_that_was_stopped_is_stopped() {
        let stopped = stepped(held("block"), [RunEvent::Stopped { outcome: None }]);
        let stop = follows(hook_run(None), Some(stopped.clone()));
        assert!(stop.starts_with("Stop"), "{stop}");
        let stopping = hook_run(Some(RunEvent::StopRequested));
        assert_eq!(follows(stopping, Some(stopped)), "wait");
        assert_eq!(follows(hook_run(None), Some(held("block"))), "wait");
    }

    #[test]
    fn an_ended_run_starts_its_finish_hook() {
        let ended = stepped(held("block"), [broke()]);
        assert_eq!(told(of_ended(&ended)), "start on_run_finish gate");
    }
}
