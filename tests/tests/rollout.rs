//! How far a version has come: who holds it, who does not and why, on the runner's side and on the
//! script's, once and on the wall until it is everywhere.

use nix::sys::signal::Signal;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use tests::coordinator::Coordinator;
use tests::events::Events;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

async fn named(coordinator: &Coordinator, id: &str) -> Runner {
    let settings = Settings {
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        ..Settings::default()
    };
    coordinator.runner(settings).await
}

async fn rollout(coordinator: &Coordinator) -> Value {
    let answer = coordinator.get("/scripts/greet/rollout").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn comes_to(coordinator: &Coordinator, current: u64, total: u64) -> Value {
    eventually(
        &format!("the rollout is at {current}/{total}"),
        async || {
            let now = rollout(coordinator).await;
            (now["current"] == current && now["total"] == total).then_some(now)
        },
    )
    .await
}

async fn change(coordinator: &Coordinator, content: &str) {
    let body = json!({"script_content": content});
    let answer = coordinator.send(Method::PATCH, "/scripts/greet", Some(body));
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn a_rolling_change_is_watched_until_the_last_runner_has_it() {
    let coordinator = Coordinator::start().await;
    let _first = named(&coordinator, "host-1").await;
    let _second = named(&coordinator, "host-2").await;
    let mut third = named(&coordinator, "host-3").await;
    coordinator.bash("greet", "echo 1\n").await;
    let now = comes_to(&coordinator, 3, 3).await;
    assert!(now["done"] == true && now["summary"].as_str().unwrap().starts_with("3/3 on v1"));
    third.kill();
    change(&coordinator, "echo 2\n").await;
    let now = comes_to(&coordinator, 2, 3).await;
    let behind = &now["runners"][0];
    assert_eq!(
        (&behind["runner_id"], &behind["version"]),
        (&json!("host-3"), &json!(1))
    );
    assert!(
        now["summary"]
            .as_str()
            .unwrap()
            .contains("1 behind: host-3"),
        "{now}"
    );

    let arguments = ["script", "rollout", "greet", "--watch", "--timeout", "60s"];
    let mut watching = coordinator.cli_command(&arguments);
    let mut watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("2/3 on v2 (sha256:"), "{first}");
    third.start_again();
    let last = lines.map(Result::unwrap).last().unwrap();
    assert!(
        last.starts_with("3/3 on v2 (sha256:") && !last.contains("behind"),
        "{last}"
    );
    assert!(watching.wait().unwrap().success());

    let shown = coordinator.get("/runners/host-3").await.body;
    let script = &shown["scripts"][0];
    assert_eq!(
        (&script["name"], &script["version"], &script["current"]),
        (&json!("greet"), &json!(2), &json!(true)),
        "{shown:#}"
    );
}

#[tokio::test]
async fn a_host_that_cannot_says_why_on_both_sides_until_it_can() {
    let coordinator = Coordinator::start().await;
    let runner = named(&coordinator, "host-9").await;
    let theirs = runner.project_dir().join("scripts/greet");
    std::fs::create_dir_all(&theirs).unwrap();
    coordinator.bash("greet", "echo 1\n").await;
    let failed = eventually("the failure is reported", async || {
        let now = rollout(&coordinator).await;
        (now["runners"][0]["state"] == "failed").then_some(now)
    })
    .await;
    let summary = failed["summary"].as_str().unwrap();
    assert!(
        summary.contains("host-9 scripts/greet is not ours"),
        "{summary}"
    );
    let shown = coordinator.cli(&["runner", "show", "host-9"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("failed") && shown.contains("not ours"),
        "{shown}"
    );
    std::fs::remove_dir(&theirs).unwrap();
    let synced = coordinator.cli(&["script", "sync", "greet"]);
    assert!(synced.status.success(), "{synced:?}");
    comes_to(&coordinator, 1, 1).await;
}

#[tokio::test]
async fn who_left_or_is_forgotten_is_not_waited_for() {
    let coordinator = Coordinator::start().await;
    let _first = named(&coordinator, "host-1").await;
    let mut second = named(&coordinator, "host-2").await;
    coordinator.bash("greet", "echo 1\n").await;
    comes_to(&coordinator, 2, 2).await;
    second.process().signal(Signal::SIGTERM);
    comes_to(&coordinator, 1, 1).await;
}

#[tokio::test]
async fn the_stream_tells_the_whole_first_and_then_only_what_is_new() {
    let coordinator = Coordinator::start().await;
    let _first = named(&coordinator, "host-1").await;
    coordinator.bash("greet", "echo 1\n").await;
    comes_to(&coordinator, 1, 1).await;
    let request = coordinator.http(Method::GET, "/scripts/greet/rollout");
    let request = request.header(ACCEPT, "text/event-stream");
    let mut events = Events::of(request.send().await.unwrap());
    let whole = events.next().await.unwrap();
    assert_eq!(
        (whole.name.as_str(), &whole.data["total"]),
        ("rollout", &json!(1))
    );
    let _second = named(&coordinator, "host-2").await;
    loop {
        let progress = events.next().await.unwrap();
        assert_eq!(progress.name, "progress");
        let lines = progress.data["runners"].as_array().unwrap();
        assert!(
            lines.iter().all(|line| line["runner_id"] == "host-2"),
            "{lines:?}"
        );
        if progress.data["current"] == 2 {
            break;
        }
    }
}

#[tokio::test]
async fn a_script_that_goes_nowhere_says_so_and_an_unknown_one_is_none() {
    let coordinator = Coordinator::start().await;
    let body = json!({"name": "alone", "description": "", "script_file": "a.sh", "script_content": "echo 1\n"});
    assert_eq!(coordinator.post("/scripts", body).await.status, 201);
    let output = coordinator.cli(&["script", "rollout", "alone"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("alone v1 goes nowhere"), "{told}");
    let gone = coordinator.get("/scripts/gone/rollout").await;
    assert_eq!(gone.refusal(), (404, "script_not_found"));
}
