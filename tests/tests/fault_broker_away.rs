//! The broker stops under running scripts: none of them notices, each starts once, its output and
//! result arrive when the broker is back; meanwhile writes are refused at once and reads go on.
//!
//! `cargo verify` keeps it away for some seconds, `cargo soak` for a minute, which is longer than a
//! lease: what is delivered again then must not start again.

use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

/// Counts its starts and writes numbered lines until it is let go, by the number it is given.
const COUNTS: &str = r#"
echo start >> "starts-$2"
n=0
while [ ! -e "go-$2" ]; do n=$((n + 1)); echo "line $n"; echo "remark $n" >&2; sleep 0.05; done
echo "$n" > "count-$2"
"#;

/// A broker that does not answer is given up on after this; far more than "within seconds".
const NEVER: Duration = Duration::from_secs(60);

fn away() -> Duration {
    match is_soak() {
        true => Duration::from_secs(60),
        false => Duration::from_secs(8),
    }
}

fn is_soak() -> bool {
    std::env::var_os("COORDINATOR_SOAK").is_some()
}

async fn at_work(coordinator: &Coordinator, runner: &Runner, numbers: &[u32]) -> Vec<String> {
    coordinator.bash("counts", COUNTS).await;
    let mut runs = Vec::new();
    for n in numbers {
        runs.push(coordinator.request("counts", json!({ "n": n })).await);
    }
    for (id, n) in runs.iter().zip(numbers) {
        coordinator.reaches(id, "running").await;
        let starts = runner.project_dir().join(format!("starts-{n}"));
        eventually("it starts", async || starts.exists().then_some(())).await;
    }
    runs
}

fn let_go(runner: &Runner, n: u32) {
    std::fs::write(runner.project_dir().join(format!("go-{n}")), "").unwrap();
}

fn read(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

/// Writes are refused, reads are answered, for as long as this.
async fn meanwhile(coordinator: &Coordinator, runs: &[String], away: Duration) {
    let begun = Instant::now();
    // A write in the very moment of the loss may be stored later, as its answer says; from here
    // on none is.
    eventually("the loss is noticed", async || {
        let status = coordinator.get("/status").await;
        (status.body["broker"]["connected"] == false).then_some(())
    })
    .await;
    while begun.elapsed() < away {
        let agent = json!({"name": "late", "description": "", "type": "autonomous"});
        let run = json!({"type": "start_session", "agent_name": "counts", "parameters": {}});
        let stop = format!("/runs/{}/stop", runs[0]);
        for (path, body) in [
            ("/agents", agent),
            ("/runs", run),
            (stop.as_str(), json!({})),
        ] {
            let answer = tokio::time::timeout(NEVER, coordinator.post(path, body)).await;
            let answer = answer.expect("a write is answered");
            assert_eq!(
                answer.refusal(),
                (503, "broker_unavailable"),
                "{path}: {answer:?}"
            );
        }
        for path in [
            "/scripts",
            "/scripts/counts",
            "/agents",
            "/agents/counts",
            "/runs",
            "/health",
        ] {
            assert_eq!(coordinator.get(path).await.status, 200, "{path}");
        }
        for id in runs {
            assert_eq!(coordinator.run(id).await["status"], "running");
        }
        let status = coordinator.get("/status").await;
        assert_eq!(status.body["broker"]["connected"], false, "{status:?}");
    }
}

/// It ran once, and all it wrote is there.
async fn whole(coordinator: &Coordinator, runner: &Runner, id: &str, n: u32) {
    let run = coordinator.ends(id).await;
    assert_eq!(
        (&run["status"], &run["attempt"]),
        (&json!("completed"), &json!(1)),
        "{run:.1000}"
    );
    let project = runner.project_dir();
    assert_eq!(read(&project, &format!("starts-{n}")).unwrap(), "start\n");
    let count: u32 = read(&project, &format!("count-{n}"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let logs = coordinator.get(&format!("/runs/{id}/logs")).await.body;
    for (stream, word) in [("stdout", "line"), ("stderr", "remark")] {
        let expected: String = (1..=count).map(|n| format!("{word} {n}\n")).collect();
        let chunks = logs["chunks"].as_array().unwrap().iter();
        let own = chunks.filter(|chunk| chunk["stream"] == stream);
        let text: String = own
            .map(|chunk| chunk["text"].as_str().unwrap_or("[gap]"))
            .collect();
        assert_eq!(text, expected, "{stream} of {n}");
        assert_eq!(run["result_data"][stream], expected, "{stream} of {n}");
    }
}

#[tokio::test]
async fn fault_scripts_go_on_while_the_broker_is_away() {
    let mut nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let runner = coordinator.runner(Settings::default()).await;
    let runs = at_work(&coordinator, &runner, &[1, 2, 3]).await;
    nats.kill();
    // One ends while nobody can be told, and its result waits.
    let_go(&runner, 1);
    meanwhile(&coordinator, &runs, away()).await;
    let kept = runner
        .state_dir()
        .join("spool")
        .join(format!("{}.json", runs[0]));
    eventually("the result is kept on disk", async || {
        kept.exists().then_some(())
    })
    .await;
    nats.start_again().await;
    // One ends while everybody comes back.
    let_go(&runner, 2);
    whole(&coordinator, &runner, &runs[0], 1).await;
    whole(&coordinator, &runner, &runs[1], 2).await;
    let_go(&runner, 3);
    whole(&coordinator, &runner, &runs[2], 3).await;

    // By itself all is as before, and what was refused was not stored.
    let last = coordinator.request("counts", json!({"n": 3})).await;
    assert_eq!(coordinator.ends(&last).await["status"], "completed");
    let all: Value = coordinator.get("/runs").await.body;
    assert_eq!(all["runs"].as_array().unwrap().len(), 4, "{all:.1000}");
    assert_eq!(coordinator.get("/agents/late").await.status, 404);
    assert_eq!(coordinator.online().await, 1);
}

#[tokio::test]
async fn fault_a_broker_that_comes_and_goes_starts_nothing_twice() {
    let mut nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let runner = coordinator.runner(Settings::default()).await;
    let runs = at_work(&coordinator, &runner, &[1, 2]).await;
    let times = if is_soak() { 50 } else { 5 };
    for time in 0..times {
        match time % 2 {
            0 => nats.kill(),
            _ => nats.stop(),
        }
        nats.start_again().await;
        let written = eventually("a write succeeds", async || {
            let agent =
                json!({"name": format!("a{time}"), "description": "", "type": "autonomous"});
            let answer = coordinator.post("/agents", agent).await;
            // Stored in spite of an answer that said it was not known: that is what it said.
            [201, 409]
                .contains(&answer.status.as_u16())
                .then_some(answer)
        });
        written.await;
    }
    for (id, n) in runs.iter().zip([1, 2]) {
        let_go(&runner, n);
        whole(&coordinator, &runner, id, n).await;
    }
    assert_eq!(
        coordinator
            .get("/agents")
            .await
            .body
            .as_array()
            .unwrap()
            .len(),
        times + 1
    );
}

/// Five minutes of waiting are too long for every day.
#[tokio::test]
async fn fault_a_run_that_nobody_takes_ends_by_itself() {
    if !is_soak() {
        return;
    }
    let coordinator = Coordinator::start().await;
    let script = json!({"script_content": "true\n", "demands": {"tags": ["gpu"]}});
    coordinator.script("train", &script).await;
    let command = coordinator.cli_command(&["agent", "run", "train"]);
    let mut command = tokio::process::Command::from(command);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(13), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("gpu") && told.contains("no_match"), "{told}");
}
