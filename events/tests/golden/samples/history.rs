//! What is left of a run for ever; with everything that a summary can have, though no run has it all.

use super::{at, bundle, envelope, lane_tags, run, runner, tags};
use events::history::{HistoryEvent, RunSummary};
use events::run::{FailureReason, HookOf, HookPoint, PinnedScript, Program, RunKind, RunStatus};
use events::{Actor, Envelope, Via};
use schemas::Digest;

pub fn history() -> Vec<(&'static str, Envelope<HistoryEvent>)> {
    let events = samples! {
        "run_ended": HistoryEvent::RunEnded(_) => HistoryEvent::RunEnded(Box::new(failed())),
    };
    let actor = Actor::policy("history");
    let named = |(number, (name, event))| (name, envelope(number, actor.clone(), event));
    (80..).zip(events).map(named).collect()
}

fn failed() -> RunSummary {
    RunSummary {
        run_id: run(),
        ended_sequence: 1_042,
        kind: RunKind::ResumeSession,
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
        actor: Actor::new("bob", Via::Dashboard),
        stopped_by: Some(Actor::new("alice", Via::Cli)),
        runner_id: Some(runner()),
        hostname: Some("web1.example.com".to_owned()),
        requested_at: at(30),
        claimed_at: Some(at(31)),
        started_at: Some(at(32)),
        ended_at: at(35),
        attempts: 1,
        status: RunStatus::Failed,
        reason: Some(FailureReason::ExitCode),
        error: Some("the script ended with exit code 3".to_owned()),
        exit_code: Some(3),
        duration_ms: Some(211),
        parameters_digest: Digest::of(br#"{"message":"Deployed release 42 to staging"}"#),
        result_bytes: Some(62),
        parent_session_id: Some("ses_0b7714c2f0e96d3a".parse().unwrap()),
        hook_of: Some(HookOf {
            run_id: "run_91d0c4aa7e35f208".parse().unwrap(),
            point: HookPoint::OnRunFinish,
        }),
        callback_of: Some("run_91d0c4aa7e35f208".parse().unwrap()),
        retry_of: Some("run_5e0d1f7b3c9a2846".parse().unwrap()),
    }
}
