//! Scripts, agents and steps of runs, as short as tests need them.

use super::world::World;
use events::log::{Append, Expect, Log as _};
use events::output::{OutputBatch, OutputChunk, OutputStream};
use events::run::{Outcome, Run, RunEvent, RunState};
use events::runner::{Registration, RunnerEvent, Sandbox};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Actor, Envelope, EventId, RunId, RunnerId, Timestamp};
use schemas::{AgentKind, Tag};
use serde::Serialize;
use serde_json::{Value, json};

pub fn deploy() -> Value {
    json!({
        "name": "deploy",
        "description": "Deploys",
        "script_file": "deploy.sh",
        "script_content": "echo deployed\n",
        "parameters_schema": {
            "type": "object",
            "required": ["env"],
            "properties": {"env": {"type": "string", "enum": ["test", "live"]}},
        },
        "demands": {"tags": ["bash"]},
    })
}

pub fn deployer() -> Value {
    json!({
        "name": "deployer",
        "description": "Runs deploy",
        "type": "procedural",
        "script": "deploy",
        "tags": ["ops"],
    })
}

impl World {
    /// A world with the script and the agent above.
    pub async fn with_deployer() -> Self {
        let world = Self::new().await;
        assert_eq!(world.send("POST", "/scripts", deploy()).await.status, 201);
        assert_eq!(world.send("POST", "/agents", deployer()).await.status, 201);
        world
    }

    /// Requests a run and gives its id.
    pub async fn requested(&self) -> RunId {
        let body = json!({"type": "start_session", "agent_name": "deployer", "parameters": {"env": "test"}});
        let answer = self.send("POST", "/runs", body).await.json();
        answer["run_id"].as_str().unwrap().parse().unwrap()
    }

    /// What a runner appends while it executes the run to its end.
    pub async fn executed(&self, run_id: &RunId) {
        let run = self.app.run(run_id).unwrap();
        let (runner_id, attempt) = (runner(), 1);
        let outcome = Outcome {
            exit_code: 0,
            result_data: json!({"deployed": true}),
            result_chunks: None,
            duration_ms: 12,
        };
        let steps = [
            RunEvent::Claimed {
                runner_id: runner_id.clone(),
                attempt,
            },
            RunEvent::Started {
                runner_id: runner_id.clone(),
                attempt,
            },
            RunEvent::Completed {
                runner_id,
                attempt,
                outcome,
            },
        ];
        let mut state = RunState::requested();
        for step in steps {
            let step = step.after(&state).unwrap();
            state = step.state.clone();
            let writer = Writer::Runner(runner());
            let subject = RunSubject {
                lane: lane(&run),
                run_id: run_id.clone(),
                writer,
            };
            self.append(Stream::Runs, subject.as_string(), step).await;
        }
    }

    /// What the run's script writes: one batch with a chunk of each kind.
    pub async fn written(&self, run_id: &RunId) {
        let run = self.app.run(run_id).unwrap();
        let batch = OutputBatch {
            at: "2026-11-20T10:00:00Z".parse().unwrap(),
            attempt: 1,
            number: 1,
            chunks: vec![
                OutputChunk::Text {
                    stream: OutputStream::Stdout,
                    text: "one\n".into(),
                },
                OutputChunk::Bytes {
                    stream: OutputStream::Stderr,
                    base64: "/w==".into(),
                },
                OutputChunk::Gap {
                    stream: OutputStream::Stdout,
                    bytes: 7,
                },
            ],
        };
        let subject = subject::output(&lane(&run), run_id, &runner());
        self.append(Stream::Output, subject, batch).await;
    }

    pub async fn registered(&self) {
        let registration = Registration {
            hostname: "web1".into(),
            project_dir: "/srv".into(),
            executor_profile: "default".into(),
            executor_type: AgentKind::Procedural,
            tags: ["bash", "type:procedural"]
                .map(|tag| Tag::parse(tag).unwrap())
                .into(),
            one_of: Default::default(),
            max_runs: 4,
            version: "0.1.0".into(),
            sandbox: Some(Sandbox::NotSupported),
            agents: Vec::new(),
            agent_faults: Vec::new(),
            over_http: None,
        };
        let event = RunnerEvent::Registered(registration);
        self.append(Stream::Runners, subject::runner(&runner()), event)
            .await;
    }

    async fn append<E: Serialize>(&self, stream: Stream, subject: String, event: E) {
        let id = EventId::fresh();
        let envelope = Envelope {
            id,
            at: Timestamp::now(),
            actor: Actor::runner(&runner()),
            previous: None,
            event,
        };
        let append = Append {
            stream,
            subject,
            id,
            payload: envelope.to_bytes(),
            expect: Expect::Nothing,
        };
        self.log.append(append).await.unwrap();
    }
}

pub fn runner() -> RunnerId {
    "rnr-1".parse().unwrap()
}

fn lane(run: &Run) -> events::Lane {
    run.request.lane_tags.lane()
}
