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

#[tokio::test]
async fn a_path_parameter_stays_in_the_project() {
    let (coordinator, runner) = pair().await;
    let reads = json!({
        "script_content": "cat -- \"$2\"\n",
        "parameters_schema": {
            "type": "object", "properties": {"file": {"type": "string", "format": "path"}},
        },
    });
    coordinator.script("reads", &reads).await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let project = runner.project_dir();
    std::fs::write(project.join("inside"), "inside").unwrap();
    std::os::unix::fs::symlink(outside.path(), project.join("out")).unwrap();
    let run = ended(&coordinator, "reads", json!({"file": "./inside"})).await;
    assert_eq!(run["result_data"]["stdout"], "inside", "{run:#}");
    let absolute = outside.path().join("secret");
    for file in ["../x", "out/secret", "out/new", absolute.to_str().unwrap()] {
        let run = ended(&coordinator, "reads", json!({"file": file})).await;
        assert_eq!(run["reason"], "rejected", "{file}: {run:#}");
        let error = run["error"].as_str().unwrap();
        assert!(
            error.contains("$.file") && error.contains("inside the project"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn limits_hold_for_scripts() {
    let coordinator = Coordinator::start().await;
    let options = ["--limit-open-files=77", "--limit-file-size=64K"];
    let limited = Settings {
        options: options.map(str::to_owned).to_vec(),
        ..Settings::default()
    };
    let _runner = coordinator.runner(limited).await;
    coordinator.bash("open-files", "ulimit -n\n").await;
    let run = ended(&coordinator, "open-files", json!({})).await;
    assert_eq!(run["result_data"], 77, "{run:#}");
    coordinator
        .bash("fills", "exec head -c 10000000 /dev/zero > big\n")
        .await;
    let run = ended(&coordinator, "fills", json!({})).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("signal 25"), "{error}");
}

#[tokio::test]
async fn a_script_that_deletes_its_folder_is_whole_again_for_the_next_run() {
    let (coordinator, _runner) = pair().await;
    let deletes = "chmod -R u+w \"$SCRIPT_DIR\"; rm -rf \"$SCRIPT_DIR\"; echo gone\n";
    coordinator.bash("deletes", deletes).await;
    for _ in 0..3 {
        let run = ended(&coordinator, "deletes", json!({})).await;
        assert_eq!(run["status"], "completed", "{run:#}");
        assert_eq!(run["result_data"]["stdout"], "gone\n");
    }
}

#[tokio::test]
async fn scripts_that_end_oddly_have_a_plain_end() {
    let (coordinator, _runner) = pair().await;
    let flood =
        "for n in 1 2 3 4 5 6 7 8; do (setsid yes flood & ) ; done; sleep 0.3; echo '[1]'\n";
    // Name, script, status, a part of the error, a part of the result.
    let table = [
        (
            "closes",
            "exec >&-; sleep 0.2; exit 0\n",
            "completed",
            "",
            "\"return_code\":0",
        ),
        (
            "half",
            "printf '{\"a\": [1, 2'\n",
            "completed",
            "",
            "{\\\"a\\\": [1, 2",
        ),
        (
            "killed",
            "echo so far; kill -KILL $$\n",
            "failed",
            "signal 9",
            "so far",
        ),
        (
            "segfault",
            "kill -SEGV $$\n",
            "failed",
            "signal 11",
            "\"return_code\":139",
        ),
        (
            "not-found",
            "no-such-program\n",
            "failed",
            "exit code 127",
            "no-such-program",
        ),
        ("floods", flood, "completed", "", "flood"),
        (
            "invalid",
            "printf '\\xff\\xfe'\n",
            "completed",
            "",
            "\u{fffd}\u{fffd}",
        ),
    ];
    for (name, script, status, error, result) in table {
        coordinator.bash(name, script).await;
        let run = ended(&coordinator, name, json!({})).await;
        assert_eq!(run["status"], status, "{name}: {}", run["error"]);
        let told = run["error"].as_str().unwrap_or_default();
        assert!(told.contains(error), "{name}: {told}");
        let found = run["result_data"].to_string();
        assert!(
            found.contains(result),
            "{name}: {}",
            &found[..found.len().min(500)]
        );
    }
}
