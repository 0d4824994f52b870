//! One run's steps and output. Not one possible history: each step from a state it can follow.

use super::{at, bundle, envelope, lane_tags, run, runner, tags};
use events::output::{OutputBatch, OutputChunk, OutputStream};
use events::run::{
    BoundExecutor, ExecutionMode, FailureReason, HookOf, HookPoint, Outcome, PinnedScript, Program,
    ResultChunks, RunEvent, RunKind, RunRequest, RunState, RunStep,
};
use events::{Actor, Envelope, Via};
use schemas::{Demands, Hooks};
use serde_json::json;

/// A result that would stand in chunks.
const RESULT: &str = r#"{"rows": []}"#;

pub fn runs() -> Vec<(&'static str, Envelope<RunStep>)> {
    let (runner_id, attempt) = (runner(), 1);
    let (held, requested) = (RunState::held(), RunState::requested());
    let claimed = after(&requested, claim());
    let started = after(&claimed, start());
    let ended = after(&requested, RunEvent::Stopped { outcome: None });
    let stopping = after(&started, RunEvent::StopRequested);
    let steps = samples! {
        "requested": RunEvent::Requested(_) => RunEvent::Requested(Box::new(request())),
        "claimed": RunEvent::Claimed { .. } => claim(),
        "started": RunEvent::Started { .. } => start(),
        "released": RunEvent::Released { .. } => RunEvent::Released {
            runner_id: runner_id.clone(),
            attempt,
        },
        "completed": RunEvent::Completed { .. } => RunEvent::Completed {
            runner_id: runner_id.clone(),
            attempt,
            outcome: sent(),
        },
        "failed": RunEvent::Failed { .. } => RunEvent::Failed {
            reason: FailureReason::ExitCode,
            error: "the script ended with exit code 3".to_owned(),
            outcome: Some(refused()),
        },
        "stop_requested": RunEvent::StopRequested => RunEvent::StopRequested,
        "stopped": RunEvent::Stopped { .. } => RunEvent::Stopped { outcome: Some(killed()) },
        "late_result": RunEvent::LateResult { .. } => RunEvent::LateResult {
            runner_id: "web-2".parse().unwrap(),
            attempt,
            outcome: Outcome {
                result_data: serde_json::Value::Null,
                result_chunks: Some(ResultChunks::of(RESULT)),
                ..sent()
            },
        },
        "result_chunk": RunEvent::ResultChunk { .. } => RunEvent::ResultChunk {
            runner_id: runner_id.clone(),
            attempt,
            index: 0,
            base64: ResultChunks::cut(RESULT).next().unwrap(),
        },
        "held": RunEvent::Held(_) => RunEvent::Held(Box::new(hooked())),
        "hook_not_run": RunEvent::HookNotRun { .. } => RunEvent::HookNotRun {
            point: HookPoint::OnRunStart,
            error: "Agent not found: deploy".to_owned(),
        },
        "callback_not_made": RunEvent::CallbackNotMade { .. } => RunEvent::CallbackNotMade {
            error: "Session not found: ses_0b7714c2f0e96d3a".to_owned(),
        },
        "session_bound": RunEvent::SessionBound { .. } => RunEvent::SessionBound {
            runner_id: runner_id.clone(),
            attempt: 1,
            executor: BoundExecutor {
                session_id: "8f2f2a34".to_owned(),
                hostname: "web1.example.com".to_owned(),
                profile: "best".to_owned(),
                project_dir: Some("/srv/project".to_owned()),
            },
        },
        "session_deleted": RunEvent::SessionDeleted => RunEvent::SessionDeleted,
    };
    let step = |(number, (name, step)): (u64, (_, RunEvent))| {
        let before = match &step {
            RunEvent::Held(_) | RunEvent::HookNotRun { .. } => &held,
            RunEvent::Requested(_) | RunEvent::Claimed { .. } => &requested,
            RunEvent::Started { .. } | RunEvent::Released { .. } => &claimed,
            RunEvent::Stopped { .. } => &stopping,
            RunEvent::CallbackNotMade { .. } | RunEvent::SessionDeleted => &ended,
            _ => &started,
        };
        let actor = match &step {
            RunEvent::Held(_)
            | RunEvent::Requested(_)
            | RunEvent::StopRequested
            | RunEvent::SessionDeleted => Actor::new("bob", Via::Dashboard),
            RunEvent::HookNotRun { .. } => Actor::policy("hooks"),
            RunEvent::CallbackNotMade { .. } => Actor::policy("callbacks"),
            _ => Actor::runner(&runner_id),
        };
        // Neither is a step from anywhere here: it is where the run begins.
        let step = match step {
            RunEvent::Held(_) | RunEvent::Requested(_) => RunStep {
                state: before.clone(),
                step,
            },
            step => step.after(before).unwrap(),
        };
        (name, envelope(number, actor, step))
    };
    (30..).zip(steps).map(step).collect()
}

pub fn output() -> Vec<(&'static str, Envelope<OutputBatch>)> {
    let chunks = samples! {
        "text": OutputChunk::Text { .. } =>
            OutputChunk::of(OutputStream::Stdout, "Sending to #général …\n".as_bytes()),
        "bytes": OutputChunk::Bytes { .. } =>
            OutputChunk::of(OutputStream::Stderr, b"caf\xe9\n"),
        "gap": OutputChunk::Gap { .. } => OutputChunk::Gap {
            stream: OutputStream::Stdout,
            bytes: 1_048_576,
        },
    };
    let batch = |(number, (name, chunk))| {
        let batch = OutputBatch {
            at: at(number),
            attempt: 1,
            number: number - 49,
            chunks: vec![chunk],
        };
        (name, envelope(number, Actor::runner(&runner()), batch))
    };
    (50..).zip(chunks).map(batch).collect()
}

fn request() -> RunRequest {
    let parameters = json!({
        "message": "Deployed release 42 to staging",
        "channel": "slack",
        "priority": "normal",
    });
    let arguments = [
        "--message",
        "Deployed release 42 to staging",
        "--channel",
        "slack",
    ];
    RunRequest {
        run_id: run(),
        kind: RunKind::StartSession,
        session_id: "ses_91d0c4aa7e35f208".parse().unwrap(),
        agent: "notifier".parse().unwrap(),
        agent_version: 1,
        program: Program::Script(PinnedScript {
            name: "send-notification".parse().unwrap(),
            version: 1,
            file: "send-notification.py".parse().unwrap(),
            tags: tags(&["uv"]),
        }),
        digest: bundle(1),
        lane_tags: lane_tags(),
        demands: Demands {
            tags: tags(&["messaging-team"]),
            ..Demands::default()
        },
        parameters: parameters.as_object().unwrap().clone(),
        arguments: arguments.map(str::to_owned).to_vec(),
        timeout_seconds: 300,
        schedule_timeout_seconds: Some(600),
        max_attempts: 1,
        execution_mode: ExecutionMode::AsyncPoll,
        project_dir: Some("/srv/project".to_owned()),
        parent_session_id: Some("ses_0b7714c2f0e96d3a".parse().unwrap()),
        hooks: Hooks::default(),
        hook_of: None,
        callback_of: None,
        retry_of: Some("run_5e0d1f7b3c9a2846".parse().unwrap()),
        traceparent: Some(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                .parse()
                .unwrap(),
        ),
        fingerprint: Some(bundle(2)),
    }
}

/// With everything that has to do with hooks and callbacks, though no run has all of it.
fn hooked() -> RunRequest {
    let hooks = json!({
        "on_run_start": { "type": "agent", "agent_name": "deploy", "on_error": "block" },
        "on_run_finish": { "type": "agent", "agent_name": "deploy", "timeout_seconds": 30 },
    });
    RunRequest {
        kind: RunKind::ResumeSession,
        callback_of: Some("run_91d0c4aa7e35f208".parse().unwrap()),
        hooks: serde_json::from_value(hooks).unwrap(),
        hook_of: Some(HookOf {
            run_id: "run_91d0c4aa7e35f208".parse().unwrap(),
            point: HookPoint::OnRunFinish,
        }),
        ..request()
    }
}

fn claim() -> RunEvent {
    RunEvent::Claimed {
        runner_id: runner(),
        attempt: 1,
    }
}

fn start() -> RunEvent {
    RunEvent::Started {
        runner_id: runner(),
        attempt: 1,
    }
}

fn after(state: &RunState, step: RunEvent) -> RunState {
    step.after(state).unwrap().state
}

fn sent() -> Outcome {
    Outcome {
        exit_code: 0,
        result_data: json!({ "sent": true, "channel": "slack", "seconds": 0.25 }),
        result_chunks: None,
        duration_ms: 1_382,
    }
}

fn refused() -> Outcome {
    Outcome {
        exit_code: 3,
        result_data: json!({ "return_code": 3, "stdout": "", "stderr": "no such channel\n" }),
        result_chunks: None,
        duration_ms: 211,
    }
}

fn killed() -> Outcome {
    Outcome {
        exit_code: 143,
        result_data: json!({ "return_code": 143, "stdout": "Sending …\n", "stderr": "" }),
        result_chunks: None,
        duration_ms: 8_045,
    }
}
