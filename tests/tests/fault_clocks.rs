//! Hosts whose clocks are wrong by an hour, in either direction: runs go their way, their times
//! are the broker's, and nobody is given up on for what a clock says.

use events::Timestamp;
use serde_json::{Value, json};
use tests::clock::off_by;
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
    let env = off_by(coordinators, folder.path());
    let coordinator = Coordinator::start_under(&env, &options).await;
    coordinator.bash("greet", "echo 1\n").await;

    // Nobody is there: it waits as long as it may, however late the clock says it is.
    let patient = coordinator.request("greet", json!({})).await;
    let body = json!({"agent_name": "greet", "parameters": {}, "schedule_timeout_seconds": 1});
    let hasty = coordinator.post("/runs", body).await.body["run_id"].clone();
    let ended = coordinator.ends(hasty.as_str().unwrap()).await;
    assert_eq!(ended["reason"], "no_match", "{ended:#}");
    about_now(&ended, "completed_at");
    assert_eq!(coordinator.run(&patient).await["status"], "pending");

    let settings = Settings {
        env: off_by(runners, folder.path()),
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
