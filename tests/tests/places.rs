//! Demands that pin work to a place, and runners that are kept for some work: the run goes to the
//! runner that fits and to no other.

use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::Settings;

fn named(id: &str) -> Settings {
    Settings {
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        ..Settings::default()
    }
}

fn kept_for(tags: &str, id: &str) -> Settings {
    let mut settings = named(id);
    settings.tags = tags.to_owned();
    settings.options.push("--require-matching-tags".to_owned());
    settings
}

/// The agent's run, once it has these demands.
async fn run_with(coordinator: &Coordinator, demands: Value) -> String {
    let request = json!({"type": "start_session", "agent_name": "job", "parameters": {},
        "additional_demands": demands});
    let answer = coordinator.post("/runs", request).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["run_id"].as_str().unwrap().to_owned()
}

/// Every run with these demands is taken by this runner, though another is there and free.
async fn goes_to(coordinator: &Coordinator, demands: Value, runner: &str) {
    for _ in 0..3 {
        let run = run_with(coordinator, demands.clone()).await;
        let ended = coordinator.ends(&run).await;
        assert_eq!(ended["status"], "completed", "{ended}");
        assert_eq!(ended["runner_id"], runner, "{demands}");
    }
}

async fn explained(coordinator: &Coordinator, run: &str) -> Value {
    coordinator.get(&format!("/runs/{run}/explain")).await.body
}

#[tokio::test]
async fn a_demanded_place_is_the_only_one() {
    let coordinator = Coordinator::start().await;
    let a = coordinator.runner(named("a")).await;
    let special = Settings {
        profile: "special".to_owned(),
        ..named("b")
    };
    let b = coordinator.runner(special).await;
    coordinator.bash("job", "echo 1\n").await;
    let folder = |runner: &tests::runner::Runner| runner.project_dir().canonicalize().unwrap();
    for (demands, runner) in [
        (json!({"project_dir": folder(&a)}), "a"),
        (json!({"project_dir": folder(&b)}), "b"),
        (json!({"executor_profile": "special"}), "b"),
        (json!({"executor_profile": "default"}), "a"),
    ] {
        goes_to(&coordinator, demands, runner).await;
    }
    let runners = coordinator.get("/runners").await.body;
    let host = &runners["runners"][0]["hostname"];
    let here = json!({"hostname": host, "executor_type": "procedural",
        "executor_profile": "special"});
    goes_to(&coordinator, here, "b").await;
}

#[tokio::test]
async fn a_place_that_nobody_is_at_is_waited_for() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(named("a")).await;
    coordinator.bash("job", "echo 1\n").await;
    for (demands, tag) in [
        (json!({"hostname": "elsewhere"}), "host:elsewhere"),
        (json!({"project_dir": "/else"}), "dir:/else"),
        (json!({"executor_profile": "other"}), "profile:other"),
    ] {
        let run = run_with(&coordinator, demands).await;
        let explained = explained(&coordinator, &run).await;
        assert_eq!(explained["cause"], "missing_tags", "{explained}");
        assert_eq!(explained["runners"][0]["missing"], json!([tag]));
        let summary = explained["summary"].as_str().unwrap();
        assert!(summary.contains(tag), "{summary}");
    }
}

#[tokio::test]
async fn two_places_at_once_are_refused_when_written() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("job", "echo 1\n").await;
    for (field, one, two) in [
        ("hostname", "one", "two"),
        ("project_dir", "/one", "/two"),
        ("executor_profile", "one", "two"),
        ("executor_type", "procedural", "autonomous"),
    ] {
        let place = |value: &str| Some(json!({"demands": {field: value}}));
        let script = coordinator.send(Method::PATCH, "/scripts/job", place(one));
        assert_eq!(script.await.status, 200);
        let agent = coordinator.send(Method::PATCH, "/agents/job", place(two));
        let agent = agent.await;
        assert_eq!(agent.refusal(), (400, "conflicting_demands"), "{agent:?}");
        let said = agent.body.to_string();
        assert!(said.contains(one) && said.contains(two), "{said}");
        let request = json!({"type": "start_session", "agent_name": "job", "parameters": {},
            "additional_demands": {field: two}});
        let run = coordinator.post("/runs", request).await;
        assert_eq!(run.refusal(), (400, "conflicting_demands"), "{run:?}");
    }
}

#[tokio::test]
async fn who_is_kept_for_some_work_takes_no_other() {
    let coordinator = Coordinator::start().await;
    let lab = coordinator.runner(kept_for("gpu,lab", "lab")).await;
    coordinator.bash("job", "echo 1\n").await;
    let run = run_with(&coordinator, json!({})).await;
    let told = explained(&coordinator, &run).await;
    assert_eq!(told["cause"], "own_tags_only", "{told}");
    let summary = told["summary"].as_str().unwrap();
    assert!(
        summary.contains("takes only work that demands gpu or lab"),
        "{summary}"
    );
    assert!(!lab.project_dir().join("scripts/job").exists());

    let _plain = coordinator.runner(named("plain")).await;
    assert_eq!(coordinator.ends(&run).await["runner_id"], "plain");
    goes_to(&coordinator, json!({"tags": ["gpu"]}), "lab").await;
    goes_to(&coordinator, json!({"tags": ["lab", "bash"]}), "lab").await;
    goes_to(&coordinator, json!({"tags": ["bash"]}), "plain").await;

    let shown = coordinator.cli(&["runner", "show", "lab"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("what demands gpu or lab"), "{shown}");
    let runner = coordinator.get("/runners/lab").await.body;
    assert_eq!(runner["require_matching_tags"], true);
}

/// What names the runner means no other, whatever it is kept for.
#[tokio::test]
async fn what_is_pinned_to_a_runner_comes_to_it() {
    let coordinator = Coordinator::start().await;
    let lab = coordinator.runner(kept_for("lab", "lab")).await;
    coordinator.bash("job", "echo 1\n").await;
    let pinned = coordinator.cli(&["script", "pin", "job", "--runner", "lab"]);
    assert!(pinned.status.success(), "{pinned:?}");
    let link = lab.project_dir().join("scripts/job");
    eventually("the pinned script is there", async || {
        link.exists().then_some(())
    })
    .await;
    let rollout = coordinator.get("/scripts/job/rollout").await.body;
    assert_eq!(rollout["total"], 1, "{rollout}");
}
