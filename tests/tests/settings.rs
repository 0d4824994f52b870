//! The goal: what a flag says goes before the environment, that before a context, that before the settings file,
//! for coordinator, command line and runner alike; whoever wonders is told who said what; and a token is shown to
//! the coordinator it is for only.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{Process, binary, path_with_tools};

/// A home in which nothing was said yet.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The settings file of a program.
    fn write(&self, file: &str, text: &str) {
        let folder = self.path(".config/coordinator");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary(program));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", path_with_tools())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command("coordinator", arguments).output().unwrap()
    }

    /// Who says this setting, and what.
    fn said(&self, command: &mut Command, key: &str) -> (String, String) {
        let output = command.output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let settings = shown["settings"].as_array().unwrap();
        let setting = settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap();
        let text = |field: &str| setting[field].as_str().unwrap_or_default().to_owned();
        (text("value"), text("origin"))
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn the_strongest_that_says_something_holds() {
    let home = Home::new();
    home.write(
        "coordinator.toml",
        "url = 'http://file:1'\nruns-kept = '90d'\n",
    );
    let file = name(&home.path(".config/coordinator/coordinator.toml"));
    let show = ["config", "show", "-o", "json"];
    let of = |command: &mut Command| home.said(command, "url");
    let mut plain = home.command("coordinator", &show);
    assert_eq!(of(&mut plain), ("http://file:1".to_owned(), file.clone()));
    assert_eq!(home.said(&mut plain, "runs-kept"), ("90d".to_owned(), file));
    assert_eq!(home.said(&mut plain, "lease").1, "default");

    let added = home.run(&[
        "context",
        "add",
        "ops",
        "http://context:1",
        "--token",
        "cor_1",
    ]);
    assert!(added.status.success(), "{added:?}");
    let of_context = ("http://context:1".to_owned(), "context ops".to_owned());
    assert_eq!(of(&mut plain), of_context);
    let token = home.said(&mut plain, "token");
    assert_eq!(token, ("***".to_owned(), "context ops".to_owned()));

    let mut by_variable = home.command("coordinator", &show);
    by_variable.env("COORDINATOR_URL", "http://variable:1");
    let of_variable = (
        "http://variable:1".to_owned(),
        "env COORDINATOR_URL".to_owned(),
    );
    assert_eq!(of(&mut by_variable), of_variable);
    assert_eq!(
        home.said(&mut by_variable, "token").1,
        "default",
        "not for that one"
    );
    let mut by_name = home.command("coordinator", &[&show[..], &["--context", "ops"]].concat());
    by_name.env("COORDINATOR_URL", "http://variable:1");
    assert_eq!(of(&mut by_name), of_context);
    let mut by_flag = home.command(
        "coordinator",
        &[&show[..], &["--url", "http://flag:1"]].concat(),
    );
    by_flag.env("COORDINATOR_URL", "http://variable:1");
    assert_eq!(
        of(&mut by_flag),
        ("http://flag:1".to_owned(), "flag".to_owned())
    );
}

#[test]
fn a_setting_that_is_none_is_refused_with_the_one_that_was_meant() {
    let home = Home::new();
    home.write("coordinator.toml", "runs_kept = '90d'\n");
    home.write("runner.toml", "max-run = 3\n");
    let refused = home.run(&["status"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        told(&refused).contains("did you mean runs-kept?"),
        "{refused:?}"
    );
    let schema = home.run(&["config", "schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(
        schema["properties"]["runs-kept"]["x-environment"],
        "COORDINATOR_RUNS_KEPT"
    );
    let refused = home.command("runner", &["start"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        told(&refused).contains("did you mean max-runs?"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn both_programs_start_from_their_files() {
    let home = Home::new();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let data = name(&home.path("data"));
    home.write(
        "coordinator.toml",
        &format!("listen = '{address}'\nurl = 'http://{address}'\ndata-dir = '{data}'\nlog-format = 'json'\n"),
    );
    let project = name(&home.path("project"));
    std::fs::create_dir(&project).unwrap();
    home.write(
        "runner.toml",
        &format!(
            "coordinator = 'http://{address}'\ndata-dir = '{data}'\nproject-dir = '{project}'\n\
             tags = ['eu', 'night']\nmax-runs = 3\n"
        ),
    );
    let _coordinator = Process::start("coordinator", &mut home.command("coordinator", &["serve"]));
    eventually("the coordinator answers", async || {
        home.run(&["status"]).status.success().then_some(())
    })
    .await;
    let mut start = home.command("runner", &["start"]);
    // A variable goes before the file.
    start.env("RUNNER_MAX_RUNS", "2");
    let _runner = Process::start("runner", &mut start);
    let runner = eventually("the runner is online", async || {
        let listed = home.run(&["runner", "list", "-o", "json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).ok()?;
        let runner = listed["runners"][0].clone();
        (runner["status"] == "online").then_some(runner)
    })
    .await;
    let tags = runner["tags"].as_array().unwrap();
    assert!(tags.iter().any(|tag| tag == "night"), "{runner:#}");
    assert_eq!(runner["max_runs"], 2, "{runner:#}");
}

#[tokio::test]
async fn a_context_is_used_by_name_and_as_the_current_one() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let url = coordinator.url();
    let token = coordinator.token();
    for (context, token) in [("good", token.as_str()), ("bad", "cor_wrong")] {
        let added = home.run(&["context", "add", context, &url, "--token", token]);
        assert!(added.status.success(), "{added:?}");
    }
    let status = |more: &[&str]| home.run(&[&["status"], more].concat());
    assert_eq!(
        status(&[]).status.code(),
        Some(0),
        "the first one is the current one"
    );
    assert_eq!(status(&["--context", "bad"]).status.code(), Some(4));
    let again = home.run(&["context", "add", "good", &url]);
    assert!(told(&again).contains("--replace"), "{again:?}");
    assert!(home.run(&["context", "use", "bad"]).status.success());
    assert_eq!(status(&[]).status.code(), Some(4));
    // The same address, said otherwise: its token is not sent along.
    let unknown = status(&["--url", &url]);
    assert!(told(&unknown).contains("Not authenticated"), "{unknown:?}");
    let removed = home.run(&["context", "rm", "bad"]);
    assert!(told(&removed).contains("pass -y"), "{removed:?}");
    assert!(home.run(&["context", "rm", "bad", "-y"]).status.success());
    assert!(!home.path(".config/coordinator/tokens/bad").exists());
    let gone = status(&["--context", "bad"]);
    assert!(told(&gone).contains("there are good"), "{gone:?}");
}

#[tokio::test]
async fn a_shell_is_told_the_names_there_are() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("deploy", "echo 1\n").await;
    let asked = |words: &[&str]| {
        let mut command = coordinator.cli_command(&[&["--", "coordinator"], words].concat());
        command
            .env("COORDINATOR_COMPLETE", "fish")
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for words in [
        &["script", "show", ""][..],
        &["agent", "run", "de"],
        &["script", "diff", "d"],
    ] {
        let names = asked(words);
        assert!(
            names.lines().any(|line| line.starts_with("deploy")),
            "{words:?}: {names}"
        );
    }
    let verbs = asked(&["script", ""]);
    assert!(verbs.contains("rollout"), "{verbs}");
    for shell in ["bash", "zsh", "fish"] {
        let script = coordinator.cli(&["completion", shell]);
        assert!(
            script.status.success() && script.stdout.len() > 100,
            "{script:?}"
        );
    }
}
