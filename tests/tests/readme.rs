//! The goal: whoever types what the README says gets what it says. Every command of its console blocks is run as
//! it stands, in order, in a home of its own, against a real coordinator and runner; what cannot be run here is
//! in a table below with the reason, and a command that is in neither fails the test.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{Process, binary, path_with_tools, root};

/// Commands that are not run, by how they begin, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo demo", "the demo's own test is xtask's"),
    ("cargo verify", "this test is a part of it"),
    (
        "coordinator serve --data-dir /srv/new",
        "does not end; told in backup.rs",
    ),
    (
        "coordinator restore one.backup",
        "needs three servers; cluster.rs",
    ),
    (
        "nats-server -c nats.conf",
        "needs the settings of a cluster; cluster.rs",
    ),
    ("coordinator event tail", "does not end; audit_events.rs"),
    (
        "coordinator audit export --follow",
        "does not end; audit_events.rs",
    ),
    (
        "runner start --coordinator https://",
        "a host of somebody's own; tls.rs",
    ),
    (
        "coordinator serve --listen",
        "another network; access.rs, tls.rs",
    ),
    (
        "coordinator --context",
        "a host of somebody's own; settings.rs",
    ),
    (
        "docker ",
        "no container runtime; deploy.rs runs what is in the file",
    ),
    ("nats-server -c broker/nats.conf", "does not end; deploy.rs"),
    (
        "coordinator serve --nats-url nats://127.0.0.1:4222",
        "does not end; deploy.rs",
    ),
];

/// Commands whose exit code says something else than "done": by how they begin, the code, and why.
const OTHER_CODES: &[(&str, i32, &str)] = &[
    (
        "coordinator audit diff --from 1d",
        1,
        "everything is younger",
    ),
    (
        "coordinator script show deploy --at 2h",
        1,
        "there was none then",
    ),
];

/// Started and kept, because what follows needs them.
const KEPT: &[&str] = &["coordinator serve", "runner start --project-dir ~/project"];

/// Programs of others that a reader is expected to have, and a host of tests may lack.
const OTHERS: &[&str] = &["curl", "jq"];

struct Home {
    folder: tempfile::TempDir,
    port: u16,
    kept: Vec<Process>,
}

impl Home {
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            // As the README says of its `curl` lines; empty until there is a token.
            .env("AUTH", format!("Authorization: Bearer {}", self.token()))
            .env("PATH", with_our_programs())
            .env("COORDINATOR_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("COORDINATOR_URL", format!("http://127.0.0.1:{}", self.port))
            .stdin(Stdio::null());
        command
    }

    fn token(&self) -> String {
        let file = self
            .folder
            .path()
            .join(".local/share/coordinator/admin.token");
        let token = std::fs::read_to_string(file).unwrap_or_default();
        token.trim().to_owned()
    }

    fn ask(&self, line: &str) -> Output {
        self.shell(line).output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.ask(line);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {output:?}"))
    }

    async fn keep(&mut self, line: &str) {
        // `exec`, so that the process we hold is the program itself.
        let process = Process::start("kept", &mut self.shell(&format!("exec {line}")));
        self.kept.push(process);
        let ready = match self.kept.len() {
            1 => "coordinator status",
            _ => "coordinator runner list -o json | grep -q '\"online\"'",
        };
        eventually("it is ready", async || {
            self.ask(ready).status.success().then_some(())
        })
        .await;
    }

    /// What the README takes for granted in its later chapters: a script with some versions, and files of the
    /// reader's own.
    fn prepare(&self) {
        let file = self
            .folder
            .path()
            .join("my-scripts/scripts/deploy/deploy.sh");
        let text = std::fs::read_to_string(&file).unwrap();
        let alice = self.ask("coordinator token create --role author --name alice > alice");
        assert!(alice.status.success(), "{alice:?}");
        for version in 2..=34 {
            std::fs::write(&file, format!("{text}# {version}\n")).unwrap();
            let applied =
                self.ask("COORDINATOR_TOKEN=$(cat alice) coordinator apply -f my-scripts");
            assert!(applied.status.success(), "{applied:?}");
        }
        let ca = root().join("coordinator/tests/fixtures/tls/cert.pem");
        std::fs::copy(ca, self.folder.path().join("ops-ca.pem")).unwrap();
    }

    /// The README's names of things, and what they are here.
    fn here(&self, line: &str) -> String {
        let new = self.folder.path().join("new").display().to_string();
        let line = line.replace("/srv/new", &new);
        let mut line = line.replace("localhost:8765", &format!("127.0.0.1:{}", self.port));
        let of = |field: &str, list: &str| {
            let answer = self.json(list);
            answer
                .pointer(field)
                .and_then(Value::as_str)
                .unwrap()
                .to_owned()
        };
        if line.contains("run_3f") {
            let run = self.json("coordinator run list -o json");
            let run = &run["runs"][0];
            line = line.replace("run_3f", run["run_id"].as_str().unwrap());
            line = line.replace("2026-11-17T12:00:05Z", run["created_at"].as_str().unwrap());
        }
        if line.contains("web-1") {
            line = line.replace(
                "web-1",
                &of("/runners/0/runner_id", "coordinator runner list -o json"),
            );
        }
        if line.contains("9f86d081884c") {
            let digest = of(
                "/digest",
                "coordinator script show deploy --version 1 -o json",
            );
            line = line.replace("9f86d081884c", digest.split_once(':').unwrap().1);
        }
        line
    }
}

fn with_our_programs() -> std::ffi::OsString {
    let ours = binary("coordinator").parent().unwrap().to_owned();
    let tools = path_with_tools();
    let folders = [ours].into_iter().chain(std::env::split_paths(&tools));
    std::env::join_paths(folders).unwrap()
}

/// The commands of all console blocks, continued lines joined; a `#` prompt is root's and not for a test.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        commands.extend(
            block
                .lines()
                .filter_map(|line| Some(line.strip_prefix("$ ")?.to_owned())),
        );
    }
    commands
}

/// Without the remark behind it.
fn bare(command: &str) -> &str {
    command.split(" #").next().unwrap().trim()
}

#[tokio::test]
async fn every_command_of_the_readme_works_as_written() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let commands = commands(&readme);
    assert!(commands.len() > 40, "{commands:?}");
    let mut home = Home {
        folder: tempfile::tempdir().unwrap(),
        port: free_port(),
        kept: Vec::new(),
    };
    std::fs::create_dir(home.folder.path().join("project")).unwrap();
    let mut faults = Vec::new();
    for command in commands.iter().map(|command| bare(command)) {
        if KEPT.contains(&command) {
            home.keep(command).await;
        } else if !NOT_RUN.iter().any(|(begin, _)| command.starts_with(begin)) {
            faults.extend(run(&home, command));
        }
        if command == "coordinator run list" {
            home.prepare();
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    for (begin, why) in NOT_RUN {
        let stands = commands.iter().any(|command| command.starts_with(begin));
        assert!(stands, "`{begin}` ({why}) is not in the README any more");
    }
    assert!(Path::new(&home.folder.path().join("as-of-42/scripts")).is_dir());
}

/// What is wrong with what it came to.
fn run(home: &Home, command: &str) -> Option<String> {
    let is_missing = |program: &&&str| command.contains(**program) && !is_here(home, program);
    if let Some(program) = OTHERS.iter().find(is_missing) {
        eprintln!("not run, there is no {program} here: {command}");
        return None;
    }
    let expected = OTHER_CODES
        .iter()
        .find(|(begin, ..)| command.starts_with(begin));
    let output = home.ask(&home.here(command));
    let code = expected.map_or(0, |(_, code, _)| *code);
    if output.status.code() != Some(code) {
        let told = String::from_utf8_lossy(&output.stderr);
        return Some(format!("{command}: {}: {told}", output.status));
    }
    if command.starts_with("curl") && output.stdout.starts_with(b"{\"detail\"") {
        let told = String::from_utf8_lossy(&output.stdout);
        // Which version it is depends on what one did before.
        return (!told.contains("If-Match") && !told.contains("version"))
            .then(|| format!("{command}: {told}"));
    }
    if command.contains("agent run deploy") {
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["status"], "deployed", "{command}");
    }
    None
}

fn is_here(home: &Home, program: &str) -> bool {
    home.ask(&format!("command -v {program}")).status.success()
}
