//! Capabilities bring their scripts to the hosts of the agents that have them, and their words into
//! the agents' prompts; a folder with all of it is applied in one go.

use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

fn autonomous() -> Settings {
    Settings {
        options: vec!["--executor-type".to_owned(), "autonomous".to_owned()],
        ..Settings::default()
    }
}

async fn holds(runner: &Runner, script: &str, wanted: bool) {
    let link = runner.project_dir().join("scripts").join(script);
    let what = format!("{script} is there: {wanted}");
    eventually(&what, async || (link.exists() == wanted).then_some(())).await;
}

async fn change(coordinator: &Coordinator, method: Method, path: &str, body: Value) -> Value {
    let answer = coordinator.send(method, path, Some(body)).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    answer.body
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

const CHECKER: &str = r#"{"name": "checker", "description": "Checks", "script_file": "check.sh",
  "demands": {"tags": ["bash"]}}"#;
const OTHER: &str = r#"{"name": "other", "description": "Checks too", "script_file": "check.sh",
  "demands": {"tags": ["bash"]}}"#;
const CHECKING: &str = r#"{"name": "checking", "description": "Check files", "script": "checker"}"#;
const HELPER: &str = r#"{"name": "helper", "description": "Helps", "type": "autonomous",
  "capabilities": ["checking"]}"#;

#[tokio::test]
async fn a_capabilitys_script_is_where_its_agents_work() {
    let coordinator = Coordinator::start().await;
    let host = coordinator.runner(autonomous()).await;
    let folder = tree(&[
        ("agents/helper.json", HELPER),
        ("capabilities/checking/capability.json", CHECKING),
        ("scripts/checker/script.json", CHECKER),
        ("scripts/checker/check.sh", "echo ok\n"),
        ("scripts/other/script.json", OTHER),
        ("scripts/other/check.sh", "echo ok\n"),
    ]);
    let path = folder.path().to_str().unwrap();
    let applied = coordinator.cli(&["apply", "-f", path]);
    let said = String::from_utf8(applied.stdout).unwrap();
    let expected = "script/checker created (v1)\nscript/other created (v1)\n\
                    capability/checking created (v1)\nagent/helper created (v1)\n";
    assert_eq!(
        said,
        expected,
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    let again = coordinator.cli(&["apply", "-f", path]);
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(
        said.contains("capability/checking unchanged (v1)"),
        "{said}"
    );

    holds(&host, "checker", true).await;
    let agent = coordinator.get("/agents/helper").await.body;
    let prompt = agent["system_prompt"].as_str().unwrap();
    assert!(prompt.contains("bash scripts/checker/check.sh"), "{prompt}");
    assert!(
        host.project_dir()
            .join("scripts/checker/check.sh")
            .is_file()
    );

    // Another script, then an agent that is switched off, on again, and without the capability.
    let script = json!({"script": "other"});
    change(
        &coordinator,
        Method::PATCH,
        "/capabilities/checking",
        script,
    )
    .await;
    holds(&host, "other", true).await;
    holds(&host, "checker", false).await;
    for (status, wanted) in [("inactive", false), ("active", true)] {
        let status = json!({ "status": status });
        change(&coordinator, Method::PATCH, "/agents/helper/status", status).await;
        holds(&host, "other", wanted).await;
    }
    let without = json!({"capabilities": []});
    change(&coordinator, Method::PATCH, "/agents/helper", without).await;
    holds(&host, "other", false).await;
    let gone = coordinator.cli(&["capability", "delete", "checking"]);
    assert!(gone.status.success(), "{gone:?}");
}

#[tokio::test]
async fn a_capabilitys_script_demands_of_the_agent() {
    let coordinator = Coordinator::start().await;
    let plain = coordinator.runner(autonomous()).await;
    let strong = coordinator
        .runner(Settings {
            tags: "gpu".to_owned(),
            ..autonomous()
        })
        .await;
    for (path, body) in [
        (
            "/scripts",
            json!({"name": "train", "description": "", "script_file": "t.sh",
            "script_content": "true\n", "demands": {"tags": ["gpu"]}}),
        ),
        (
            "/scripts",
            json!({"name": "look", "description": "", "script_file": "l.sh",
            "script_content": "true\n"}),
        ),
        (
            "/capabilities",
            json!({"name": "training", "description": "", "script": "train"}),
        ),
        (
            "/capabilities",
            json!({"name": "looking", "description": "", "script": "look"}),
        ),
        (
            "/agents",
            json!({"name": "helper", "description": "", "type": "autonomous",
            "capabilities": ["looking", "training"]}),
        ),
    ] {
        change(&coordinator, Method::POST, path, body).await;
    }
    holds(&strong, "train", true).await;
    holds(&strong, "look", true).await;
    assert!(!plain.project_dir().join("scripts/look").exists());
    // Without what demands a graphics card, the rest is at home everywhere.
    let demands = json!({"demands": {}});
    change(&coordinator, Method::PATCH, "/scripts/train", demands).await;
    holds(&plain, "train", true).await;
    holds(&plain, "look", true).await;

    let here = json!({"demands": {"hostname": "here"}});
    change(&coordinator, Method::PATCH, "/scripts/train", here).await;
    let there = json!({"demands": {"hostname": "there"}});
    let refused = coordinator
        .send(Method::PATCH, "/scripts/look", Some(there))
        .await;
    assert_eq!(refused.refusal(), (400, "conflicting_demands"));
}

/// The host of an AI agent keeps its scripts; who runs the agent itself is another one.
#[tokio::test]
async fn who_holds_scripts_only_takes_no_runs() {
    let coordinator = Coordinator::start().await;
    let host = coordinator
        .runner(Settings {
            options: ["--executor-type", "autonomous", "--runner-id", "ai-1"]
                .map(str::to_owned)
                .into(),
            ..Settings::default()
        })
        .await;
    coordinator.bash("checker", "echo ok\n").await;
    for (path, body) in [
        (
            "/capabilities",
            json!({"name": "checking", "description": "", "script": "checker"}),
        ),
        (
            "/agents",
            json!({"name": "helper", "description": "", "type": "autonomous",
            "capabilities": ["checking"]}),
        ),
    ] {
        change(&coordinator, Method::POST, path, body).await;
    }
    holds(&host, "checker", true).await;

    let request = json!({"type": "start_session", "agent_name": "helper",
        "parameters": {"prompt": "hi"}, "schedule_timeout_seconds": 1});
    let answer = coordinator.post("/runs", request.clone()).await;
    let warned = answer.body.to_string();
    assert!(warned.contains("holds scripts only"), "{warned}");
    let run = answer.body["run_id"].as_str().unwrap().to_owned();
    let explained = coordinator.get(&format!("/runs/{run}/explain")).await.body;
    if explained["status"] == "pending" {
        assert_eq!(explained["cause"], "holds_only", "{explained}");
        assert_eq!(explained["runners"][0]["state"], "holds_only");
    }
    let ended = coordinator.ends(&run).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("failed"), &json!("no_match"))
    );
    let error = ended["error"].as_str().unwrap();
    assert!(
        error.contains("ai-1 offers these tags and holds scripts only"),
        "{error}"
    );
    assert_eq!(ended["claimed_at"], Value::Null, "nobody took it");

    for (command, expected) in [
        (&["runner", "show", "ai-1"][..], "holds scripts only"),
        (&["runner", "list"], "holds scripts only"),
        (&["lane", "list"], "ai-1 (scripts only)"),
    ] {
        let told = coordinator.cli(command);
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains(expected), "{told}");
    }
}
