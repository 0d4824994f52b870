//! Every way a script is made to end leaves nothing of it running, however it tries to get away:
//! a stop, its timeout, and its runner's end by TERM, by a second TERM and by `kill -9`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitStatus;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

/// Goes to work in every way known to outlive a parent, ignores TERM, and says when all are there.
const RUNAWAY: &str = r#"
sleep 1000 &
setsid sleep 1001 &
nohup sleep 1002 >/dev/null 2>&1 &
( ( setsid bash -c 'echo away >> marks; exec sleep 1003' & ) & )
env -i bash -c 'trap "" TERM HUP INT; echo bare >> marks; while :; do sleep 1; done' &
bash -c 'exec >/dev/null 2>&1 </dev/null; echo closed >> marks; exec sleep 1004' & disown
trap '' TERM
while [ "$(wc -l < marks)" != 3 ]; do sleep 0.02; done
echo ready > ready
while :; do sleep 0.1; done
"#;
const RUNAWAYS: usize = 7;

const WAITING: &str = "echo $$ > ready; while [ ! -e go ]; do sleep 0.05; done; echo done\n";

/// The processes that work in this folder, as all of a run's do.
fn alive(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let here = processes.filter(|entry| {
        // Whoever ends meanwhile, or is not ours to look at, is not there.
        std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder)
    });
    here.map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

async fn ready(runner: &Runner) {
    let ready = runner.project_dir().join("ready");
    eventually("the script is ready", async || ready.exists().then_some(())).await;
}

async fn nothing_is_left(runner: &Runner) {
    let folder = runner.project_dir();
    eventually("nothing of the script is left", async || {
        alive(&folder).is_empty().then_some(())
    })
    .await;
}

async fn exited(runner: &mut Runner) -> ExitStatus {
    eventually("the runner ends", async || runner.process().exited()).await
}

/// A run of a script that is at work.
async fn at_work(coordinator: &Coordinator, runner: &Runner, script: &str) -> String {
    coordinator.bash("work", script).await;
    let id = coordinator.request("work", json!({})).await;
    ready(runner).await;
    coordinator.reaches(&id, "running").await;
    id
}

async fn stop(coordinator: &Coordinator, id: &str) -> Value {
    let answer = coordinator
        .post(&format!("/runs/{id}/stop"), json!({}))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn a_run_that_waits_is_stopped_at_once_and_never_starts() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("touch", "touch ran-$RUN_ID\n").await;
    let id = coordinator.request("touch", json!({})).await;
    assert_eq!(stop(&coordinator, &id).await["status"], "stopped");
    assert_eq!(coordinator.run(&id).await["status"], "stopped");
    let runner = coordinator.runner(Settings::default()).await;
    let next = coordinator.request("touch", json!({})).await;
    coordinator.ends(&next).await;
    let ran = |id: &str| runner.project_dir().join(format!("ran-{id}")).exists();
    assert_eq!((ran(&id), ran(&next)), (false, true));
    let again = stop(&coordinator, &id).await;
    assert!(
        again["message"].as_str().unwrap().contains("ended already"),
        "{again}"
    );
}

#[tokio::test]
async fn a_stop_ends_the_whole_tree() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    let id = at_work(&coordinator, &runner, RUNAWAY).await;
    let before = alive(&runner.project_dir());
    assert!(before.len() >= RUNAWAYS, "{before:?}");
    assert_eq!(stop(&coordinator, &id).await["status"], "stopping");
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("stopped"), &Value::Null),
        "{run:#}"
    );
    assert_eq!(alive(&runner.project_dir()), Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_lets_a_script_clean_up() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    let tidy = "trap 'echo tidied; exit 0' TERM; echo > ready; while :; do sleep 0.05; done\n";
    let id = at_work(&coordinator, &runner, tidy).await;
    stop(&coordinator, &id).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "stopped", "{run:#}");
    assert_eq!(run["result_data"]["stdout"], "tidied\n", "{run:#}");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator
        .script(
            "work",
            &json!({"script_content": RUNAWAY, "timeout_seconds": 2}),
        )
        .await;
    let id = coordinator.request("work", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("timeout")),
        "{run:#}"
    );
    assert!(run["error"].as_str().unwrap().contains("2 s"), "{run:#}");
    assert!(
        runner.project_dir().join("ready").exists(),
        "it was at work"
    );
    assert_eq!(alive(&runner.project_dir()), Vec::<String>::new());
}

#[tokio::test]
async fn a_script_that_goes_leaves_nobody_behind() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    let leaves = RUNAWAY.replace("while :; do sleep 0.1; done", "exit 0");
    coordinator.bash("work", &leaves).await;
    let id = coordinator.request("work", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(alive(&runner.project_dir()), Vec::<String>::new());
}

#[tokio::test]
async fn a_runner_told_to_go_lets_its_script_finish() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    let id = at_work(&coordinator, &runner, WAITING).await;
    runner.process().signal(Signal::SIGTERM);
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    assert!(exited(&mut runner).await.success());
    eventually("it said goodbye", async || {
        (coordinator.online().await == 0).then_some(())
    })
    .await;
    let later = coordinator.request("work", json!({})).await;
    assert_eq!(coordinator.run(&later).await["status"], "pending");
    runner.start_again();
    assert_eq!(coordinator.ends(&later).await["status"], "completed");
}

#[tokio::test]
async fn a_script_that_outlasts_the_grace_is_ended() {
    let coordinator = Coordinator::start().await;
    let settings = Settings {
        grace_seconds: 1,
        ..Settings::default()
    };
    let mut runner = coordinator.runner(settings).await;
    let id = at_work(&coordinator, &runner, RUNAWAY).await;
    runner.process().signal(Signal::SIGTERM);
    assert!(exited(&mut runner).await.success());
    assert_eq!(alive(&runner.project_dir()), Vec::<String>::new());
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("lost")),
        "{run:#}"
    );
}

#[tokio::test]
async fn a_second_term_does_not_wait_for_the_grace() {
    let coordinator = Coordinator::start().await;
    let settings = Settings {
        grace_seconds: 3600,
        ..Settings::default()
    };
    let mut runner = coordinator.runner(settings).await;
    let id = at_work(&coordinator, &runner, WAITING).await;
    // Two signals sent together may arrive as one.
    let ended = eventually("the runner ends", async || {
        if runner.process().exited().is_none() {
            runner.process().signal(Signal::SIGTERM);
        }
        runner.process().exited()
    })
    .await;
    assert!(ended.success(), "{ended}");
    assert_eq!(alive(&runner.project_dir()), Vec::<String>::new());
    assert_eq!(coordinator.ends(&id).await["reason"], "lost");
}

#[tokio::test]
async fn a_killed_runner_takes_the_whole_tree_along() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    at_work(&coordinator, &runner, RUNAWAY).await;
    runner.kill();
    nothing_is_left(&runner).await;
}
