//! Agents that a runner owns: a folder of files, each with a command of the runner's host.

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

/// Says its arguments, its parameters and where its file is.
const REPORT: &str = r#"#!/bin/sh
printf '{"arguments": "%s", "parameters": %s, "beside": "%s"}' "$*" "$(cat "$PARAMS_FILE")" "$SCRIPT_DIR"
"#;

/// A folder with the agent `report`, as a person would make it.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let schema = json!({"type": "object", "properties": {
        "level": {"type": "integer", "default": 1},
    }});
    agent(
        dir.path(),
        "report",
        &json!({"command": "./report.sh --all", "parameters_schema": schema}),
    );
    let program = dir.path().join("report.sh");
    std::fs::write(&program, REPORT).unwrap();
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn agent(dir: &Path, name: &str, more: &Value) {
    let mut agent = json!({ "name": name });
    let fields = agent.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    std::fs::write(dir.join(format!("{name}.json")), agent.to_string()).unwrap();
}

fn owning(id: &str, dir: &TempDir) -> Settings {
    let dir = dir.path().to_str().unwrap();
    let options = ["--runner-id", id, "--agents-dir", dir];
    Settings {
        options: options.map(str::to_owned).to_vec(),
        ..Settings::default()
    }
}

/// Waits until the agent belongs to this runner.
async fn belongs(coordinator: &Coordinator, agent: &str, runner: &str) -> Value {
    eventually(&format!("{agent} belongs to {runner}"), async || {
        let answer = coordinator.get(&format!("/agents/{agent}")).await;
        (answer.body["runner_id"] == runner).then_some(answer.body)
    })
    .await
}

async fn is_gone(coordinator: &Coordinator, agent: &str) {
    eventually(&format!("{agent} is gone"), async || {
        let answer = coordinator.get(&format!("/agents/{agent}")).await;
        (answer.status == 404).then_some(())
    })
    .await;
}

async fn leaves(runner: &mut Runner) {
    runner.process().signal(Signal::SIGTERM);
    eventually("the runner leaves", async || runner.process().exited()).await;
}

#[tokio::test]
async fn an_agent_of_a_runner_appears_runs_there_and_leaves_with_it() {
    let coordinator = Coordinator::start().await;
    // One that could take it, were it not pinned.
    let _other = coordinator.runner(Settings::default()).await;
    coordinator.bash("zebra", "true\n").await;
    let dir = folder();
    let mut runner = coordinator.runner(owning("web-1", &dir)).await;
    let shown = belongs(&coordinator, "report", "web-1").await;
    assert_eq!(shown["command"], "./report.sh --all");
    assert_eq!(shown["demands"]["tags"], json!(["runner:web-1"]));
    let list = coordinator.get("/agents").await.body;
    let names: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["name"])
        .collect();
    assert_eq!(names, ["zebra", "report"], "ours come first");

    let id = coordinator.request("report", json!({"level": 3})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["runner_id"], "web-1");
    assert_eq!(run["script"], Value::Null);
    let folder = dir.path().canonicalize().unwrap();
    let expected = json!({
        "arguments": "--all --level 3", "parameters": {"level": 3}, "beside": folder,
    });
    assert_eq!(run["result_data"], expected);
    let wrong = json!({"agent_name": "report", "parameters": {"level": "high"}});
    let refused = coordinator.post("/runs", wrong).await;
    assert_eq!(refused.body["code"], "parameter_validation_failed");

    for arguments in [&["agent", "list"][..], &["agent", "show", "report"]] {
        let told = coordinator.cli(arguments);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.contains("runner web-1"), "{told}");
    }

    runner.kill();
    assert_eq!(coordinator.get("/agents/report").await.status, 200);
    runner.start_again();
    coordinator
        .ends(&coordinator.request("report", json!({})).await)
        .await;
    leaves(&mut runner).await;
    is_gone(&coordinator, "report").await;
    runner.start_again();
    belongs(&coordinator, "report", "web-1").await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_both_owners_are_named() {
    let coordinator = Coordinator::start().await;
    let dir = folder();
    let mut first = coordinator.runner(owning("web-1", &dir)).await;
    belongs(&coordinator, "report", "web-1").await;

    let script =
        json!({"name": "s", "description": "", "script_file": "s.sh", "script_content": "true\n"});
    assert_eq!(coordinator.post("/scripts", script).await.status, 201);
    let ours = json!({"name": "report", "type": "procedural", "description": "", "script": "s"});
    let changes = [
        (Method::POST, "/agents", Some(ours.clone())),
        (Method::PUT, "/agents/report", Some(ours)),
        (
            Method::PATCH,
            "/agents/report",
            Some(json!({"description": "mine"})),
        ),
        (
            Method::PATCH,
            "/agents/report/status",
            Some(json!({"status": "inactive"})),
        ),
        (Method::DELETE, "/agents/report", None),
    ];
    for (method, path, body) in changes {
        let refused = coordinator.send(method, path, body).await;
        assert_eq!(refused.status, 409, "{refused:?}");
        assert_eq!(refused.body["code"], "owned_by_runner", "{refused:?}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("belongs to runner web-1"), "{detail}");
    }

    let joining = json!({
        "runner_id": "web-2", "hostname": "h", "project_dir": "/p", "executor_profile": "default",
        "executor_type": "procedural", "agents": ["report", "free"],
        "public_key": nkeys::KeyPair::new_user().public_key(),
    });
    let refused = coordinator.post("/runner/join", joining).await.body;
    let refusals = refused["refused_agents"].as_array().unwrap();
    assert_eq!(refusals.len(), 1, "{refused:#}");
    let refusal = refusals[0].as_str().unwrap();
    assert!(
        refusal.contains("of runner web-2") && refusal.contains("belongs to runner web-1"),
        "{refusal}"
    );
    let _second = coordinator.runner(owning("web-2", &dir)).await;
    let known = eventually("web-2 has said what it has", async || {
        let runner = coordinator.get("/runners/web-2").await.body;
        (!runner["agent_clashes"]["report"].is_null()).then_some(runner)
    });
    assert_eq!(known.await["agent_clashes"]["report"], refusal);
    let told = coordinator.cli(&["runner", "show", "web-2"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("cannot be used") && told.contains(refusal),
        "{told}"
    );
    let owner = coordinator.get("/runners/web-1").await.body;
    assert_eq!(owner["agent_clashes"], json!({}));
    // What one gives up, the other gets.
    leaves(&mut first).await;
    belongs(&coordinator, "report", "web-2").await;
}

#[tokio::test]
async fn the_folder_is_read_again_on_hup_and_a_broken_file_costs_only_itself() {
    let coordinator = Coordinator::start().await;
    let dir = folder();
    std::fs::write(dir.path().join("broken.json"), "{").unwrap();
    let mut runner = coordinator.runner(owning("web-1", &dir)).await;
    belongs(&coordinator, "report", "web-1").await;

    agent(dir.path(), "list", &json!({"command": ["ls", "-a"]}));
    std::fs::remove_file(dir.path().join("report.json")).unwrap();
    std::fs::remove_file(dir.path().join("broken.json")).unwrap();
    runner.process().signal(Signal::SIGHUP);
    belongs(&coordinator, "list", "web-1").await;
    is_gone(&coordinator, "report").await;
    let run = coordinator
        .ends(&coordinator.request("list", json!({})).await)
        .await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["result_data"]["return_code"], 0, "{run:#}");
}

#[tokio::test]
async fn a_run_executes_the_definition_it_pinned_or_nothing() {
    let coordinator = Coordinator::start().await;
    let dir = folder();
    let mut runner = coordinator.runner(owning("web-1", &dir)).await;
    belongs(&coordinator, "report", "web-1").await;
    runner.kill();
    let id = coordinator.request("report", json!({})).await;
    let pinned = coordinator.run(&id).await["digest"].clone();
    agent(
        dir.path(),
        "report",
        &json!({"command": ["touch", "started"]}),
    );
    runner.start_again();
    let run = coordinator.ends(&id).await;
    assert_eq!(run["reason"], "rejected", "{run:#}");
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("request it again"), "{error}");
    assert!(!runner.project_dir().join("started").exists());

    eventually("the new definition is known", async || {
        let agent = coordinator.get("/agents/report").await.body;
        (agent["command"] == "touch started").then_some(())
    })
    .await;
    let run = coordinator
        .ends(&coordinator.request("report", json!({})).await)
        .await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_ne!(run["digest"], pinned);
    assert!(runner.project_dir().join("started").exists());
}

#[tokio::test]
async fn a_stop_a_failure_and_a_wrong_result_are_what_they_are_for_scripts() {
    let coordinator = Coordinator::start().await;
    let dir = folder();
    agent(dir.path(), "sleeps", &json!({"command": ["sleep", "600"]}));
    agent(
        dir.path(),
        "late",
        &json!({"command": ["sleep", "600"], "timeout_seconds": 1}),
    );
    agent(dir.path(), "fails", &json!({"command": "false"}));
    let object = json!({"type": "object", "required": ["sent"]});
    agent(
        dir.path(),
        "wrong",
        &json!({"command": ["echo", "{}"], "output_schema": object}),
    );
    let _runner = coordinator.runner(owning("web-1", &dir)).await;
    belongs(&coordinator, "wrong", "web-1").await;
    belongs(&coordinator, "sleeps", "web-1").await;
    let id = coordinator.request("sleeps", json!({})).await;
    coordinator.reaches(&id, "running").await;
    coordinator
        .post(&format!("/runs/{id}/stop"), json!({}))
        .await;
    assert_eq!(coordinator.ends(&id).await["status"], "stopped");
    for (agent, reason) in [
        ("late", "timeout"),
        ("fails", "exit_code"),
        ("wrong", "output_invalid"),
    ] {
        belongs(&coordinator, agent, "web-1").await;
        let run = coordinator
            .ends(&coordinator.request(agent, json!({})).await)
            .await;
        assert_eq!(run["reason"], reason, "{run:#}");
    }
}

/// The command's own folders come with it: a program of a virtual environment finds its libraries,
/// also where scripts are kept from the rest of the host.
#[tokio::test]
async fn a_command_in_another_folder_finds_what_belongs_to_it() {
    const PROGRAM: &str = "#!/bin/sh\ncat \"$(dirname \"$0\")/../lib/words\"\n";
    let coordinator = Coordinator::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    for folder in ["venv/bin", "venv/lib"] {
        std::fs::create_dir_all(elsewhere.path().join(folder)).unwrap();
    }
    let program = elsewhere.path().join("venv/bin/tool");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(elsewhere.path().join("venv/lib/words"), "[1, 2]").unwrap();
    std::fs::write(elsewhere.path().join("private"), "theirs").unwrap();
    let dir = tempfile::tempdir().unwrap();
    agent(dir.path(), "tool", &json!({ "command": [program] }));
    let peek = elsewhere.path().join("private");
    agent(dir.path(), "peek", &json!({"command": ["cat", peek]}));
    let _runner = coordinator.runner(owning("web-1", &dir)).await;
    belongs(&coordinator, "tool", "web-1").await;
    let run = coordinator
        .ends(&coordinator.request("tool", json!({})).await)
        .await;
    assert_eq!(run["result_data"], json!([1, 2]), "{run:#}");

    let sandbox = coordinator.get("/runners/web-1").await.body["sandbox"]["type"].clone();
    if sandbox == "landlock" {
        belongs(&coordinator, "peek", "web-1").await;
        let run = coordinator
            .ends(&coordinator.request("peek", json!({})).await)
            .await;
        assert_eq!(run["reason"], "exit_code", "{run:#}");
    }
}

#[tokio::test]
async fn an_agent_whose_owner_is_away_waits_for_it_and_says_so() {
    let coordinator = Coordinator::start_with(&["--lease", "3s"]).await;
    let _other = coordinator.runner(Settings::default()).await;
    let dir = folder();
    let mut runner = coordinator.runner(owning("web-1", &dir)).await;
    belongs(&coordinator, "report", "web-1").await;
    runner.kill();
    let run = coordinator.request("report", json!({})).await;
    eventually("the owner counts as offline", async || {
        let explained = coordinator.get(&format!("/runs/{run}/explain")).await.body;
        (explained["cause"] == "offline").then_some(())
    })
    .await;
    let told = coordinator.cli(&["run", "explain", &run]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let first = told.lines().next().unwrap();
    for part in [
        "Runner web-1 on ",
        "is offline (not heard for",
        "no other offers",
    ] {
        assert!(first.contains(part), "{told}");
    }
    runner.start_again();
    assert_eq!(coordinator.ends(&run).await["status"], "completed");
}
