//! "Why is it not running?": prepared puzzles with the real binaries, and the first line of the
//! answer. Then what one does about it: fail at once, fail soon, run it again.

use reqwest::Method;
use serde_json::{Value, json};
use std::process::Output;
use tests::coordinator::{Answer, Coordinator};
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

/// Runs until the file `go` is in the project folder.
const UNTIL_GO: &str = "while [ ! -e go ]; do sleep 0.05; done\n";

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first line that `run explain` prints.
fn cause(coordinator: &Coordinator, run: &str) -> String {
    let told = coordinator.cli(&["run", "explain", run]);
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{error}");
    stdout(&told).lines().next().unwrap_or_default().to_owned()
}

async fn explained(coordinator: &Coordinator, run: &str) -> Value {
    coordinator.get(&format!("/runs/{run}/explain")).await.body
}

/// Waits until the explanation has this cause; gives its summary.
async fn comes_to(coordinator: &Coordinator, run: &str, cause: &str) -> String {
    eventually(&format!("{run} is explained by {cause}"), async || {
        let explanation = explained(coordinator, run).await;
        let summary = explanation["summary"].as_str()?.to_owned();
        (explanation["cause"] == cause).then_some(summary)
    })
    .await
}

async fn demanding(coordinator: &Coordinator, agent: &str, more: Value) -> Answer {
    let mut body = json!({"agent_name": agent, "parameters": {}});
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    coordinator.post("/runs", body).await
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[tokio::test]
async fn a_lane_without_any_runner_then_a_missing_tag() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("greet", "echo 1\n").await;
    let gpu = json!({"additional_demands": {"tags": ["gpu"]}});
    let answer = demanding(&coordinator, "greet", gpu).await;
    let warning = &answer.body["warnings"][0];
    assert_eq!(warning["code"], "no_runner", "{answer:?}");
    let run = answer.body["run_id"].as_str().unwrap();
    says(&cause(&coordinator, run), &["No runner has joined", "gpu"]);
    let _runner = coordinator.runner(Settings::default()).await;
    let line = comes_to(&coordinator, run, "missing_tags").await;
    says(&line, &["No online runner offers gpu;"]);
    assert_eq!(cause(&coordinator, run), line);
    let notes = explained(&coordinator, run).await;
    assert_eq!(notes["runners"][0]["missing"], json!(["gpu"]), "{notes:#}");
}

#[tokio::test]
async fn full_slots_and_the_place_in_the_lane() {
    let coordinator = Coordinator::start().await;
    let one_slot = Settings {
        max_runs: 1,
        ..Settings::default()
    };
    let runner = coordinator.runner(one_slot).await;
    coordinator.bash("slow", UNTIL_GO).await;
    let first = coordinator.request("slow", json!({})).await;
    coordinator.reaches(&first, "running").await;
    let second = coordinator.request("slow", json!({})).await;
    let third = coordinator.request("slow", json!({})).await;
    says(
        &cause(&coordinator, &third),
        &[
            "All slots are busy: 1 of 1 on rnr-",
            "1 run of its lane goes first",
        ],
    );
    says(&cause(&coordinator, &first), &["running on rnr-"]);
    let explanation = explained(&coordinator, &third).await;
    assert_eq!(
        explanation["position"],
        json!({"ahead": 1, "waiting": 2}),
        "{explanation:#}"
    );
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    for run in [first, second, third] {
        coordinator.ends(&run).await;
        says(&cause(&coordinator, &run), &["Completed on rnr-"]);
    }
}

#[tokio::test]
async fn a_runner_that_was_stopped_and_one_that_was_killed() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("greet", "echo 1\n").await;
    let mut runner = coordinator.runner(Settings::default()).await;
    runner.kill();
    let run = coordinator.request("greet", json!({})).await;
    // Three heartbeats have to be missing first.
    let line = comes_to(&coordinator, &run, "offline").await;
    says(&line, &["is offline (not heard for", "no other offers"]);
    runner.start_again();
    coordinator.ends(&run).await;
}

#[tokio::test]
async fn an_interpreter_that_is_not_allowed() {
    let coordinator = Coordinator::start().await;
    let only_python = Settings {
        options: vec!["--allow-interpreters".to_owned(), "python3".to_owned()],
        ..Settings::default()
    };
    let _runner = coordinator.runner(only_python).await;
    let anywhere = json!({"script_content": "echo 1\n", "demands": {}});
    coordinator.script("greet", &anywhere).await;
    let run = coordinator.request("greet", json!({})).await;
    let ended = coordinator.ends(&run).await;
    assert_eq!(ended["reason"], "rejected", "{ended:#}");
    says(
        &cause(&coordinator, &run),
        &["could not execute it", "bash", "does not allow"],
    );
}

#[tokio::test]
async fn nobody_comes_in_time() {
    let coordinator = Coordinator::start_with(&["--schedule-timeout", "1h"]).await;
    coordinator.bash("greet", "echo 1\n").await;
    let patient = coordinator.request("greet", json!({})).await;
    let soon = json!({"schedule_timeout_seconds": 1});
    let answer = demanding(&coordinator, "greet", soon).await;
    let run = answer.body["run_id"].as_str().unwrap();
    let ended = coordinator.ends(run).await;
    assert_eq!(ended["reason"], "no_match", "{ended:#}");
    says(
        &cause(&coordinator, run),
        &["Nobody could take it in time", "{bash, type:procedural}"],
    );
    assert_eq!(coordinator.run(&patient).await["status"], "pending");
    let waiting = explained(&coordinator, &patient).await;
    assert_eq!(waiting["schedule_timeout_seconds"], 3_600);
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_told_at_once() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("greet", "echo 1\n").await;
    let answer = demanding(&coordinator, "greet", json!({"fail_fast": true})).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["code"]),
        (409, &json!("no_runner"))
    );
    let told = coordinator.cli(&["agent", "run", "greet", "--fail-fast"]);
    assert_eq!(told.status.code(), Some(13));
    let error = String::from_utf8_lossy(&told.stderr);
    says(&error, &["No runner has joined", "try: runner start"]);
    assert_eq!(coordinator.get("/runs").await.body, json!({"runs": []}));
    let _runner = coordinator.runner(Settings::default()).await;
    let told = coordinator.cli(&["agent", "run", "greet", "--fail-fast"]);
    assert!(told.status.success(), "{told:?}");
}

#[tokio::test]
async fn a_run_is_repeated_exactly_though_its_script_is_gone() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator
        .bash("first", "echo \"{\\\"said\\\": \\\"$2\\\"}\"\n")
        .await;
    let run = coordinator.request("first", json!({"word": "x"})).await;
    let once = coordinator.ends(&run).await;
    for gone in ["/agents/first", "/scripts/first"] {
        let answer = coordinator.send(Method::DELETE, gone, None).await;
        assert_eq!(answer.status, 204);
    }
    let link = runner.project_dir().join("scripts/first");
    eventually("the script leaves the host", async || {
        (!link.exists()).then_some(())
    })
    .await;
    let told = coordinator.cli(&["run", "retry", &run]);
    assert!(told.status.success(), "{told:?}");
    let again: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(again, json!({"said": "x"}));
    let listed = coordinator.cli(&["run", "list", "--since", "1h", "-q"]);
    let newest = stdout(&listed).lines().next().unwrap().to_owned();
    let twice = coordinator.run(&newest).await;
    assert_eq!(twice["retry_of"], json!(run));
    for same in ["digest", "script_version", "parameters", "result_data"] {
        assert_eq!(twice[same], once[same], "{same}");
    }
}

#[tokio::test]
async fn all_that_failed_are_repeated_with_the_script_as_it_is_now() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("flaky", "exit 3\n").await;
    for _ in 0..2 {
        let run = coordinator.request("flaky", json!({})).await;
        assert_eq!(coordinator.ends(&run).await["reason"], "exit_code");
    }
    let change = json!({"script_content": "echo 1\n"});
    let changed = coordinator.send(Method::PATCH, "/scripts/flaky", Some(change));
    assert_eq!(changed.await.status, 200);
    let filters = ["--since", "2h", "--status", "failed", "--agent", "flaky"];
    let dry = [&["run", "retry", "--dry-run", "-q"], &filters[..]].concat();
    assert_eq!(stdout(&coordinator.cli(&dry)).lines().count(), 2);
    assert_eq!(
        coordinator.get("/runs").await.body["runs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let retry = [&["run", "retry", "--current", "-y", "-q"], &filters[..]].concat();
    let told = coordinator.cli(&retry);
    assert!(told.status.success(), "{told:?}");
    let new = stdout(&told);
    assert_eq!(new.lines().count(), 2, "{new}");
    for run in new.lines() {
        let ended = coordinator.ends(run).await;
        assert_eq!(
            (&ended["status"], &ended["script_version"]),
            (&json!("completed"), &json!(2))
        );
    }
}

#[tokio::test]
async fn one_key_is_one_run_whichever_coordinator_is_asked() {
    let nats = Nats::start().await;
    let url = nats.url();
    let options = ["--nats-url", url.as_str()];
    let one = Coordinator::start_with(&options).await;
    let other = Coordinator::start_with(&options).await;
    one.bash("greet", "echo 1\n").await;
    eventually("the other has heard of it", async || {
        (other.get("/agents/greet").await.status == 200).then_some(())
    })
    .await;
    let request = async |coordinator: &Coordinator, word: &str| {
        let request = reqwest::Client::new()
            .post(format!("{}/runs", coordinator.url()))
            .bearer_auth(coordinator.token())
            .header("idempotency-key", "build-7")
            .json(&json!({"agent_name": "greet", "parameters": {"word": word}}));
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let (a, b) = tokio::join!(request(&one, "x"), request(&other, "x"));
    assert_eq!((a.0, b.0), (201, 201), "{a:?} {b:?}");
    assert_eq!(a.1["run_id"], b.1["run_id"]);
    let (status, refused) = request(&other, "y").await;
    assert_eq!(
        (status, &refused["code"]),
        (409, &json!("idempotency_key_reused"))
    );
    let runs = one.get("/runs").await.body;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs:#}");
}
