//! The broker is away for longer than a lease while 20 scripts run on three runners, and they all
//! end meanwhile: every result is kept on its runner's disk and arrives, those that take chunks
//! and all output too; nothing starts twice.
//!
//! `cargo verify` keeps it away for some seconds with a short lease, `cargo soak` for a minute.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

/// Counts its starts; writes remarks, and its number as often as it is told, once it is let go.
const WORKS: &str = r#"
n="$2" times="$4" dir="$6"
mktemp "$dir/start-$n-XXXXXX" > /dev/null
echo "remark 1 of $n" >&2
while [ ! -e "$dir/go" ]; do sleep 0.1; done
echo "remark 2 of $n" >&2
printf '"'
for ((i = 0; i < times; i++)); do printf '%0100d' "$n"; done
printf '"'
"#;
const RUNS: u32 = 20;
/// Every fifth result does not fit one event.
const LARGE: u32 = 6_000;

fn is_soak() -> bool {
    std::env::var_os("COORDINATOR_SOAK").is_some()
}

fn times(n: u32) -> u32 {
    if n.is_multiple_of(5) { LARGE } else { 1 }
}

fn expected(n: u32) -> Value {
    json!(format!("{n:0100}").repeat(times(n) as usize))
}

async fn runners(coordinator: &Coordinator, dir: &Path) -> Vec<Runner> {
    let mut runners = Vec::new();
    for number in 0..3 {
        let settings = Settings {
            profile: format!("runner-{number}"),
            max_runs: 8,
            // Starts of all runners are counted in one place.
            options: vec!["--allow-write".to_owned(), dir.display().to_string()],
            ..Settings::default()
        };
        runners.push(coordinator.runner(settings).await);
    }
    runners
}

fn started(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with("start-")
        })
        .count()
}

fn kept(runners: &[Runner]) -> usize {
    let spools = runners
        .iter()
        .map(|runner| runner.state_dir().join("spool"));
    let files = spools.flat_map(|spool| std::fs::read_dir(spool).unwrap());
    files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "json")
        })
        .count()
}

#[tokio::test]
async fn fault_twenty_scripts_end_on_three_runners_while_the_broker_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut nats = Nats::start().await;
    let lease = if is_soak() { "30s" } else { "3s" };
    let options = ["--nats-url", &nats.url(), "--lease", lease];
    let coordinator = Coordinator::start_with(&options).await;
    let runners = runners(&coordinator, folder.path()).await;
    let schema = json!({"type": "object", "properties": {"n": {}, "times": {}, "dir": {}}});
    let script = json!({"script_content": WORKS, "parameters_schema": schema});
    coordinator.script("work", &script).await;
    let mut runs = BTreeMap::new();
    for n in 1..=RUNS {
        let parameters = json!({"n": n, "times": times(n), "dir": folder.path()});
        runs.insert(coordinator.request("work", parameters).await, n);
    }
    eventually("all have started", async || {
        (started(folder.path()) == RUNS as usize).then_some(())
    })
    .await;
    for run in runs.keys() {
        coordinator.reaches(run, "running").await;
    }

    nats.kill();
    let begun = Instant::now();
    std::fs::write(folder.path().join("go"), "").unwrap();
    eventually("every result is kept on a disk", async || {
        (kept(&runners) == RUNS as usize).then_some(())
    })
    .await;
    let away = Duration::from_secs(if is_soak() { 60 } else { 6 });
    tokio::time::sleep(away.saturating_sub(begun.elapsed())).await;
    nats.start_again().await;

    for (run, n) in &runs {
        let ended = coordinator.ends(run).await;
        assert_eq!(ended["status"], "completed", "{ended:.1000}");
        assert!(ended["result_data"] == expected(*n), "the result of {n}");
        assert_eq!(ended["attempt"], 1);
        let logs = coordinator.get(&format!("/runs/{run}/logs")).await.body;
        let chunks = logs["chunks"].as_array().unwrap().iter();
        let remarks = chunks.filter(|chunk| chunk["stream"] == "stderr");
        let remarks: String = remarks
            .map(|chunk| chunk["text"].as_str().unwrap())
            .collect();
        assert_eq!(remarks, format!("remark 1 of {n}\nremark 2 of {n}\n"));
    }
    assert_eq!(
        started(folder.path()),
        RUNS as usize,
        "nothing started twice"
    );
    eventually("what was kept goes", async || {
        (kept(&runners) == 0).then_some(())
    })
    .await;
}
