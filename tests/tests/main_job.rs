//! The main job: scripts stored in the coordinator arrive on a runner, run, and answer; every
//! kind of interpreter, and a folder with a helper module and a data file.

use serde_json::{Value, json};
use tests::coordinator::{Coordinator, starter};
use tests::eventually::eventually;
use tests::runner::Settings;

fn messaging() -> Settings {
    Settings {
        tags: "messaging-team".to_owned(),
        ..Settings::default()
    }
}

fn applied(coordinator: &Coordinator) {
    let starter = starter();
    let applied = coordinator.cli(&["apply", "-f", starter.to_str().unwrap(), "-y"]);
    let told = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{told}");
}

#[tokio::test]
async fn every_script_of_the_starter_folder_runs() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(messaging()).await;
    std::fs::write(runner.project_dir().join("good.json"), "{\"a\": 1}").unwrap();
    applied(&coordinator);
    let expected = [
        ("notifier", json!({"message": "hello", "channel": "slack"})),
        ("deploy", json!({"target": "staging"})),
        ("json-checker", json!({"file": "good.json"})),
        ("word-count", json!({"text": "a b a", "top": 2})),
        (
            "render-table",
            json!({"columns": ["name"], "rows": [{"name": "a"}]}),
        ),
    ];
    for (agent, parameters) in expected {
        let run = coordinator
            .ends(&coordinator.request(agent, parameters).await)
            .await;
        assert_eq!(run["status"], "completed", "{agent}: {run:#}");
        assert!(run["result_data"].is_object(), "{agent}: {run:#}");
    }
    let notified = coordinator.get("/runs?agent=notifier").await.body;
    let sent = json!({"sent": true, "channel": "slack", "priority": "normal"});
    assert_eq!(notified["runs"][0]["result_data"], sent);
}

#[tokio::test]
async fn a_change_reaches_the_runner_and_a_running_script_keeps_its_version() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator
        .bash("version", "while [ ! -e go ]; do sleep 0.05; done; cat \"$SCRIPT_DIR/version.sh\" | tail -1\n# one\n")
        .await;
    let slow = coordinator.request("version", json!({})).await;
    coordinator.reaches(&slow, "running").await;
    let change = json!({"script_content": "tail -1 \"$SCRIPT_DIR/version.sh\"\n# two\n"});
    let changed = coordinator
        .send(reqwest::Method::PATCH, "/scripts/version", Some(change))
        .await;
    assert_eq!(
        (changed.status.as_u16(), &changed.body["version"]),
        (200, &json!(2))
    );
    let link = runner.project_dir().join("scripts/version/version.sh");
    eventually("the new version arrives", async || {
        let text = std::fs::read_to_string(&link).ok()?;
        text.contains("# two").then_some(())
    })
    .await;
    let stdout = |run: Value| run["result_data"]["stdout"].as_str().unwrap().to_owned();
    let new = coordinator
        .ends(&coordinator.request("version", json!({})).await)
        .await;
    assert_eq!(
        (stdout(new.clone()), &new["script_version"]),
        ("# two\n".to_owned(), &json!(2))
    );
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    let old = coordinator.ends(&slow).await;
    assert_eq!(
        (stdout(old.clone()), &old["script_version"]),
        ("# one\n".to_owned(), &json!(1))
    );
}

#[tokio::test]
async fn two_runners_share_a_project_folder() {
    let coordinator = Coordinator::start().await;
    let shared = tempfile::tempdir().unwrap();
    let settings = |profile: &str| Settings {
        project_dir: Some(shared.path().to_owned()),
        profile: profile.to_owned(),
        max_runs: 1,
        ..Settings::default()
    };
    let first = coordinator.runner(settings("first")).await;
    let mut second = coordinator.runner(settings("second")).await;
    coordinator
        .bash("shared", "sleep 0.3; echo \"$RUN_ID\"\n")
        .await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(coordinator.request("shared", json!({})).await);
    }
    let mut runners = std::collections::BTreeSet::new();
    for id in ids {
        let run = coordinator.ends(&id).await;
        assert_eq!(run["status"], "completed", "{run:#}");
        runners.insert(run["runner_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(runners.len(), 2, "both runners take part");
    second.kill();
    assert!(
        first
            .project_dir()
            .join("scripts/shared/shared.sh")
            .exists()
    );
}
