//! Runs and runners for tests of several layers.

use crate::domain::runs::RunCommand;
use events::run::{
    ExecutionMode, Outcome, PinnedScript, Program, Run, RunEvent, RunKind, RunRequest, RunState,
    RunStep,
};
use events::runner::Registration;
use events::{Actor, Envelope, EventId, RunId, RunnerId, SessionId, Timestamp, Via};
use schemas::{AgentKind, Demands, Digest};

pub fn actor() -> Actor {
    Actor::new("test", Via::Cli)
}

pub fn registration(tags: &[&str]) -> Registration {
    Registration {
        hostname: "host".to_owned(),
        project_dir: "/srv".to_owned(),
        executor_profile: "default".to_owned(),
        executor_type: AgentKind::Procedural,
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        one_of: Default::default(),
        max_runs: 1,
        version: "0".to_owned(),
        sandbox: None,
        agents: Vec::new(),
        agent_faults: Vec::new(),
        over_http: None,
    }
}

/// Asks for a run of this agent, with nothing else said.
pub fn command(agent: &str) -> RunCommand {
    RunCommand {
        agent: agent.parse().unwrap(),
        parameters: Default::default(),
        additional_demands: Demands::default(),
        project_dir: None,
        session_id: None,
        parent_session_id: None,
        execution_mode: ExecutionMode::Sync,
        timeout_seconds: None,
        schedule_timeout: None,
        fail_fast: false,
        traceparent: None,
        idempotency_key: None,
    }
}

/// A request in the lane `{type:procedural}`.
pub fn request(bits: u64) -> RunRequest {
    RunRequest {
        run_id: RunId::from_bits(bits),
        session_id: SessionId::from_bits(bits),
        agent: "agent".parse().unwrap(),
        agent_version: 1,
        kind: RunKind::StartSession,
        program: Program::Script(PinnedScript {
            name: "script".parse().unwrap(),
            version: 1,
            file: "run.sh".parse().unwrap(),
            tags: Default::default(),
        }),
        digest: Digest::of(b""),
        lane_tags: ["type:procedural".parse().unwrap()].into_iter().collect(),
        demands: Demands::default(),
        parameters: Default::default(),
        arguments: Vec::new(),
        timeout_seconds: 300,
        schedule_timeout_seconds: None,
        max_attempts: 1,
        execution_mode: ExecutionMode::Sync,
        project_dir: None,
        parent_session_id: None,
        hooks: Default::default(),
        hook_of: None,
        callback_of: None,
        retry_of: None,
        fingerprint: None,
        traceparent: None,
    }
}

pub fn requested(request: RunRequest) -> RunStep {
    RunStep {
        state: RunState::requested(),
        step: RunEvent::Requested(Box::new(request)),
    }
}

pub fn envelope<E>(at: Timestamp, event: E) -> Envelope<E> {
    Envelope {
        id: EventId::fresh(),
        at,
        actor: actor(),
        previous: None,
        event,
    }
}

pub fn pending_run(at: Timestamp) -> Run {
    Run::begin(1, envelope(at, requested(request(1)))).unwrap()
}

pub fn requested_run(request: RunRequest) -> Run {
    let envelope = envelope(Timestamp::UNIX_EPOCH, requested(request));
    Run::begin(1, envelope).unwrap()
}

/// A run that a runner has carried to this result.
pub fn completed_run(result_data: serde_json::Value) -> Run {
    let runner_id: RunnerId = "a".parse().unwrap();
    let (claimant, starter, attempt) = (runner_id.clone(), runner_id.clone(), 1);
    let outcome = Outcome {
        exit_code: 0,
        result_data,
        duration_ms: 1,
        result_chunks: None,
    };
    let steps = [
        RunEvent::Claimed {
            runner_id: claimant,
            attempt,
        },
        RunEvent::Started {
            runner_id: starter,
            attempt,
        },
        RunEvent::Completed {
            runner_id,
            attempt,
            outcome,
        },
    ];
    stepped(pending_run(Timestamp::UNIX_EPOCH), steps)
}

/// The run after these steps.
pub fn stepped(mut run: Run, steps: impl IntoIterator<Item = RunEvent>) -> Run {
    for step in steps {
        let step = step.after(&run.state).unwrap();
        let next = envelope(run.created_at, step);
        run.evolve(run.last_sequence + 1, next).unwrap();
    }
    run
}
