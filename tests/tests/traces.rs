//! The goal: who asks for a run within a trace finds the script in the same trace.

use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::{Answer, Coordinator};
use tests::runner::Settings;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn result(coordinator: &Coordinator, parent: &str) -> Value {
    let request = coordinator
        .http(Method::POST, "/runs")
        .header("traceparent", parent);
    let request = request.json(&json!({"agent_name": "trace", "parameters": {}}));
    let answer = Answer::of(request.send().await.unwrap()).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let run = coordinator
        .ends(answer.body["run_id"].as_str().unwrap())
        .await;
    run["result_data"].clone()
}

#[tokio::test]
async fn a_trace_goes_from_the_request_to_the_script() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator
        .bash("trace", "printf '\"%s\"' \"${TRACEPARENT-none}\"\n")
        .await;
    // With spans of our own between them it is the same trace, under another span.
    let of = |value: &Value| value.as_str().unwrap().split('-').nth(1).map(str::to_owned);
    assert_eq!(
        of(&result(&coordinator, PARENT).await).as_deref(),
        Some(TRACE)
    );
    let odd = result(&coordinator, "00-x-y-01").await;
    assert_ne!(
        of(&odd).as_deref(),
        Some("x"),
        "what is none fails no request"
    );

    let mut typed = coordinator.cli_command(&["agent", "run", "trace"]);
    let typed = typed.env("TRACEPARENT", PARENT).output().unwrap();
    let typed: Value = serde_json::from_slice(&typed.stdout).unwrap();
    assert_eq!(of(&typed).as_deref(), Some(TRACE));
}
