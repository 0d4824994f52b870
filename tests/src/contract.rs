//! A runner of the system that the seeds come from, as far as the coordinator sees it: it knows HTTP and
//! no broker, polls, downloads what it is told to, executes it itself, and says how it went. While the
//! coordinator is away it tries again, and it takes the addresses it knows in turn.
//!
//! It does only what `WIRE.md` lets such a client rely on.

use crate::coordinator::Answer;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Between two tries to reach a coordinator that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(50);
/// A restart takes seconds on a busy machine; nothing is measured by this.
const TRIES: u32 = 1_200;
/// A poll may take 30 s, and a busy machine its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What such a runner is started with.
#[derive(Clone, Debug)]
pub struct Start {
    pub profile: String,
    pub tags: Vec<String>,
    pub agents: Vec<Value>,
    /// Without one it sends none.
    pub token: Option<String>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            profile: "default".to_owned(),
            tags: vec!["bash".to_owned()],
            agents: Vec::new(),
            token: None,
        }
    }
}

/// One such runner.
pub struct HttpRunner {
    addresses: Vec<String>,
    turn: AtomicUsize,
    start: Start,
    client: Client,
    /// Where it keeps scripts, and where they run.
    folder: TempDir,
    pub id: String,
}

/// A script at work.
pub struct Work {
    pub run_id: String,
    pub session_id: String,
    child: Child,
}

impl HttpRunner {
    /// Registers; panics where it may not.
    pub async fn start(addresses: &[String], start: Start) -> Self {
        let mut runner = Self::unregistered(addresses, start);
        let answer = runner.register().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        runner.id = answer.body["runner_id"].as_str().unwrap().to_owned();
        runner
    }

    pub fn unregistered(addresses: &[String], start: Start) -> Self {
        let client = Client::builder().timeout(PATIENCE);
        Self {
            addresses: addresses.to_vec(),
            turn: AtomicUsize::new(0),
            start,
            client: client.build().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            id: String::new(),
        }
    }

    pub fn project_dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn script_dir(&self, script: &str) -> PathBuf {
        self.folder.path().join("scripts").join(script)
    }

    pub fn registration(&self) -> Value {
        json!({
            "hostname": "web1", "project_dir": self.folder.path(),
            "executor_profile": self.start.profile,
            "executor": {"type": "procedural", "command": "executors/procedural"},
            "tags": self.start.tags, "agents": self.start.agents, "unknown": "is passed over",
        })
    }

    pub async fn register(&self) -> Answer {
        self.send("/runner/register", self.registration()).await
    }

    /// One poll: its answer, and nothing where nothing came.
    pub async fn poll(&self) -> Option<Value> {
        let answer = self.try_poll().await;
        match answer.status {
            StatusCode::NO_CONTENT => None,
            StatusCode::OK => Some(answer.body),
            _ => panic!("{answer:?}"),
        }
    }

    pub async fn try_poll(&self) -> Answer {
        let path = format!("/runner/runs?runner_id={}", self.id);
        self.request(Method::GET, &path, None).await
    }

    /// Polls until a run comes, and does what it is told before.
    pub async fn next_run(&self) -> Value {
        loop {
            let Some(told) = self.poll().await else {
                continue;
            };
            if told["run"].is_object() {
                return told["run"].clone();
            }
            assert!(told["sync_scripts"].is_array(), "{told}");
            self.sync(&told).await;
        }
    }

    /// Fetches and removes what an answer says; both keys are there.
    pub async fn sync(&self, told: &Value) {
        for name in names(&told["remove_scripts"]) {
            let _ = std::fs::remove_dir_all(self.script_dir(&name));
        }
        for name in names(&told["sync_scripts"]) {
            self.download(&name).await;
        }
    }

    async fn download(&self, name: &str) {
        let packed = self.fetch(&format!("/scripts/{name}/download")).await;
        let _ = std::fs::remove_dir_all(self.script_dir(name));
        let scripts = self.folder.path().join("scripts");
        std::fs::create_dir_all(&scripts).unwrap();
        let unpacked = flate2::read::GzDecoder::new(&packed[..]);
        tar::Archive::new(unpacked).unpack(&scripts).unwrap();
        assert!(self.script_dir(name).join("script.json").exists());
    }

    /// Starts the script of a run, with its parameters as arguments.
    pub fn execute(&self, run: &Value) -> Work {
        let blueprint = &run["resolved_agent_blueprint"];
        let name = blueprint["script"]
            .as_str()
            .unwrap_or_else(|| panic!("{run}"));
        let folder = self.script_dir(name);
        let document = std::fs::read(folder.join("script.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let mut command = Command::new("bash");
        command
            .arg(folder.join(document["script_file"].as_str().unwrap()))
            .args(arguments(run["parameters"].as_object().unwrap()))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let text = |field: &str| run[field].as_str().unwrap().to_owned();
        Work {
            run_id: text("run_id"),
            session_id: text("session_id"),
            child: command.spawn().unwrap(),
        }
    }

    /// Executes a run to its end, and says so.
    pub async fn carry_out(&self, run: &Value) {
        let work = self.execute(run);
        self.started(&work.run_id).await;
        self.finish(work).await;
    }

    /// Waits for a script's end and says so: first what it left, then how it went.
    pub async fn finish(&self, work: Work) {
        let Work {
            run_id,
            session_id,
            child,
        } = work;
        let output = child.wait_with_output().await.unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let said = serde_json::from_str(&stdout).ok().filter(|_| code == 0);
        let left = said.unwrap_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            json!({"return_code": code, "stdout": stdout, "stderr": stderr})
        });
        self.deliver(&session_id, left).await;
        match code {
            0 => self.completed(&run_id).await,
            code => self.failed(&run_id, &format!("exit code {code}")).await,
        }
    }

    pub async fn started(&self, run_id: &str) {
        let answer = self.report(run_id, "started", json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub async fn deliver(&self, session_id: &str, result_data: Value) {
        let event = json!({
            "session_id": session_id, "event_type": "result", "timestamp": "2026-11-20T10:00:00Z",
            "result_text": null, "result_data": result_data,
        });
        let path = format!("/sessions/{session_id}/events");
        let answer = self.send(&path, event).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["ok"]),
            (201, &json!(true)),
            "{answer:?}"
        );
    }

    pub async fn completed(&self, run_id: &str) {
        let answer = self
            .report(run_id, "completed", json!({"status": "success"}))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn failed(&self, run_id: &str, error: &str) {
        let answer = self.report(run_id, "failed", json!({"error": error})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Kills the script, as it was asked to, and says so.
    pub async fn stop(&self, mut work: Work) {
        work.child.kill().await.unwrap();
        let answer = self
            .report(&work.run_id, "stopped", json!({"signal": "SIGTERM"}))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub async fn report(&self, run_id: &str, what: &str, more: Value) -> Answer {
        let mut body = more;
        body["runner_id"] = self.id.as_str().into();
        self.send(&format!("/runner/runs/{run_id}/{what}"), body)
            .await
    }

    pub async fn heartbeat(&self) -> Answer {
        self.send("/runner/heartbeat", json!({"runner_id": self.id}))
            .await
    }

    pub async fn leave(&self) -> Answer {
        let path = format!("/runners/{}?self=true", self.id);
        self.request(Method::DELETE, &path, None).await
    }

    pub async fn send(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path, Some(body)).await
    }

    /// Tries until somebody answers that is not about to go.
    pub async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        for _ in 0..TRIES {
            let mut request = self.client.request(method.clone(), self.address(path));
            if let Some(body) = &body {
                request = request.json(body);
            }
            if let Some(token) = &self.start.token {
                request = request.bearer_auth(token);
            }
            let answer = match request.send().await {
                Ok(response) => Answer::of(response).await.ok(),
                Err(_) => None,
            };
            match answer {
                Some(answer) if !answer.status.is_server_error() => return answer,
                _ => tokio::time::sleep(AWAY_PAUSE).await,
            }
        }
        panic!("nobody answers {path}");
    }

    async fn fetch(&self, path: &str) -> Vec<u8> {
        for _ in 0..TRIES {
            let mut request = self.client.get(self.address(path));
            if let Some(token) = &self.start.token {
                request = request.bearer_auth(token);
            }
            if let Ok(response) = request.send().await
                && response.status() == StatusCode::OK
                && let Ok(bytes) = response.bytes().await
            {
                return bytes.to_vec();
            }
            tokio::time::sleep(AWAY_PAUSE).await;
        }
        panic!("nobody gives {path}");
    }

    fn address(&self, path: &str) -> String {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        format!("{}{path}", self.addresses[turn % self.addresses.len()])
    }
}

fn arguments(parameters: &Map<String, Value>) -> Vec<String> {
    let argument = |(key, value): (&String, &Value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        [format!("--{key}"), value]
    };
    parameters.iter().flat_map(argument).collect()
}

fn names(list: &Value) -> Vec<String> {
    let names = list
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {list}"));
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}
