//! A real coordinator with its embedded broker, and a client for its HTTP API.

use crate::eventually::eventually;
use crate::nats::free_port;
use crate::process::{Process, binary, path_with_tools, root};
use crate::runner::{Runner, Settings};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// One coordinator. Its data survives [`Coordinator::kill`] and [`Coordinator::start_again`].
pub struct Coordinator {
    process: Process,
    port: u16,
    options: Vec<String>,
    env: Vec<(String, String)>,
    folder: TempDir,
    client: Client,
}

/// What an HTTP request came to.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> reqwest::Result<Self> {
        let status = response.status();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self { status, body })
    }

    /// What most stories compare of a refusal: its status, and our code for it.
    pub fn refusal(&self) -> (u16, &str) {
        let code = self.body["code"].as_str().unwrap_or_default();
        (self.status.as_u16(), code)
    }
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further options of `coordinator serve`.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_under(&[], options).await
    }

    /// With further variables in its environment, too.
    pub async fn start_under(env: &[(String, String)], options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), env, options).await
    }

    /// On a data folder that a story has prepared.
    pub async fn start_in(folder: TempDir, env: &[(String, String)], options: &[&str]) -> Self {
        startup::trust::install();
        let port = free_port();
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        let process = spawn(folder.path(), port, &options, env);
        let mut coordinator = Self {
            process,
            port,
            options,
            env: env.to_vec(),
            folder,
            client: Client::new(),
        };
        coordinator.ready().await;
        coordinator
    }

    pub async fn start_again(&mut self) {
        self.process = spawn(self.folder.path(), self.port, &self.options, &self.env);
        self.ready().await;
    }

    /// For the next start.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|o| (*o).to_owned()).collect();
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn token(&self) -> String {
        let file = self.folder.path().join("admin.token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// The pid of the embedded nats-server.
    pub fn broker_pid(&self) -> i32 {
        let children = format!("/proc/{0}/task", self.process.pid());
        let tasks = std::fs::read_dir(children).unwrap();
        let mut pids = tasks.flat_map(|task| {
            let children = std::fs::read_to_string(task.unwrap().path().join("children"));
            let children = children.unwrap_or_default();
            children
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let is_broker = |pid: &String| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "nats-server"
        };
        pids.find(is_broker).unwrap().parse().unwrap()
    }

    /// A runner of this coordinator, once it is seen online.
    pub async fn runner(&self, settings: Settings) -> Runner {
        let before = self.online().await;
        let runner = Runner::start(self.settings(settings));
        self.more_online_than(before).await;
        runner
    }

    pub fn settings(&self, settings: Settings) -> Settings {
        Settings {
            coordinator: self.url(),
            token: Some(self.token()),
            ..settings
        }
    }

    pub async fn more_online_than(&self, before: usize) {
        eventually("a runner comes online", async || {
            (self.online().await > before).then_some(())
        })
        .await;
    }

    pub async fn online(&self) -> usize {
        let answer = self.get("/runners").await;
        let runners = answer.body["runners"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        runners.iter().filter(|r| r["status"] == "online").count()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_send(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Like [`Coordinator::send`], where the coordinator may be away.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request.send().await?).await
    }

    /// A request with the token, for stories that shape the rest themselves.
    pub fn http(&self, method: Method, path: &str) -> RequestBuilder {
        self.stranger(method, path).bearer_auth(self.token())
    }

    /// A request without the token.
    pub fn stranger(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url()))
    }

    /// A one-file Bash script and an agent of the same name.
    pub async fn bash(&self, name: &str, content: &str) {
        self.script(name, &json!({ "script_content": content }))
            .await;
    }

    /// A Bash script with more to it, and an agent of the same name.
    pub async fn script(&self, name: &str, more: &Value) {
        let mut script = json!({
            "name": name, "description": "", "script_file": format!("{name}.sh"),
            "demands": {"tags": ["bash"]},
        });
        let fields = script.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let answer = self.post("/scripts", script).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let agent = json!({"name": name, "type": "procedural", "description": "", "script": name});
        let answer = self.post("/agents", agent).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Requests a run; gives its id.
    pub async fn request(&self, agent: &str, parameters: Value) -> String {
        let body = json!({"type": "start_session", "agent_name": agent, "parameters": parameters});
        let answer = self.post("/runs", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["run_id"].as_str().unwrap().to_owned()
    }

    pub async fn run(&self, id: &str) -> Value {
        self.get(&format!("/runs/{id}")).await.body
    }

    /// Waits until the run has reached a status.
    pub async fn reaches(&self, id: &str, status: &str) -> Value {
        eventually(&format!("{id} is {status}"), async || {
            let answer = self
                .try_send(Method::GET, &format!("/runs/{id}"), None)
                .await;
            let run = answer.ok()?.body;
            (run["status"] == status).then_some(run)
        })
        .await
    }

    /// Waits until the run has ended.
    pub async fn ends(&self, id: &str) -> Value {
        crate::eventually::within(ENDS_WITHIN, &format!("{id} ends"), async || {
            let answer = self
                .try_send(Method::GET, &format!("/runs/{id}"), None)
                .await;
            let run = answer.ok()?.body;
            let over = ["completed", "failed", "stopped"]
                .iter()
                .any(|s| run["status"] == *s);
            over.then_some(run)
        })
        .await
    }

    /// The coordinator's own command line, against this coordinator.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_command(arguments).output().unwrap()
    }

    /// The same, not yet started.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("coordinator"));
        command
            .args(arguments)
            .env("COORDINATOR_URL", self.url())
            .env("COORDINATOR_DATA_DIR", self.data_dir())
            // Nothing of whoever runs this.
            .env("XDG_CONFIG_HOME", self.data_dir().join("config"))
            .env_remove("COORDINATOR_TOKEN")
            .stdin(Stdio::null());
        command
    }

    async fn ready(&mut self) {
        let url = format!("{}/health", self.url());
        eventually("the coordinator answers", async || {
            assert!(
                self.process.exited().is_none(),
                "the coordinator ended at start"
            );
            self.client.get(&url).send().await.ok()
        })
        .await;
    }
}

/// A lost run takes more than a lease to be found.
const ENDS_WITHIN: std::time::Duration = std::time::Duration::from_secs(150);

/// The example folder that `coordinator init` writes.
pub fn starter() -> PathBuf {
    root().join("coordinator/starter")
}

fn spawn(data_dir: &Path, port: u16, options: &[String], env: &[(String, String)]) -> Process {
    let mut command = Command::new(binary("coordinator"));
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(options)
        .env("XDG_CONFIG_HOME", data_dir.join("config"))
        .envs(env.iter().cloned())
        .env("PATH", path_with_tools())
        .stdin(Stdio::null());
    Process::start("coordinator", &mut command)
}
