//! Draining: a drained runner takes nothing new and finishes what it has, whatever is started again
//! meanwhile; everybody can see it; it still gets its scripts. And forgetting: who is gone goes from
//! the lists, and comes back by coming back.

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

/// Runs until the file `go` is in the project folder.
const UNTIL_GO: &str = "while [ ! -e go ]; do sleep 0.05; done\n";

fn named(id: &str) -> Settings {
    Settings {
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        ..Settings::default()
    }
}

async fn shown(coordinator: &Coordinator, id: &str) -> Value {
    let answer = coordinator.get(&format!("/runners/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn comes_to(coordinator: &Coordinator, id: &str, pointer: &str, value: Value) {
    eventually(&format!("{pointer} of {id} is {value}"), async || {
        let runner = shown(coordinator, id).await;
        (runner.pointer(pointer) == Some(&value)).then_some(())
    })
    .await;
}

fn cli(coordinator: &Coordinator, arguments: &[&str]) -> String {
    let output = coordinator.cli(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn leaves(coordinator: &Coordinator, runner: &mut Runner) {
    runner.process().signal(Signal::SIGTERM);
    eventually("the runner has left", async || runner.process().exited()).await;
    eventually("nobody is online", async || {
        (coordinator.online().await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drained_runner_finishes_what_it_has_and_takes_nothing_new() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(named("web-1")).await;
    coordinator.bash("wait", UNTIL_GO).await;
    let first = coordinator.request("wait", json!({})).await;
    coordinator.reaches(&first, "running").await;
    let told = cli(
        &coordinator,
        &["runner", "drain", "web", "--reason", "new disk"],
    );
    assert!(told.starts_with("runner/web-1 drain"), "{told}");
    comes_to(&coordinator, "web-1", "/drained/confirmed", json!(true)).await;
    let second = coordinator.request("wait", json!({})).await;
    let explanation = coordinator.get(&format!("/runs/{second}/explain")).await;
    assert_eq!(explanation.body["runners"][0]["state"], "draining");
    assert!(cli(&coordinator, &["runner", "list"]).contains("draining"));

    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    let told = cli(&coordinator, &["runner", "drain", "web-1", "--wait"]);
    assert_eq!(told, "runner/web-1 drained\n");
    assert_eq!(coordinator.run(&first).await["status"], "completed");
    let drained = shown(&coordinator, "web-1").await["drained"].clone();
    assert_eq!(drained["reason"], "new disk", "{drained}");
    assert_eq!(coordinator.run(&second).await["status"], "pending");

    assert_eq!(
        cli(&coordinator, &["runner", "resume", "web-1"]),
        "runner/web-1 takes runs\n"
    );
    assert_eq!(coordinator.ends(&second).await["status"], "completed");
}

#[tokio::test]
async fn a_drain_outlives_every_restart_and_is_found_by_who_was_away() {
    let mut coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(named("web-1")).await;
    coordinator.bash("greet", "echo 1\n").await;
    leaves(&coordinator, &mut runner).await;
    let answer = coordinator.post("/runners/web-1/drain", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let run = coordinator.request("greet", json!({})).await;
    // Left in order, a runner is not listed: told by its whole id, it still learns.
    runner.start_again();
    comes_to(&coordinator, "web-1", "/drained/confirmed", json!(true)).await;
    runner.kill();
    coordinator.kill();
    coordinator.start_again().await;
    runner.start_again();
    comes_to(&coordinator, "web-1", "/drained/confirmed", json!(true)).await;
    // It keeps its scripts up to date all the same.
    coordinator.bash("later", "echo 2\n").await;
    let later = runner.project_dir().join("scripts/later/later.sh");
    eventually("a drained runner gets scripts", async || {
        later.exists().then_some(())
    })
    .await;
    assert_eq!(coordinator.run(&run).await["status"], "pending");
    coordinator.post("/runners/web-1/resume", json!({})).await;
    assert_eq!(coordinator.ends(&run).await["status"], "completed");
}

#[tokio::test]
async fn who_is_gone_is_forgotten_until_it_comes_back() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(named("web-1")).await;
    let refused = coordinator
        .send(Method::DELETE, "/runners/web-1", None)
        .await;
    assert_eq!(refused.refusal(), (409, "runner_online"));
    coordinator.post("/runners/web-1/drain", json!({})).await;
    leaves(&coordinator, &mut runner).await;
    let told = cli(&coordinator, &["runner", "forget", "web-1"]);
    assert_eq!(told, "runner/web-1 forgotten\n");
    let gone = coordinator.get("/runners/web-1").await;
    assert_eq!(gone.refusal(), (404, "runner_not_found"));
    let again = coordinator
        .send(Method::DELETE, "/runners/web-1", None)
        .await;
    assert_eq!(again.refusal(), (404, "runner_not_found"));
    runner.start_again();
    coordinator.more_online_than(0).await;
    assert_eq!(shown(&coordinator, "web-1").await["drained"], Value::Null);
}
