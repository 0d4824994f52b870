//! The broker is restarted in each phase of a run, killed or ended in order: the run goes on from
//! where it was, starts no more often than before, and ends once.

use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

/// Counts its starts, takes no notice of a polite request to end, and stays until it is let go.
const WORKS: &str = r#"
trap '' TERM
echo start >> starts
while [ ! -e go ]; do sleep 0.05; done
echo 7
"#;

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Killed,
    Ended,
}

struct World {
    nats: Nats,
    coordinator: Coordinator,
}

impl World {
    async fn new(idempotent: bool) -> Self {
        let nats = Nats::start().await;
        let options = ["--nats-url", &nats.url(), "--lease", "3s"];
        let coordinator = Coordinator::start_with(&options).await;
        let script = json!({"script_content": WORKS, "idempotent": idempotent});
        coordinator.script("work", &script).await;
        Self { nats, coordinator }
    }

    async fn request(&self) -> String {
        self.coordinator.request("work", json!({})).await
    }

    async fn restart_broker(&mut self, how: How) {
        match how {
            How::Killed => self.nats.kill(),
            How::Ended => self.nats.stop(),
        }
        self.nats.start_again().await;
        eventually("the coordinator has it again", async || {
            let status = self.coordinator.get("/status").await;
            (status.body["broker"]["connected"] == true).then_some(())
        })
        .await;
    }

    async fn ends_as(&self, run: &str, status: &str) -> Value {
        let ended = self.coordinator.ends(run).await;
        assert_eq!(ended["status"], status, "{ended:#}");
        ended
    }
}

fn starts(runner: &Runner) -> usize {
    let starts = std::fs::read_to_string(runner.project_dir().join("starts"));
    starts.unwrap_or_default().lines().count()
}

async fn started(runner: &Runner, times: usize) {
    eventually("it starts", async || {
        (starts(runner) == times).then_some(())
    })
    .await;
}

fn let_go(runner: &Runner) {
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
}

const EACH: [How; 2] = [How::Killed, How::Ended];

#[tokio::test]
async fn fault_a_broker_restarted_while_a_run_is_pending() {
    for how in EACH {
        let mut world = World::new(false).await;
        let run = world.request().await;
        world.restart_broker(how).await;
        let runner = world.coordinator.runner(Settings::default()).await;
        let_go(&runner);
        assert_eq!(world.ends_as(&run, "completed").await["result_data"], 7);
        assert_eq!(starts(&runner), 1, "{how:?}");
    }
}

#[tokio::test]
async fn fault_a_broker_restarted_while_a_run_is_claimed() {
    for how in EACH {
        let mut world = World::new(true).await;
        let mut runner = world.coordinator.runner(Settings::default()).await;
        let run = world.request().await;
        started(&runner, 1).await;
        runner.kill();
        runner.start_again();
        // A second attempt rests before it starts.
        let claimed = world.coordinator.reaches(&run, "claimed").await;
        assert_eq!(claimed["attempt"], 2, "{claimed:#}");
        world.restart_broker(how).await;
        let_go(&runner);
        let ended = world.ends_as(&run, "completed").await;
        assert_eq!(
            (&ended["attempt"], starts(&runner)),
            (&json!(2), 2),
            "{how:?}"
        );
    }
}

#[tokio::test]
async fn fault_a_broker_restarted_while_a_run_is_running() {
    for how in EACH {
        let mut world = World::new(false).await;
        let runner = world.coordinator.runner(Settings::default()).await;
        let run = world.request().await;
        started(&runner, 1).await;
        world.restart_broker(how).await;
        let_go(&runner);
        assert_eq!(world.ends_as(&run, "completed").await["result_data"], 7);
        assert_eq!(starts(&runner), 1, "{how:?}");
    }
}

#[tokio::test]
async fn fault_a_broker_restarted_while_a_run_is_stopping() {
    for how in EACH {
        let mut world = World::new(false).await;
        let runner = world.coordinator.runner(Settings::default()).await;
        let run = world.request().await;
        started(&runner, 1).await;
        let stop = format!("/runs/{run}/stop");
        let answer = world.coordinator.post(&stop, json!({})).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(world.coordinator.run(&run).await["status"], "stopping");
        world.restart_broker(how).await;
        world.ends_as(&run, "stopped").await;
        assert_eq!(starts(&runner), 1, "{how:?}");
    }
}

#[tokio::test]
async fn fault_a_broker_restarted_when_a_run_has_ended() {
    for how in EACH {
        let mut world = World::new(false).await;
        let runner = world.coordinator.runner(Settings::default()).await;
        let_go(&runner);
        let run = world.request().await;
        let ended = world.ends_as(&run, "completed").await;
        world.restart_broker(how).await;
        // Behind it in the same queue.
        let next = world.request().await;
        world.ends_as(&next, "completed").await;
        assert_eq!(world.coordinator.run(&run).await, ended, "{how:?}");
        assert_eq!(starts(&runner), 2, "{how:?}");
    }
}
