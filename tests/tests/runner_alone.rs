//! A runner that has joined before needs no coordinator: it rebuilds its scripts from the log,
//! claims what waits, executes it and reports.

use events::log::{Expect, Log};
use events::run::{
    PinnedScript, Program, RunEvent, RunKind, RunRequest, RunState, RunStatus, RunStep,
};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Envelope, RunId, SessionId};
use schemas::bundle::{File, Folder};
use schemas::{Demands, Digest, ScriptDocument};
use serde_json::json;
use tests::eventually::eventually;
use tests::hand::{Hand, runner_alone};
use tests::nats::Nats;

async fn publish(hand: &Hand, script: &str) -> Digest {
    let document = ScriptDocument::from_value(json!({
        "name": "greet", "description": "", "script_file": "greet.sh",
        "demands": {"tags": ["bash"]}
    }))
    .unwrap();
    let files = [(
        "greet.sh".parse().unwrap(),
        File::executable(script.as_bytes().to_vec()),
    )];
    let bundle = Folder::script(&document, files).unwrap().pack().unwrap();
    hand.sync("greet", bundle.bytes).await
}

async fn request(hand: &Hand, number: u64, digest: Digest, arguments: &[&str]) -> RunId {
    let run_id = RunId::from_bits(number);
    let lane = hand.lane_tags.lane();
    let request = RunRequest {
        run_id: run_id.clone(),
        kind: RunKind::StartSession,
        session_id: SessionId::from_bits(number),
        agent: "greet".parse().unwrap(),
        agent_version: 1,
        program: Program::Script(PinnedScript {
            name: "greet".parse().unwrap(),
            version: 1,
            file: "greet.sh".parse().unwrap(),
            tags: ["bash".parse().unwrap()].into(),
        }),
        digest,
        lane_tags: hand.lane_tags.clone(),
        demands: Demands::default(),
        parameters: serde_json::Map::new(),
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        timeout_seconds: 60,
        schedule_timeout_seconds: None,
        max_attempts: 1,
        execution_mode: Default::default(),
        project_dir: None,
        parent_session_id: None,
        hooks: Default::default(),
        hook_of: None,
        callback_of: None,
        retry_of: None,
        fingerprint: None,
        traceparent: None,
    };
    let step = RunStep {
        state: RunState::requested(),
        step: RunEvent::Requested(Box::new(request)),
    };
    let subject = RunSubject {
        lane: lane.clone(),
        run_id: run_id.clone(),
        writer: Writer::Request,
    };
    let expect = Expect::Subjects {
        filter: subject::run_all(&lane, &run_id),
        sequence: 0,
    };
    hand.append(Stream::Runs, subject.as_string(), step, expect)
        .await;
    run_id
}

async fn ended(hand: &Hand, run_id: &RunId) -> RunStep {
    let filter = subject::run_all(&hand.lane_tags.lane(), run_id);
    eventually("the run ends", async || {
        let last = hand.connection.last(Stream::Runs, &filter).await.ok()??;
        let step = Envelope::<RunStep>::from_bytes(&last.payload)
            .unwrap()
            .event;
        step.state.status.is_final().then_some(step)
    })
    .await
}

#[tokio::test]
async fn a_script_arrives_and_its_result_comes_back() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let digest = publish(
        &hand,
        "echo \"{\\\"hello\\\": \\\"$2\\\"}\"\necho working >&2\n",
    )
    .await;
    let runner = runner_alone(&nats);
    let link = runner.project_dir().join("scripts/greet/greet.sh");
    eventually("the script arrives", async || link.exists().then_some(())).await;
    let run_id = request(&hand, 1, digest, &["--name", "world"]).await;
    let end = ended(&hand, &run_id).await;
    let RunEvent::Completed { outcome, .. } = end.step else {
        panic!("{end:?}");
    };
    assert_eq!(outcome.result_data, json!({"hello": "world"}));
    assert_eq!(outcome.exit_code, 0);
}

#[tokio::test]
async fn a_script_that_fails_keeps_its_result() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let digest = publish(&hand, "echo so far; exit 3\n").await;
    let _runner = runner_alone(&nats);
    let end = ended(&hand, &request(&hand, 1, digest, &[]).await).await;
    assert_eq!(end.state.status, RunStatus::Failed);
    let RunEvent::Failed {
        outcome: Some(outcome),
        ..
    } = end.step
    else {
        panic!("{end:?}");
    };
    let expected = json!({"return_code": 3, "stdout": "so far\n", "stderr": ""});
    assert_eq!(outcome.result_data, expected);
}
