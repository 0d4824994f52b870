//! What scripts do to their runner, and what runners do for scripts: every such run has a defined,
//! visible end, and the next one finds everything in order.

use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::runner::{Runner, Settings};

/// A coordinator with one runner.
async fn pair() -> (Coordinator, Runner) {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    (coordinator, runner)
}

/// The end of a run of this agent.
async fn ended(coordinator: &Coordinator, agent: &str, parameters: Value) -> Value {
    let id = coordinator.request(agent, parameters).await;
    coordinator.ends(&id).await
}

/// A Python script and an agent of the same name.
async fn python(coordinator: &Coordinator, name: &str, content: &str) {
    let python = json!({
        "script_file": format!("{name}.py"), "script_content": content,
        "demands": {"tags": ["python3"]},
    });
    coordinator.script(name, &python).await;
}

#[tokio::test]
async fn a_large_result_arrives_exactly() {
    let (coordinator, _runner) = pair().await;
    let write = "import json, sys\n\
        count = json.load(open(__import__('os').environ['PARAMS_FILE']))['count']\n\
        rows = [{'number': n, 'text': 'é\"\\\\ ' * 8} for n in range(count)]\n\
        json.dump(rows, sys.stdout, ensure_ascii=False)\n";
    python(&coordinator, "rows", write).await;
    let rows = |count: u64| -> Vec<Value> {
        let row = |n| json!({"number": n, "text": "é\"\\ ".repeat(8)});
        (0..count).map(row).collect()
    };
    for count in [10, 40_000] {
        let run = ended(&coordinator, "rows", json!({"count": count})).await;
        assert_eq!(run["status"], "completed", "{}", run["error"]);
        assert!(run["result_data"] == json!(rows(count)), "{count} rows");
        let path = format!("/sessions/{}/result", run["session_id"].as_str().unwrap());
        let result = coordinator.get(&path).await.body;
        assert!(result["result_data"] == run["result_data"]);
    }
    let listed = coordinator.get("/runs").await.body;
    assert_eq!(listed["runs"][0]["result_data"], Value::Null);
    let bytes = listed["runs"][0]["result_bytes"].as_u64().unwrap();
    assert!(bytes > 3_000_000, "{bytes}");
    let shown = coordinator.cli(&["agent", "run", "rows", "-p", "count=40000"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(shown == json!(rows(40_000)));
}

#[tokio::test]
async fn a_result_over_the_limit_is_refused_and_a_large_one_is_checked() {
    let (coordinator, _runner) = pair().await;
    let write = |bytes: usize| format!("print('\"' + 'x' * {bytes} + '\"')\n");
    python(&coordinator, "too-large", &write(17 << 20)).await;
    let run = ended(&coordinator, "too-large", json!({})).await;
    assert_eq!(run["reason"], "output_invalid", "{run:#}");
    let error = run["error"].as_str().unwrap();
    assert!(
        error.contains("17825795 bytes") && error.contains("16777216 allowed"),
        "{error}"
    );
    let wrong = json!({
        "script_file": "wrong.py", "script_content": write(1 << 20),
        "demands": {"tags": ["python3"]}, "output_schema": {"type": "object"},
    });
    coordinator.script("wrong", &wrong).await;
    let run = ended(&coordinator, "wrong", json!({})).await;
    assert_eq!(run["reason"], "output_invalid", "{}", run["error"]);
    assert_eq!(run["result_data"].as_str().unwrap().len(), 1 << 20, "kept");
}
