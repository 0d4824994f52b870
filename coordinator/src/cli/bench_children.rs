//! The programs a benchmark of distribution starts: runners, each a process or all in one, and the
//! floor, which answers a line with a line. They are the runner's binary; this crate does not know it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::failure::Failure;
use super::global::Context;

/// How long runners may take to leave in order.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);

/// The runner's program, and what every child is started with.
pub struct Program {
    path: PathBuf,
    url: String,
    token: Option<String>,
}

/// Started runners; dropped, they are killed.
pub struct Runners(Vec<Child>);

/// The floor, ready to be asked.
pub struct Floor {
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    #[allow(dead_code, reason = "it is killed when this is dropped")]
    child: Child,
}

impl Program {
    /// The given one, or the one beside ours.
    pub fn find(context: &Context, given: Option<&Path>) -> Result<Self, Failure> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => std::env::current_exe()
                .map_err(|error| Failure::refused("our own folder is not known").because(error))?
                .with_file_name("runner"),
        };
        if !path.is_file() {
            let what = format!("there is no runner program at {}", path.display());
            return Err(Failure::usage(what).hint("build it (cargo build --release), or --program"));
        }
        Ok(Self {
            path,
            url: context.client.base().to_string(),
            token: context
                .token
                .as_ref()
                .map(|token| token.expose().to_owned()),
        })
    }

    /// Runners that offer `tag`, with the numbers 1 to `count` and folders of their own below `folder`;
    /// all in one process where they are `simulated`.
    pub async fn runners(
        &self,
        folder: &Path,
        tag: &str,
        count: u32,
        simulated: bool,
    ) -> Result<Runners, Failure> {
        let log = folder.join("runners.log");
        let log = std::fs::File::create(&log).map_err(not_started)?;
        if simulated {
            let mut command = self.command("fleet", folder, tag);
            command.args(["--count", &count.to_string(), "--runner-id", tag]);
            let fleet = command.stderr(log).spawn().map_err(not_started)?;
            return Ok(Runners(vec![fleet]));
        }
        let mut children = Vec::new();
        for number in 1..=count {
            let own = folder.join(number.to_string());
            std::fs::create_dir_all(&own).map_err(not_started)?;
            let mut command = self.command("start", folder, tag);
            command
                .arg("--project-dir")
                .arg(&own)
                .arg("--state-dir")
                .arg(folder.join("state").join(number.to_string()))
                .args(["--runner-id", &format!("{tag}-{number}")]);
            let log = log.try_clone().map_err(not_started)?;
            children.push(command.stderr(log).spawn().map_err(not_started)?);
        }
        Ok(Runners(children))
    }

    /// So many plain connections to the same broker, and one that speaks.
    pub fn floor(&self, folder: &Path, count: u32) -> Result<Floor, Failure> {
        let folder = folder.join("floor");
        std::fs::create_dir_all(&folder).map_err(not_started)?;
        let mut command = self.command("floor", &folder, "floor");
        command
            .args(["--count", &count.to_string(), "--runner-id", "bench-floor"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(not_started)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| Failure::refused("the floor has no pipes"))?;
        Ok(Floor {
            stdin,
            answers: BufReader::new(stdout).lines(),
            child,
        })
    }

    fn command(&self, verb: &str, folder: &Path, tag: &str) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args([verb, "--coordinator", self.url.trim_end_matches('/')])
            // Bash alone: looking for other interpreters starts processes, which nothing here needs.
            .args([
                "--tags",
                tag,
                "--allow-interpreters",
                "bash",
                "--no-sandbox",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Ctrl-C on the terminal is for us.
            .process_group(0)
            .kill_on_drop(true);
        if verb != "start" {
            command.arg("--project-dir").arg(folder);
            command.arg("--state-dir").arg(folder.join("state"));
        }
        if let Some(token) = &self.token {
            command.env("COORDINATOR_TOKEN", token);
        }
        command
    }
}

impl Runners {
    /// TERM to all, and patience with them together.
    pub async fn leave(self) {
        let mut children = self.0;
        for pid in children.iter().filter_map(Child::id) {
            // Not waited for yet, so the number is still its own.
            let _ = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        }
        let all = futures::future::join_all(children.iter_mut().map(Child::wait));
        // Whoever is left is killed when it is dropped.
        let _ = tokio::time::timeout(LEAVE_PATIENCE, all).await;
    }
}

impl Floor {
    /// One plain message: how long each listener waited for it.
    pub async fn shout(&mut self) -> Result<Vec<Duration>, Failure> {
        self.ask(&json!({"type": "shout"})).await
    }

    /// All of these bundles, one after the other.
    pub async fn unpack(&mut self, digests: &[String]) -> Result<Duration, Failure> {
        let taken = self
            .ask(&json!({"type": "unpack", "digests": digests}))
            .await?;
        Ok(taken.into_iter().sum())
    }

    async fn ask(&mut self, question: &Value) -> Result<Vec<Duration>, Failure> {
        let gone = || Failure::refused("the floor cannot be measured: its process does not answer");
        let line = format!("{question}\n");
        self.stdin
            .write_all(line.as_bytes())
            .await
            .map_err(|error| gone().because(error))?;
        let answer = self.answers.next_line().await;
        let answer = answer
            .map_err(|error| gone().because(error))?
            .ok_or_else(gone)?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| gone().because(error))?;
        let micros = answer["micros"].as_array().ok_or_else(gone)?;
        let micros = micros.iter().filter_map(Value::as_u64);
        Ok(micros.map(Duration::from_micros).collect())
    }
}

/// What the runners said, for who wants to know why one does not come.
pub async fn last_words(folder: &Path) -> String {
    let Ok(file) = File::open(folder.join("runners.log")).await else {
        return String::new();
    };
    let (mut lines, mut last) = (BufReader::new(file).lines(), String::new());
    while let Ok(Some(line)) = lines.next_line().await {
        last = line;
    }
    last
}

fn not_started(error: std::io::Error) -> Failure {
    Failure::refused("the runner's program cannot be started").because(error)
}
