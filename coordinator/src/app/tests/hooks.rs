//! Runs that wait for a hook, and the runs of hooks.

use super::*;
use crate::reactors::{self, Settings};
use events::Cadence;
use events::Via;
use events::run::{FailureReason, HookPoint};
use serde_json::Value;

/// `nightly`, with hooks that run `gate`.
async fn hooked(app: &App, on_error: &str) {
    with_agent(app).await;
    app.create_agent(&actor(), agent("gate", "deploy"))
        .await
        .unwrap();
    let start = json!({"type": "agent", "agent_name": "gate", "on_error": on_error});
    let finish = json!({"type": "agent", "agent_name": "gate"});
    let hooks = json!({"hooks": {"on_run_start": start, "on_run_finish": finish}});
    let patch = Patch::from_value(hooks).unwrap();
    app.patch_agent(&actor(), &name("nightly"), patch)
        .await
        .unwrap();
}

/// What a runner would do with the run, as soon as it is there.
async fn execute(app: &App, log: &MemoryLog, run_id: &events::RunId, result: Value) {
    let run = appears(app, run_id, |run| !run.state.held).await;
    let end = RunEvent::Completed {
        runner_id: runner(),
        attempt: 1,
        outcome: Outcome {
            exit_code: 0,
            result_data: result,
            duration_ms: 1,
            result_chunks: None,
        },
    };
    for event in [claimed(), started(), end] {
        step(log, &run, event).await;
    }
}

async fn appears(app: &App, run_id: &events::RunId, is: impl Fn(&Run) -> bool) -> Run {
    let mut changes = app.projections().watch(Stream::Runs);
    loop {
        changes.mark_unchanged();
        match app.run(run_id) {
            Ok(run) if is(&run) => return run,
            _ => changes.changed().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_run_waits_for_its_hook_and_takes_its_parameters() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    let (other, _other_folder) = app_on(&log).await;
    hooked(&app, "block").await;
    // Two coordinators start each hook once.
    let _reactors = reactors::start(&app, Settings::of(Cadence::default()));
    let _others = reactors::start(&other, Settings::of(Cadence::default()));
    let asked = RunCommand {
        parameters: json!({"a": 1}).as_object().unwrap().clone(),
        idempotency_key: Some("k".to_owned()),
        ..command()
    };
    let run = app.request_run(&actor(), asked.clone()).await.unwrap().run;
    assert!(run.state.held);
    let id = &run.request.run_id;
    let hook_id = crate::app::run_of_hook(id, HookPoint::OnRunStart);
    let answer = json!({"action": "continue", "parameters": {"a": 2}});
    execute(&app, &log, &hook_id, answer).await;
    let hook = app.run(&hook_id).unwrap();
    assert_eq!(hook.request.parameters["a"], 1);
    assert_eq!(
        (hook.actor.name.as_str(), hook.actor.via),
        ("test", Via::Hook)
    );
    assert!(hook.request.hooks.is_empty());

    execute(&app, &log, id, json!({"done": true})).await;
    let run = app.run(id).unwrap();
    assert_eq!(run.request.arguments, ["--a", "2"]);
    assert_eq!(run.given_parameters.as_ref().unwrap()["a"], 1);
    let again = app.request_run(&actor(), asked).await.unwrap().run;
    assert_eq!(
        again.request.run_id, *id,
        "the key still means what was asked for"
    );

    let finish_id = crate::app::run_of_hook(id, HookPoint::OnRunFinish);
    let finish = appears(&app, &finish_id, |_| true).await;
    assert_eq!(finish.request.parameters["done"], true);
    let runs = log.page(Stream::Runs, "run.*.*.requested", 1, 100).await;
    assert_eq!(runs.unwrap().len(), 3);
}

#[tokio::test]
async fn a_hook_that_cannot_run_follows_its_on_error_and_is_told_of() {
    for (on_error, status) in [
        ("block", RunStatus::Failed),
        ("continue", RunStatus::Pending),
    ] {
        let (app, _folder) = app().await;
        hooked(&app, on_error).await;
        let inactive = AgentStatus::Inactive;
        app.set_agent_status(&actor(), &name("gate"), inactive)
            .await
            .unwrap();
        let _reactors = reactors::start(&app, Settings::of(Cadence::default()));
        let run = app.request_run(&actor(), command()).await.unwrap().run;
        let run = appears(&app, &run.request.run_id, |run| !run.state.held).await;
        assert_eq!(run.state.status, status);
        let told = &run.hook_errors[&HookPoint::OnRunStart];
        assert!(told.contains("gate is inactive"), "{told}");
        if status == RunStatus::Failed {
            assert_eq!(run.state.reason, Some(FailureReason::Blocked));
            let error = run.error.unwrap();
            assert!(
                error.starts_with("Blocked by on_run_start hook: "),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_held_run_that_is_stopped_takes_its_hook_along() {
    let (app, _folder) = app().await;
    hooked(&app, "block").await;
    let _reactors = reactors::start(&app, Settings::of(Cadence::default()));
    let run = app.request_run(&actor(), command()).await.unwrap().run;
    let id = &run.request.run_id;
    let hook_id = crate::app::run_of_hook(id, HookPoint::OnRunStart);
    appears(&app, &hook_id, |_| true).await;
    let stopped = app.stop_run(&actor(), id).await.unwrap();
    assert_eq!(stopped.outcome, StopOutcome::Stopped);
    let hook = app.wait_for_end(&hook_id, LONG).await.unwrap();
    assert_eq!(hook.state.status, RunStatus::Stopped);
}
