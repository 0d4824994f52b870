//! `kill -9` of each of the three processes in the middle of a run, followed by a restart, loses
//! nothing; and a killed runner leaves no script behind, also when nobody restarts it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::path::Path;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::Settings;

/// Counts its starts by a side effect, says its pid, and waits until it is let go.
const WAITING: &str =
    "echo start >> starts; echo $$ > pid; while [ ! -e go ]; do sleep 0.05; done; echo done\n";

fn starts(project_dir: &Path) -> usize {
    let starts = std::fs::read_to_string(project_dir.join("starts")).unwrap_or_default();
    starts.lines().count()
}

fn let_go(project_dir: &Path) {
    std::fs::write(project_dir.join("go"), "").unwrap();
}

#[tokio::test]
async fn a_killed_coordinator_costs_no_run() {
    let mut coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("wait", WAITING).await;
    let id = coordinator.request("wait", json!({})).await;
    coordinator.reaches(&id, "running").await;
    coordinator.kill();
    let_go(&runner.project_dir());
    coordinator.start_again().await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["result_data"]["stdout"], "done\n");
    assert_eq!(starts(&runner.project_dir()), 1);
}

#[tokio::test]
async fn a_killed_broker_costs_no_run() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("wait", WAITING).await;
    let id = coordinator.request("wait", json!({})).await;
    coordinator.reaches(&id, "running").await;
    let killed = coordinator.broker_pid();
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    let_go(&runner.project_dir());
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_ne!(
        coordinator.broker_pid(),
        killed,
        "the broker was started again"
    );
    assert_eq!(starts(&runner.project_dir()), 1);
}

#[tokio::test]
async fn a_killed_runner_leaves_no_process_and_its_run_ends() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("wait", WAITING).await;
    let id = coordinator.request("wait", json!({})).await;
    let pid = eventually("the script says its pid", async || {
        let pid = std::fs::read_to_string(runner.project_dir().join("pid")).ok()?;
        pid.trim().parse::<i32>().ok()
    })
    .await;
    runner.kill();
    eventually("the script is gone", async || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    })
    .await;
    runner.start_again();
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("lost")),
        "{run:#}"
    );
    assert_eq!(starts(&runner.project_dir()), 1);
    let_go(&runner.project_dir());
    let next = coordinator
        .ends(&coordinator.request("wait", json!({})).await)
        .await;
    assert_eq!(next["status"], "completed", "{next:#}");
}

#[tokio::test]
async fn a_script_that_may_be_repeated_is_repeated_once_its_runner_is_lost() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    let script = json!({"script_content": WAITING, "idempotent": true});
    coordinator.script("again", &script).await;
    let id = coordinator.request("again", json!({})).await;
    eventually("the script starts", async || {
        (starts(&runner.project_dir()) == 1).then_some(())
    })
    .await;
    coordinator.reaches(&id, "running").await;
    runner.kill();
    let_go(&runner.project_dir());
    runner.start_again();
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["attempt"]),
        (&json!("completed"), &json!(2)),
        "{run:#}"
    );
    assert_eq!(starts(&runner.project_dir()), 2);
}

#[tokio::test]
async fn a_result_that_the_broker_could_not_take_survives_the_runner() {
    let mut coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("wait", WAITING).await;
    let id = coordinator.request("wait", json!({})).await;
    coordinator.reaches(&id, "running").await;
    coordinator.kill();
    let_go(&runner.project_dir());
    let kept = runner.state_dir().join("spool").join(format!("{id}.json"));
    eventually("the result is kept on disk", async || {
        kept.exists().then_some(())
    })
    .await;
    runner.kill();
    coordinator.start_again().await;
    runner.start_again();
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    eventually("the kept result goes", async || {
        (!kept.exists()).then_some(())
    })
    .await;
}
