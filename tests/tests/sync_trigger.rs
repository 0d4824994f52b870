//! A forced re-check: what was asked of whom, what each answered, who did not; and that a runner puts
//! right what somebody did to its folder.

use serde_json::json;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

async fn named(coordinator: &Coordinator, id: &str) -> Runner {
    let settings = Settings {
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        ..Settings::default()
    };
    coordinator.runner(settings).await
}

async fn everywhere(coordinator: &Coordinator) {
    eventually("the script is everywhere", async || {
        let rollout = coordinator.get("/scripts/greet/rollout").await.body;
        (rollout["done"] == true && rollout["total"] != 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_re_check_puts_right_what_somebody_edited_and_says_so() {
    let coordinator = Coordinator::start().await;
    let runner = named(&coordinator, "host-1").await;
    coordinator.bash("greet", "echo 1\n").await;
    everywhere(&coordinator).await;
    let file = runner.project_dir().join("scripts/greet/greet.sh");
    std::fs::remove_file(&file).unwrap();
    let output = coordinator.cli(&["script", "sync", "greet", "-o", "json"]);
    assert!(output.status.success(), "{output:?}");
    let sync: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = &sync["runners"][0];
    assert_eq!(
        (&line["state"], &line["current"], &line["behind"]),
        (&json!("answered"), &json!(1), &json!(0)),
        "{sync:#}"
    );
    assert_eq!(line["repaired"], 1, "{sync:#}");
    assert_eq!(line["scripts"]["greet"]["held"]["version"], 1, "{sync:#}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "echo 1\n");
}

#[tokio::test]
async fn answers_are_read_afterwards_and_silence_is_one() {
    let coordinator = Coordinator::start().await;
    let _first = named(&coordinator, "host-1").await;
    let mut second = named(&coordinator, "host-2").await;
    coordinator.bash("greet", "echo 1\n").await;
    everywhere(&coordinator).await;
    second.kill();
    let asked = coordinator.post("/scripts/sync/trigger", json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let id = asked.body["sync_id"].as_str().unwrap();
    let path = format!("/scripts/sync/trigger/{id}?wait=60s");
    let answers = eventually("all have answered, or cannot", async || {
        let answers = coordinator.get(&path).await.body;
        (answers["done"] == true).then_some(answers)
    })
    .await;
    let states = [0, 1].map(|n| answers["runners"][n]["state"].clone());
    assert_eq!(
        states,
        [json!("answered"), json!("no_answer")],
        "{answers:#}"
    );
    let output = coordinator.cli(&["script", "sync", "--runner", "host-2"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_not_asked_for() {
    let coordinator = Coordinator::start().await;
    for (body, refusal) in [
        (json!({"scripts": ["gone"]}), (404, "script_not_found")),
        (json!({"runners": ["gone"]}), (404, "runner_not_found")),
        (json!({"scripts": "all"}), (422, "invalid_request")),
    ] {
        let answer = coordinator.post("/scripts/sync/trigger", body).await;
        assert_eq!(answer.refusal(), refusal, "{answer:?}");
    }
    let unknown = coordinator.get("/scripts/sync/trigger/sync_1").await;
    assert_eq!(unknown.refusal(), (404, "sync_not_found"));
}
