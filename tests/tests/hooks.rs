//! Hooks: what runs before a run may be claimed, and after it has ended.

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

/// Keeps what it was given and says its parameters as the result.
const WORK: &str = "cp \"$PARAMS_FILE\" given.json; cat \"$PARAMS_FILE\"\n";
/// Waits until it is let go; counts its starts by a side effect.
const WAITS: &str = "echo start >> starts; while [ ! -e go ]; do sleep 0.05; done; \
                     echo '{\"action\": \"continue\"}'\n";

/// A coordinator, and a runner that can do one thing at a time.
async fn one_slot() -> (Coordinator, Runner) {
    let coordinator = Coordinator::start().await;
    let settings = Settings {
        max_runs: 1,
        ..Settings::default()
    };
    let runner = coordinator.runner(settings).await;
    (coordinator, runner)
}

/// The agent `work`, whose runs are preceded by one of `gate`.
async fn gated(coordinator: &Coordinator, gate: &str, more: Value) {
    coordinator.bash("gate", gate).await;
    coordinator.bash("work", WORK).await;
    hooked(coordinator, "on_run_start", "gate", more).await;
}

async fn hooked(coordinator: &Coordinator, point: &str, agent: &str, more: Value) {
    let mut hook = json!({"type": "agent", "agent_name": agent});
    let fields = hook.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let answer = patched(coordinator, "work", json!({ point: hook })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn patched(
    coordinator: &Coordinator,
    agent: &str,
    hooks: Value,
) -> tests::coordinator::Answer {
    let path = format!("/agents/{agent}");
    let body = json!({ "hooks": hooks });
    coordinator.send(Method::PATCH, &path, Some(body)).await
}

fn says(answer: &Value) -> String {
    format!("echo '{answer}'\n")
}

/// The run of `id`'s hook, once it has ended.
async fn hook_of(coordinator: &Coordinator, id: &str, point: &str) -> Value {
    let hook = eventually("the hook has a run", async || {
        let run = coordinator.run(id).await;
        let hooks = run["hooks"].as_array()?;
        let hook = hooks.iter().find(|hook| hook["point"] == point)?;
        let hook = hook["run_id"].as_str()?.to_owned();
        let answer = coordinator.get(&format!("/runs/{hook}")).await;
        (answer.status == 200).then_some(hook)
    })
    .await;
    coordinator.ends(&hook).await
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .count()
}

#[tokio::test]
async fn a_hook_lets_a_run_go_on_with_what_it_changed() {
    let (coordinator, _runner) = one_slot().await;
    let answer = json!({"action": "continue", "parameters": {"who": "hook"}});
    gated(&coordinator, &says(&answer), json!({"on_error": "block"})).await;
    let id = coordinator.request("work", json!({"who": "caller"})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["result_data"], json!({"who": "hook"}));
    assert_eq!(run["parameters"], json!({"who": "hook"}));
    assert_eq!(run["given_parameters"], json!({"who": "caller"}));
    let hook = hook_of(&coordinator, &id, "on_run_start").await;
    assert_eq!(hook["parameters"], json!({"who": "caller"}));
    assert_eq!(hook["hook_of"]["run_id"], id.as_str());
    assert_eq!(
        (&hook["actor"]["name"], &hook["actor"]["via"]),
        (&run["actor"]["name"], &json!("hook"))
    );
    let shown = coordinator.cli(&["run", "show", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("on_run_start gate run_"), "{shown}");
    assert!(shown.contains("caller"), "{shown}");

    let plain = says(&json!({"action": "continue"}));
    let change = json!({"script_content": plain});
    let changed = coordinator.send(Method::PATCH, "/scripts/gate", Some(change));
    assert_eq!(changed.await.status, 200);
    let id = coordinator.request("work", json!({"who": "caller"})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["result_data"], json!({"who": "caller"}), "{run:#}");
    assert_eq!(run["given_parameters"], Value::Null);
}

#[tokio::test]
async fn changed_parameters_have_to_fit() {
    let (coordinator, _runner) = one_slot().await;
    let answer = json!({"action": "continue", "parameters": {"n": "many"}});
    coordinator.bash("gate", &says(&answer)).await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let script = json!({"script_content": WORK, "parameters_schema": schema});
    coordinator.script("work", &script).await;
    hooked(&coordinator, "on_run_start", "gate", json!({})).await;
    let id = coordinator.request("work", json!({"n": 1})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("blocked")),
        "{run:#}"
    );
    let error = run["error"].as_str().unwrap();
    assert!(
        error.starts_with("Blocked by on_run_start hook: "),
        "{error}"
    );
    assert!(error.contains("$.n"), "{error}");
    assert_eq!(run["started_at"], Value::Null);
}

#[tokio::test]
async fn a_hook_blocks_a_run() {
    let (coordinator, runner) = one_slot().await;
    let answer = json!({"action": "block", "block_reason": "not on a Friday"});
    gated(&coordinator, &says(&answer), json!({})).await;
    let id = coordinator.request("work", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("blocked")),
        "{run:#}"
    );
    assert_eq!(
        run["error"],
        "Blocked by on_run_start hook: not on a Friday"
    );
    assert!(!runner.project_dir().join("given.json").exists());
    let told = coordinator.cli(&["agent", "run", "work"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("not on a Friday"), "{told}");
}

#[tokio::test]
async fn a_hook_that_fails_follows_its_on_error() {
    let (coordinator, _runner) = one_slot().await;
    gated(&coordinator, "exit 3\n", json!({"on_error": "continue"})).await;
    let run = coordinator
        .ends(&coordinator.request("work", json!({"a": 1})).await)
        .await;
    assert_eq!(run["result_data"], json!({"a": 1}), "{run:#}");

    hooked(
        &coordinator,
        "on_run_start",
        "gate",
        json!({"on_error": "block"}),
    )
    .await;
    let run = coordinator
        .ends(&coordinator.request("work", json!({})).await)
        .await;
    assert_eq!(run["reason"], "blocked", "{run:#}");
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("the hook gate itself failed"), "{error}");
    assert!(error.contains("exit code 3"), "{error}");
}

#[tokio::test]
async fn a_hook_that_takes_too_long_has_failed() {
    let (coordinator, _runner) = one_slot().await;
    let hook = json!({"on_error": "block", "timeout_seconds": 1});
    gated(&coordinator, "sleep 600\n", hook).await;
    let id = coordinator.request("work", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["reason"], "blocked", "{run:#}");
    assert!(
        run["error"].as_str().unwrap().contains("timeout"),
        "{run:#}"
    );
    let hook = hook_of(&coordinator, &id, "on_run_start").await;
    assert_eq!(hook["reason"], "timeout", "{hook:#}");
}

#[tokio::test]
async fn many_held_runs_never_block_the_only_slot() {
    let (coordinator, runner) = one_slot().await;
    let counts = format!(
        "echo start >> starts; {}",
        says(&json!({"action": "continue"}))
    );
    gated(&coordinator, &counts, json!({"on_error": "block"})).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(coordinator.request("work", json!({"n": n})).await);
    }
    for id in ids {
        let run = coordinator.ends(&id).await;
        assert_eq!(run["status"], "completed", "{run:#}");
    }
    assert_eq!(lines(&runner.project_dir().join("starts")), 5);
}

#[tokio::test]
async fn a_finish_hook_is_given_the_result_or_the_failure() {
    let (coordinator, _runner) = one_slot().await;
    coordinator.bash("work", WORK).await;
    coordinator.bash("report", "true\n").await;
    hooked(&coordinator, "on_run_finish", "report", json!({})).await;
    let id = coordinator.request("work", json!({"sum": 3})).await;
    coordinator.ends(&id).await;
    let hook = hook_of(&coordinator, &id, "on_run_finish").await;
    assert_eq!(hook["parameters"], json!({"sum": 3}), "{hook:#}");
    assert_eq!(hook["status"], "completed");

    let change = json!({"script_content": "echo '{\"half\": 1}'; exit 4\n"});
    let changed = coordinator.send(Method::PATCH, "/scripts/work", Some(change));
    assert_eq!(changed.await.status, 200);
    let id = coordinator.request("work", json!({})).await;
    let failed = coordinator.ends(&id).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    let hook = hook_of(&coordinator, &id, "on_run_finish").await;
    let given = json!({
        "status": "failed",
        "reason": "exit_code",
        "error": failed["error"],
        "result_data": failed["result_data"],
    });
    assert_eq!(hook["parameters"], given);
}

#[tokio::test]
async fn a_coordinator_that_dies_while_the_hook_runs_costs_nothing() {
    let (mut coordinator, runner) = one_slot().await;
    gated(&coordinator, WAITS, json!({"on_error": "block"})).await;
    hooked_twice(&coordinator).await;
    let id = coordinator.request("work", json!({"a": 1})).await;
    let starts = runner.project_dir().join("starts");
    eventually("the hook starts", async || {
        (lines(&starts) == 1).then_some(())
    })
    .await;
    let held = coordinator.run(&id).await;
    assert_eq!(
        (&held["status"], &held["held"]),
        (&json!("pending"), &json!(true)),
        "{held:#}"
    );
    coordinator.kill();
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    coordinator.start_again().await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["result_data"], json!({"a": 1}));
    hook_of(&coordinator, &id, "on_run_finish").await;
    assert_eq!(lines(&starts), 2, "each hook ran once");
}

/// `gate` before and after `work`.
async fn hooked_twice(coordinator: &Coordinator) {
    let hook = json!({"type": "agent", "agent_name": "gate"});
    let hooks = json!({"on_run_start": hook, "on_run_finish": hook});
    assert_eq!(patched(coordinator, "work", hooks).await.status, 200);
}

#[tokio::test]
async fn a_held_run_that_is_stopped_ends_at_once_and_its_hook_after_it() {
    let (coordinator, runner) = one_slot().await;
    gated(&coordinator, WAITS, json!({})).await;
    let id = coordinator.request("work", json!({})).await;
    let starts = runner.project_dir().join("starts");
    eventually("the hook starts", async || {
        (lines(&starts) == 1).then_some(())
    })
    .await;
    let stopped = coordinator
        .post(&format!("/runs/{id}/stop"), json!({}))
        .await;
    assert_eq!(stopped.body["status"], "stopped", "{stopped:?}");
    assert_eq!(coordinator.run(&id).await["status"], "stopped");
    let hook = hook_of(&coordinator, &id, "on_run_start").await;
    assert_eq!(hook["status"], "stopped", "{hook:#}");
    assert!(!runner.project_dir().join("given.json").exists());
}

#[tokio::test]
async fn hooks_come_to_an_end() {
    let (coordinator, runner) = one_slot().await;
    let counts = format!(
        "echo start >> starts; {}",
        says(&json!({"action": "continue"}))
    );
    gated(&coordinator, &counts, json!({"on_error": "block"})).await;
    let hook = |agent: &str| json!({"on_run_start": {"type": "agent", "agent_name": agent}});
    let own = patched(&coordinator, "gate", hook("gate")).await;
    assert_eq!(own.status, 400, "{own:?}");
    assert_eq!(own.body["code"], "own_hook", "{own:?}");
    let unknown = patched(&coordinator, "gate", hook("nobody")).await;
    assert_eq!(unknown.status, 400, "{unknown:?}");
    // In a circle: a hook's hook does not run.
    assert_eq!(
        patched(&coordinator, "gate", hook("work")).await.status,
        200
    );
    let id = coordinator.request("work", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(lines(&runner.project_dir().join("starts")), 1);
    let hook = hook_of(&coordinator, &id, "on_run_start").await;
    assert_eq!(hook["hooks"], json!([]), "{hook:#}");
}

#[tokio::test]
async fn a_folder_with_hooks_is_applied_in_one_go() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let script = json!({"name": "s", "description": "", "script_file": "s.sh"});
    write("scripts/s/script.json", &script.to_string());
    write("scripts/s/s.sh", "true\n");
    // By name, each comes before the agent that its hook runs.
    for (name, hook) in [("a", Some("b")), ("b", Some("c")), ("c", None)] {
        let mut agent =
            json!({"name": name, "type": "procedural", "description": "", "script": "s"});
        if let Some(hook) = hook {
            agent["hooks"] = json!({"on_run_start": {"type": "agent", "agent_name": hook}});
        }
        write(&format!("agents/{name}.json"), &agent.to_string());
    }
    let applied = coordinator.cli(&["apply", "-f", folder.path().to_str().unwrap(), "-y"]);
    let told = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{told}");
}

#[tokio::test]
async fn a_runner_that_is_away_finds_the_run_after_its_hook() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    gated(
        &coordinator,
        &says(&json!({"action": "continue"})),
        json!({}),
    )
    .await;
    runner.process().signal(Signal::SIGTERM);
    eventually("the runner leaves", async || runner.process().exited()).await;
    let id = coordinator.request("work", json!({"late": true})).await;
    assert_eq!(coordinator.run(&id).await["held"], true);
    runner.start_again();
    let run = coordinator.ends(&id).await;
    assert_eq!(run["result_data"], json!({"late": true}), "{run:#}");
}
