//! Processes that stand still for a while and come back. A runner's runs are given up meanwhile:
//! what it says of them afterwards is evidence and changes nothing, and its script ends. A
//! coordinator has heard nobody meanwhile, and does not take that for their silence.
//!
//! `cargo verify` does it with a short lease, `cargo soak` with three minutes and the default one.

use events::Envelope;
use events::log::Log as _;
use events::log::jetstream::{Access, Connection};
use events::run::{RunEvent, RunStep};
use events::subject::{self, Stream};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

/// Counts its starts, and ends when it is let go by its attempt's number.
const WORKS: &str = r#"
echo start >> "starts-$ATTEMPT"; echo $$ > "pid-$ATTEMPT"
while [ ! -e "go-$ATTEMPT" ]; do sleep 0.05; done
echo "$ATTEMPT"
"#;

fn is_soak() -> bool {
    std::env::var_os("COORDINATOR_SOAK").is_some()
}

fn lease() -> &'static str {
    if is_soak() { "30s" } else { "3s" }
}

/// At least this long a runner stands still.
fn pause() -> Duration {
    Duration::from_secs(if is_soak() { 180 } else { 5 })
}

struct World {
    nats: Nats,
    coordinator: Coordinator,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(idempotent: bool) -> Self {
        let nats = Nats::start().await;
        let options = ["--nats-url", &nats.url(), "--lease", lease()];
        let coordinator = Coordinator::start_with(&options).await;
        let script = json!({"script_content": WORKS, "idempotent": idempotent});
        coordinator.script("work", &script).await;
        let folder = tempfile::tempdir().unwrap();
        Self {
            nats,
            coordinator,
            folder,
        }
    }

    /// All work in one project folder.
    async fn runner(&self, profile: &str) -> Runner {
        let settings = Settings {
            project_dir: Some(self.folder.path().to_owned()),
            profile: profile.to_owned(),
            ..Settings::default()
        };
        self.coordinator.runner(settings).await
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    fn let_go(&self, attempt: u32) {
        std::fs::write(self.folder.path().join(format!("go-{attempt}")), "").unwrap();
    }

    async fn pid(&self, attempt: u32) -> i32 {
        eventually("the script says its pid", async || {
            self.file(&format!("pid-{attempt}"))?.trim().parse().ok()
        })
        .await
    }

    async fn steps(&self, run: &str) -> Vec<RunEvent> {
        let access = Access {
            url: self.nats.url(),
            nkey_seed: None,
            name: "story".to_owned(),
            inbox_prefix: subject::inbox_prefix("story"),
            owns_streams: true,
        };
        let connection = Connection::open(access).await.unwrap();
        let all = Stream::Runs.subjects();
        let page = connection.page(Stream::Runs, all, 1, 1_000).await.unwrap();
        let of_run = page.iter().filter(|message| message.subject.contains(run));
        of_run
            .map(|message| {
                Envelope::<RunStep>::from_bytes(&message.payload)
                    .unwrap()
                    .event
                    .step
            })
            .collect()
    }

    /// The evidence that came after the run was given up.
    async fn late_result(&self, run: &str) -> Value {
        eventually("what came late is kept", async || {
            self.steps(run)
                .await
                .into_iter()
                .find_map(|step| match step {
                    RunEvent::LateResult { outcome, .. } => Some(outcome.result_data),
                    _ => None,
                })
        })
        .await
    }
}

fn is_there(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn gone(pid: i32) {
    eventually("the script is gone", async || {
        (!is_there(pid)).then_some(())
    })
    .await;
}

/// A runner that holds a run and stands still; the other that has come meanwhile.
async fn paused(world: &World) -> (String, i32, Runner, Runner) {
    let mut runner = world.runner("one").await;
    let run = world.coordinator.request("work", json!({})).await;
    let pid = world.pid(1).await;
    world.coordinator.reaches(&run, "running").await;
    let other = world.runner("two").await;
    runner.process().signal(Signal::SIGSTOP);
    (run, pid, runner, other)
}

#[tokio::test]
async fn fault_a_paused_runner_comes_back_to_a_run_that_was_given_up() {
    let world = World::new(false).await;
    let begun = Instant::now();
    let (run, pid, mut runner, _other) = paused(&world).await;
    let lost = world.coordinator.ends(&run).await;
    assert_eq!(lost["reason"], "lost", "{lost:#}");
    tokio::time::sleep(pause().saturating_sub(begun.elapsed())).await;
    assert!(is_there(pid), "whoever could end it stands still");
    runner.process().signal(Signal::SIGCONT);
    // Nobody lets it go: it is ended.
    gone(pid).await;
    world.late_result(&run).await;
    let still = world.coordinator.run(&run).await;
    assert_eq!(still, lost, "what came late changes nothing");
    assert_eq!(world.file("starts-1").unwrap(), "start\n");
}

#[tokio::test]
async fn fault_a_result_from_before_the_run_was_given_up_is_evidence() {
    let world = World::new(false).await;
    let (run, pid, mut runner, _other) = paused(&world).await;
    world.let_go(1);
    gone(pid).await;
    let lost = world.coordinator.ends(&run).await;
    assert_eq!(lost["reason"], "lost", "{lost:#}");
    runner.process().signal(Signal::SIGCONT);
    assert_eq!(world.late_result(&run).await, json!(1));
    assert_eq!(world.coordinator.run(&run).await, lost);
}

#[tokio::test]
async fn fault_a_run_that_another_has_taken_stays_with_it() {
    let world = World::new(true).await;
    let (run, pid, mut runner, _other) = paused(&world).await;
    let second = world.pid(2).await;
    runner.process().signal(Signal::SIGCONT);
    gone(pid).await;
    world.late_result(&run).await;
    assert!(is_there(second), "the second attempt goes on");
    world.let_go(2);
    let ended = world.coordinator.ends(&run).await;
    let (status, result) = (&ended["status"], &ended["result_data"]);
    assert_eq!(
        (status, result),
        (&json!("completed"), &json!(2)),
        "{ended:#}"
    );
    for attempt in ["starts-1", "starts-2"] {
        assert_eq!(world.file(attempt).unwrap(), "start\n", "{attempt}");
    }
}

#[tokio::test]
async fn fault_a_coordinator_that_stood_still_gives_up_nobody() {
    let mut world = World::new(false).await;
    let settings = Settings {
        project_dir: Some(world.folder.path().to_owned()),
        max_runs: 1,
        ..Settings::default()
    };
    let _runner = world.coordinator.runner(settings).await;
    let running = world.coordinator.request("work", json!({})).await;
    world.coordinator.reaches(&running, "running").await;
    // It could not wait for this long, if nobody were there.
    let body = json!({"agent_name": "work", "parameters": {}, "schedule_timeout_seconds": 1});
    let waiting = world.coordinator.post("/runs", body).await.body["run_id"].clone();
    let waiting = waiting.as_str().unwrap();
    // Longer than silence has to last before it counts.
    tokio::time::sleep(pause()).await;
    for _ in 0..3 {
        world.coordinator.process().signal(Signal::SIGSTOP);
        tokio::time::sleep(pause()).await;
        world.coordinator.process().signal(Signal::SIGCONT);
        world.coordinator.more_online_than(0).await;
        assert_eq!(world.coordinator.run(waiting).await["status"], "pending");
    }
    world.let_go(1);
    for run in [running.as_str(), waiting] {
        let ended = world.coordinator.ends(run).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
    }
}
