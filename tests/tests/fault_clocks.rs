//! Hosts whose clocks are wrong by an hour, in either direction, or jump under way: runs go their
//! way, their times are the broker's, and nobody is given up on for what a clock says.

use events::Timestamp;
use serde_json::{Value, json};
use tests::clock::Clock;
use tests::coordinator::Coordinator;
use tests::nats::Nats;
use tests::runner::Settings;

const HOUR: i64 = 3_600;
/// Far less than an hour, and far more than a story takes.
const ABOUT: i64 = 600;

#[track_caller]
fn about_now(of: &Value, field: &str) -> Timestamp {
    let at: Timestamp = of[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field}: {of:#}"))
        .parse()
        .unwrap();
    let off = at.as_second() - Timestamp::now().as_second();
    assert!(off.abs() < ABOUT, "{field} is off by {off} s: {of:#}");
    at
}

/// All its times are right, and in order.
#[track_caller]
fn told_rightly(run: &Value) {
    let fields = ["created_at", "claimed_at", "started_at", "completed_at"];
    let times = fields.map(|field| about_now(run, field));
    assert!(times.is_sorted(), "{run:#}");
}

async fn with_clocks_off_by(coordinators: i64, runners: i64) {
    let folder = tempfile::tempdir().unwrap();
    let nats = Nats::start().await;
    let url = nats.url();
    let options = ["--nats-url", url.as_str(), "--lease", "3s"];
    let clock = Clock::new(folder.path(), "coordinator");
    clock.set_off(coordinators);
    let coordinator = Coordinator::start_under(&clock.env(), &options).await;
    coordinator.bash("greet", "echo 1\n").await;

    // Nobody is there: it waits as long as it may, however late the clock says it is.
    let patient = coordinator.request("greet", json!({})).await;
    let body = json!({"agent_name": "greet", "parameters": {}, "schedule_timeout_seconds": 1});
    let hasty = coordinator.post("/runs", body).await.body["run_id"].clone();
    let ended = coordinator.ends(hasty.as_str().unwrap()).await;
    assert_eq!(ended["reason"], "no_match", "{ended:#}");
    about_now(&ended, "completed_at");
    assert_eq!(coordinator.run(&patient).await["status"], "pending");

    let clock = Clock::new(folder.path(), "runner");
    clock.set_off(runners);
    let settings = Settings {
        env: clock.env(),
        ..Settings::default()
    };
    let mut runner = coordinator.runner(settings).await;
    told_rightly(&coordinator.ends(&patient).await);
    let listed = coordinator.get("/runners").await.body["runners"][0].clone();
    about_now(&listed, "registered_at");
    about_now(&listed, "last_heartbeat");
    let recent = coordinator.cli(&["run", "list", "--since", "10m", "-q"]);
    assert_eq!(String::from_utf8_lossy(&recent.stdout).lines().count(), 2);

    // It dies, and is given up on after the lease, not after an hour or at once.
    coordinator.bash("stay", "sleep 1000\n").await;
    let lost = coordinator.request("stay", json!({})).await;
    coordinator.reaches(&lost, "running").await;
    runner.kill();
    let ended = coordinator.ends(&lost).await;
    assert_eq!(ended["reason"], "lost", "{ended:#}");
    told_rightly(&ended);
}

#[tokio::test]
async fn fault_a_coordinator_an_hour_ahead_of_a_runner_an_hour_behind() {
    with_clocks_off_by(HOUR, -HOUR).await;
}

#[tokio::test]
async fn fault_a_coordinator_an_hour_behind_a_runner_an_hour_ahead() {
    with_clocks_off_by(-HOUR, HOUR).await;
}

#[tokio::test]
async fn fault_clocks_that_jump_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let nats = Nats::start().await;
    let url = nats.url();
    let options = ["--nats-url", url.as_str(), "--lease", "3s"];
    let clocks = ["coordinator", "runner"].map(|name| Clock::new(folder.path(), name));
    let mut coordinator = Coordinator::start_under(&clocks[0].env(), &options).await;
    let settings = Settings {
        env: clocks[1].env(),
        ..Settings::default()
    };
    let _runner = coordinator.runner(settings).await;
    let go = folder.path().join("go");
    let wait = format!(
        "until [ -e {} ]; do sleep 0.05; done; echo 1\n",
        go.display()
    );
    coordinator.bash("wait", &wait).await;
    for (coordinators, runners) in [(-HOUR, 0), (HOUR, -HOUR), (0, HOUR), (-HOUR, -HOUR)] {
        let _ = std::fs::remove_file(&go);
        let run = coordinator.request("wait", json!({})).await;
        coordinator.reaches(&run, "running").await;
        clocks[0].set_off(coordinators);
        clocks[1].set_off(runners);
        let changed = json!({"description": format!("off by {coordinators}, {runners}")});
        let patch = reqwest::Method::PATCH;
        let answer = coordinator
            .send(patch, "/scripts/wait", Some(changed))
            .await;
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        about_now(&answer.body, "modified_at");
        std::fs::write(&go, "").unwrap();
        let ended = coordinator.ends(&run).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
        told_rightly(&ended);
    }
    // And what was written under all those clocks is the same to whoever reads it anew.
    let before = coordinator.get("/runs").await.body;
    coordinator.kill();
    std::fs::remove_dir_all(coordinator.data_dir().join("projection")).unwrap();
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/runs").await.body, before);
}
