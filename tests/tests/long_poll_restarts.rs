//! A runner that knows HTTP only notices nothing of a coordinator's `kill -9` in any phase of a run, nor
//! that it speaks with two coordinators in turn; and what was handed over and never confirmed is handed
//! over again, once.

use rstest::rstest;
use serde_json::{Value, json};
use std::path::Path;
use tests::contract::{HttpRunner, Start, Work};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;

/// Writes down that it began, and waits for a word.
const WORK: &str =
    "echo begun >> begun; while [ ! -e go ]; do sleep 0.02; done; echo '{\"done\": true}'\n";

/// When the coordinator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    BeforeThePoll,
    DuringThePoll,
    HandedOver,
    Running,
    ResultDelivered,
}

async fn restart(coordinator: &mut Coordinator) {
    coordinator.kill();
    coordinator.start_again().await;
}

fn begun(runner: &HttpRunner) -> usize {
    let text = std::fs::read_to_string(runner.project_dir().join("begun")).unwrap_or_default();
    text.lines().count()
}

async fn completed_once(coordinator: &Coordinator, runner: &HttpRunner, id: &str) {
    let run = coordinator.run(id).await;
    assert_eq!(
        (&run["status"], &run["result_data"], &run["attempt"]),
        (&json!("completed"), &json!({"done": true}), &json!(1)),
        "{run:#}"
    );
    assert_eq!(begun(runner), 1, "it was started once");
    let status = coordinator.get("/status").await.body;
    assert_eq!(status["quarantined"].as_u64().unwrap_or(0), 0, "{status:#}");
}

fn go(folder: &Path) {
    std::fs::write(folder.join("go"), "").unwrap();
}

#[rstest]
#[case(Phase::BeforeThePoll)]
#[case(Phase::DuringThePoll)]
#[case(Phase::HandedOver)]
#[case(Phase::Running)]
#[case(Phase::ResultDelivered)]
#[tokio::test]
async fn a_restart_is_not_noticed(#[case] phase: Phase) {
    let mut coordinator = Coordinator::start_with(&["--lease", "3s"]).await;
    coordinator.bash("work", WORK).await;
    let start = Start {
        token: Some(coordinator.token()),
        ..Start::default()
    };
    let runner = HttpRunner::start(&[coordinator.url()], start).await;
    let told = runner.poll().await.unwrap();
    runner.sync(&told).await;
    if phase == Phase::BeforeThePoll {
        restart(&mut coordinator).await;
    }
    let run = match phase {
        Phase::DuringThePoll => {
            let next = runner.next_run();
            let away = async {
                // The poll is there when the runner is.
                eventually("it polls", async || {
                    (coordinator.online().await == 1).then_some(())
                })
                .await;
                restart(&mut coordinator).await;
                coordinator.request("work", json!({})).await
            };
            tokio::join!(next, away).0
        }
        _ => {
            coordinator.request("work", json!({})).await;
            runner.next_run().await
        }
    };
    let id = run["run_id"].as_str().unwrap().to_owned();
    if phase == Phase::HandedOver {
        restart(&mut coordinator).await;
    }
    let work: Work = runner.execute(&run);
    runner.started(&id).await;
    eventually("it began", async || (begun(&runner) == 1).then_some(())).await;
    if phase == Phase::Running {
        restart(&mut coordinator).await;
        // Whoever polls meanwhile is told nothing that is not so.
        let waiting = runner.poll();
        go(&runner.project_dir());
        let (nothing, ()) = tokio::join!(waiting, runner.finish(work));
        assert_eq!(nothing, None);
    } else if phase == Phase::ResultDelivered {
        go(&runner.project_dir());
        runner
            .deliver(&work.session_id, json!({"done": true}))
            .await;
        restart(&mut coordinator).await;
        runner.completed(&id).await;
    } else {
        go(&runner.project_dir());
        runner.finish(work).await;
    }
    completed_once(&coordinator, &runner, &id).await;
    let next = coordinator.request("work", json!({})).await;
    assert_eq!(runner.next_run().await["run_id"], next.as_str());
}

#[tokio::test]
async fn what_was_never_confirmed_is_handed_over_again() {
    let mut coordinator = Coordinator::start_with(&["--lease", "3s"]).await;
    coordinator.bash("work", WORK).await;
    let start = Start {
        token: Some(coordinator.token()),
        ..Start::default()
    };
    let runner = HttpRunner::start(&[coordinator.url()], start).await;
    let id = coordinator.request("work", json!({})).await;
    // Its answer is lost on the way.
    let lost = runner.next_run().await;
    assert_eq!(lost["run_id"], id.as_str());
    let again = runner.next_run().await;
    assert_eq!(again["run_id"], id.as_str());
    restart(&mut coordinator).await;
    let again = runner.next_run().await;
    assert_eq!(again["run_id"], id.as_str());
    let work = runner.execute(&again);
    runner.started(&id).await;
    go(&runner.project_dir());
    // Once it is confirmed nothing is handed over any more.
    let (nothing, ()) = tokio::join!(runner.poll(), runner.finish(work));
    assert_eq!(nothing, None);
    completed_once(&coordinator, &runner, &id).await;
}

/// Two coordinators on one broker, and a runner that takes them in turn.
async fn two() -> (Nats, Vec<Coordinator>, HttpRunner) {
    let nats = Nats::start().await;
    let options = ["--nats-url", &nats.url(), "--lease", "3s", "--no-auth"];
    let coordinators = vec![
        Coordinator::start_with(&options).await,
        Coordinator::start_with(&options).await,
    ];
    coordinators[0].bash("work", WORK).await;
    let addresses: Vec<String> = coordinators.iter().map(Coordinator::url).collect();
    let runner = HttpRunner::start(&addresses, Start::default()).await;
    (nats, coordinators, runner)
}

#[tokio::test]
async fn two_coordinators_behind_one_address_are_one() {
    let (_nats, coordinators, runner) = two().await;
    for number in 1..=3 {
        let _ = std::fs::remove_file(runner.project_dir().join("go"));
        let asked = &coordinators[number % 2];
        let id = asked.request("work", json!({})).await;
        let run = runner.next_run().await;
        assert_eq!(run["run_id"], id.as_str());
        let work = runner.execute(&run);
        runner.started(&id).await;
        go(&runner.project_dir());
        runner.finish(work).await;
        for coordinator in &coordinators {
            let run = coordinator.ends(&id).await;
            assert_eq!(run["status"], "completed", "{run:#}");
        }
        assert_eq!(begun(&runner), number);
    }
    for coordinator in &coordinators {
        let runners: Value = coordinator.get("/runners").await.body;
        assert_eq!(runners["runners"][0]["status"], "online", "{runners:#}");
    }
}

#[tokio::test]
async fn a_lease_is_kept_by_whichever_coordinator_is_left() {
    let (_nats, mut coordinators, runner) = two().await;
    let id = coordinators[0].request("work", json!({})).await;
    let run = runner.next_run().await;
    let work = runner.execute(&run);
    runner.started(&id).await;
    // Whichever has handed it over, and keeps its lease.
    for index in 0..2 {
        coordinators[index].kill();
        let other = &coordinators[1 - index];
        // The lease runs out, the run is delivered again, and nobody gets it.
        assert_eq!(runner.poll().await, None);
        assert_eq!(other.run(&id).await["status"], "running");
        coordinators[index].start_again().await;
    }
    go(&runner.project_dir());
    runner.finish(work).await;
    completed_once(&coordinators[0], &runner, &id).await;
}
