//! A runner that has joined before needs no coordinator: it rebuilds its scripts from the log,
//! claims what waits, executes it and reports.

use events::distribution::LaneEvent;
use events::log::jetstream::{
    Access, Connection, DEFAULT_LEASE, StreamSettings, ensure_consumer, ensure_streams,
};
use events::log::{Append, Bundles as _, Expect, Log};
use events::run::{RunEvent, RunRequest, RunState, RunStatus, RunStep};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Actor, Envelope, EventId, LaneTags, RunId, SessionId, Timestamp};
use schemas::bundle::{File, Folder};
use schemas::{Demands, Digest, ScriptDocument, Tag};
use serde::Serialize;
use serde_json::json;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

/// The coordinator's part, played by hand.
struct Log1 {
    connection: Connection,
    lane_tags: LaneTags,
}

async fn coordinator(nats: &Nats) -> Log1 {
    let access = Access {
        url: nats.url(),
        nkey_seed: None,
        name: "story".to_owned(),
        inbox_prefix: subject::inbox_prefix("story"),
        owns_streams: true,
    };
    let connection = Connection::open(access).await.unwrap();
    ensure_streams(&connection, StreamSettings::default())
        .await
        .unwrap();
    let lane_tags: LaneTags = ["bash", "type:procedural"]
        .iter()
        .map(|tag| tag.parse::<Tag>().unwrap())
        .collect();
    ensure_consumer(&connection, &lane_tags.lane(), DEFAULT_LEASE)
        .await
        .unwrap();
    Log1 {
        connection,
        lane_tags,
    }
}

impl Log1 {
    async fn append<E: Serialize>(
        &self,
        stream: Stream,
        subject: String,
        event: E,
        expect: Expect,
    ) {
        let envelope = Envelope {
            id: EventId::fresh(),
            at: Timestamp::now(),
            actor: Actor::policy("story"),
            previous: None,
            event,
        };
        let append = Append {
            stream,
            subject,
            id: envelope.id,
            payload: envelope.to_bytes(),
            expect,
        };
        Log::append(&self.connection, append).await.unwrap();
    }

    async fn publish(&self, script: &str) -> Digest {
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
        let digest = self.connection.put(bundle.bytes.into()).await.unwrap();
        let lane = self.lane_tags.lane();
        let tags = LaneEvent::Tags {
            tags: self.lane_tags.clone(),
        };
        self.append(
            Stream::Lanes,
            subject::lane_tags(&lane),
            tags,
            Expect::Nothing,
        )
        .await;
        let sync = LaneEvent::Sync {
            script: "greet".parse().unwrap(),
            version: 1,
            digest,
            size: 1,
            catalog_sequence: 1,
        };
        let subject = subject::lane_script(&lane, &"greet".parse().unwrap());
        self.append(Stream::Lanes, subject, sync, Expect::Nothing)
            .await;
        digest
    }

    async fn request(&self, number: u64, digest: Digest, arguments: &[&str]) -> RunId {
        let run_id = RunId::from_bits(number);
        let lane = self.lane_tags.lane();
        let request = RunRequest {
            run_id: run_id.clone(),
            session_id: SessionId::from_bits(number),
            agent: "greet".parse().unwrap(),
            agent_version: 1,
            script: "greet".parse().unwrap(),
            script_version: 1,
            digest,
            script_file: "greet.sh".parse().unwrap(),
            script_tags: ["bash".parse().unwrap()].into(),
            lane_tags: self.lane_tags.clone(),
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
            retry_of: None,
            fingerprint: None,
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
        self.append(Stream::Runs, subject.as_string(), step, expect)
            .await;
        run_id
    }

    async fn ended(&self, run_id: &RunId) -> RunStep {
        let filter = subject::run_all(&self.lane_tags.lane(), run_id);
        eventually("the run ends", async || {
            let last = self.connection.last(Stream::Runs, &filter).await.ok()??;
            let step = Envelope::<RunStep>::from_bytes(&last.payload)
                .unwrap()
                .event;
            step.state.status.is_final().then_some(step)
        })
        .await
    }
}

/// A runner that has a membership from earlier, and a coordinator that does not answer.
fn runner(nats: &Nats) -> Runner {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let membership = json!({
        "runner_id": "alone", "broker": {"urls": [nats.url()]}, "lease_seconds": 30
    });
    std::fs::write(state.join("membership.json"), membership.to_string()).unwrap();
    Runner::start_in(Settings::default(), folder)
}

#[tokio::test]
async fn a_script_arrives_and_its_result_comes_back() {
    let nats = Nats::start().await;
    let log = coordinator(&nats).await;
    let digest = log
        .publish("echo \"{\\\"hello\\\": \\\"$2\\\"}\"\necho working >&2\n")
        .await;
    let runner = runner(&nats);
    let link = runner.project_dir().join("scripts/greet/greet.sh");
    eventually("the script arrives", async || link.exists().then_some(())).await;
    let run_id = log.request(1, digest, &["--name", "world"]).await;
    let end = log.ended(&run_id).await;
    let RunEvent::Completed { outcome, .. } = end.step else {
        panic!("{end:?}");
    };
    assert_eq!(outcome.result_data, json!({"hello": "world"}));
    assert_eq!(outcome.exit_code, 0);
}

#[tokio::test]
async fn a_script_that_fails_keeps_its_result() {
    let nats = Nats::start().await;
    let log = coordinator(&nats).await;
    let digest = log.publish("echo so far; exit 3\n").await;
    let _runner = runner(&nats);
    let end = log.ended(&log.request(1, digest, &[]).await).await;
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
