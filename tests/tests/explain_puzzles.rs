//! More of "why is it not running?", with the real binaries: causes that something had to go wrong
//! for first. The true cause stands in the first line of `run explain`.

use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

const STAYS: &str = "while [ ! -e go ]; do sleep 0.05; done\n";

/// The first line that `run explain` prints, once the cause is this one.
async fn first_line(coordinator: &Coordinator, run: &str, cause: &str) -> String {
    eventually(&format!("{run} is explained by {cause}"), async || {
        let explained = coordinator.get(&format!("/runs/{run}/explain")).await.body;
        (explained["cause"] == cause).then_some(())
    })
    .await;
    let told = coordinator.cli(&["run", "explain", run]);
    assert!(told.status.success(), "{told:?}");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    told.lines().next().unwrap_or_default().to_owned()
}

#[track_caller]
fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{line:?} does not say {part:?}");
    }
}

fn named(id: &str) -> Settings {
    Settings {
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_hook_that_has_not_answered() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("gate", STAYS).await;
    coordinator.bash("work", "echo 1\n").await;
    let hooks = json!({"on_run_start": {"type": "agent", "agent_name": "gate"}});
    let body = Some(json!({ "hooks": hooks }));
    let patched = coordinator.send(reqwest::Method::PATCH, "/agents/work", body);
    assert_eq!(patched.await.status, 200);
    let run = coordinator.request("work", json!({})).await;
    let line = first_line(&coordinator, &run, "hook_waiting").await;
    says(
        &line,
        &["The on_run_start hook, agent gate, has not answered"],
    );
}

#[tokio::test]
async fn a_bundle_that_is_gone_from_the_bucket() {
    let nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("work", "echo 1\n").await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let bundles = context.get_stream("OBJ_BUNDLES").await.unwrap();
    bundles.purge().await.unwrap();
    let run = coordinator.request("work", json!({})).await;
    let _runner = coordinator.runner(named("web")).await;
    let ended = coordinator.ends(&run).await;
    assert_eq!(ended["reason"], "rejected", "{ended:#}");
    let line = first_line(&coordinator, &run, "failed").await;
    says(
        &line,
        &["web could not execute it", "bundle", "is not in the bucket"],
    );
}

#[tokio::test]
async fn another_attempt_that_waits_for_a_runner_and_then_rests() {
    let nats = Nats::start().await;
    let options = ["--nats-url", &nats.url(), "--lease", "3s"];
    let coordinator = Coordinator::start_with(&options).await;
    let mut runner = coordinator.runner(named("web")).await;
    let script = json!({"script_content": STAYS, "idempotent": true, "max_attempts": 5});
    coordinator.script("work", &script).await;
    let run = coordinator.request("work", json!({})).await;
    let mut rested = Value::Null;
    for attempt in 1..=4 {
        eventually(&format!("attempt {attempt} runs"), async || {
            let explained = coordinator.get(&format!("/runs/{run}/explain")).await.body;
            if explained["cause"] == "retry_waiting" {
                rested = explained["summary"].clone();
            }
            (explained["cause"] == "running" && explained["attempt"] == attempt).then_some(())
        })
        .await;
        runner.kill();
        if attempt == 1 {
            let line = first_line(&coordinator, &run, "retry_waiting").await;
            says(
                &line,
                &[
                    "web was lost while it ran the script",
                    "attempt 2 of 5 waits",
                ],
            );
        }
        runner.start_again();
    }
    says(
        rested.as_str().unwrap(),
        &["Attempt 4 of 5 rests on web for"],
    );
}

#[tokio::test]
async fn a_broker_that_is_away() {
    let mut nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("work", "echo 1\n").await;
    let run = coordinator.request("work", json!({})).await;
    nats.kill();
    let line = first_line(&coordinator, &run, "broker_away").await;
    says(
        &line,
        &["The broker has not answered for", "this one was pending"],
    );
    nats.start_again().await;
    let line = first_line(&coordinator, &run, "no_runner").await;
    says(&line, &["No runner has joined yet"]);
}

#[tokio::test]
async fn the_only_runner_was_drained() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(named("web")).await;
    coordinator.bash("work", "echo 1\n").await;
    let drained = coordinator
        .post("/runners/web/drain", json!({"reason": "new disk"}))
        .await;
    assert_eq!(drained.status, 200, "{drained:?}");
    eventually("it knows", async || {
        let runner = coordinator.get("/runners/web").await.body;
        (runner["drained"]["confirmed"] == true).then_some(())
    })
    .await;
    let run = coordinator.request("work", json!({})).await;
    let line = first_line(&coordinator, &run, "draining").await;
    says(&line, &["Runner web on", "drain", "takes no new runs"]);
}
