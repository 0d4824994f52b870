//! `coordinator doctor` says the truth of a system that is well, of one that is half broken, and of one
//! that is dead; each finding has the command that repairs it.

use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

fn doctor(coordinator: &Coordinator, more: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = coordinator.cli(&[&["doctor"], more].concat());
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// But for the disk of the machine that the story is told on, which is not the story's.
fn is_well(coordinator: &Coordinator) -> bool {
    let (code, wrong) = doctor(coordinator, &["-q"]);
    match wrong.as_str() {
        "" => code == Some(0),
        wrong => code == Some(1) && wrong == "disk\n",
    }
}

/// The findings of one check that are no `ok`.
fn wrong(report: &Value, check: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let wrong = findings.filter(|finding| finding["check"] == check && finding["severity"] != "ok");
    wrong
        .map(|finding| finding["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn of_a_system_that_is_well() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", "echo hello\n").await;
    // A folder that somebody has made keeps its mode until it is asked for.
    let (_, told) = doctor(&coordinator, &["--fix"]);
    assert!(is_well(&coordinator), "{told}");
    assert!(
        told.contains("one copy, forced to the disk every second"),
        "{told}"
    );
    assert!(
        told.contains("ok       log          every message"),
        "{told}"
    );
    let report = coordinator.get("/doctor").await;
    let findings = report.body["findings"].as_array().unwrap().iter();
    let mut rest = findings.filter(|finding| finding["check"] != "disk");
    assert!(
        rest.all(|finding| finding["severity"] == "ok"),
        "{:#}",
        report.body
    );
}

#[tokio::test]
async fn of_a_half_broken_one() {
    let mut nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url(), "--lease", "3s"]).await;
    let mut runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", "echo hello\n").await;
    runner.kill();
    let report = async || coordinator.get("/doctor").await.body;
    eventually("the silent runner is told", async || {
        wrong(&report().await, "runners").pop()
    })
    .await;
    let waits = coordinator.request("says", json!({})).await;
    let lanes = wrong(&report().await, "lanes");
    assert!(lanes[0].contains("1 runs wait"), "{lanes:?}");

    // Somebody who does not keep to our rules.
    let plain = async_nats::connect(nats.url()).await.unwrap();
    plain
        .publish("runner.host-9", "hello".into())
        .await
        .unwrap();
    plain.flush().await.unwrap();
    let log = eventually("the foreign message is told", async || {
        wrong(&report().await, "log").pop()
    })
    .await;
    assert!(
        log.contains("1 messages were skipped") && log.contains("(runner.host-9)"),
        "{log}"
    );

    let token = coordinator.data_dir().join("admin.token");
    fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
    let (code, told) = doctor(&coordinator, &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("others may reach") && told.contains("chmod 600"),
        "{told}"
    );
    let (code, told) = doctor(&coordinator, &["--fix"]);
    assert_eq!(code, Some(1), "the runner is still silent: {told}");
    assert!(!told.contains("others may reach"), "{told}");
    let mode = fs::metadata(&token).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    nats.kill();
    let broker = eventually("the lost broker is told", async || {
        wrong(&report().await, "broker").pop()
    })
    .await;
    assert!(broker.contains("is away"), "{broker}");
    let (code, told) = doctor(&coordinator, &[]);
    assert!(
        code == Some(1) && told.contains("nats-server -c nats.conf"),
        "{told}"
    );
    nats.start_again().await;
    eventually("it is well again", async || {
        wrong(&report().await, "broker").is_empty().then_some(())
    })
    .await;
    assert_eq!(coordinator.run(&waits).await["status"], "pending");
}

#[tokio::test]
async fn of_a_dead_one() {
    let mut coordinator = Coordinator::start().await;
    let elsewhere = coordinator.cli(&["doctor", "--url", "http://127.0.0.1:9"]);
    let told = String::from_utf8_lossy(&elsewhere.stdout);
    assert_eq!(elsewhere.status.code(), Some(3), "{elsewhere:?}");
    assert!(
        told.contains("a coordinator holds the data folder, but does not answer"),
        "{told}"
    );
    assert!(
        told.contains("something listens on the embedded broker's port"),
        "{told}"
    );
    coordinator.kill();
    let told = eventually("the broker has gone with it", async || {
        let (code, told) = doctor(&coordinator, &[]);
        assert_eq!(code, Some(3), "{told}");
        told.contains("the embedded broker is not running")
            .then_some(told)
    })
    .await;
    assert!(
        told.contains("no coordinator runs on this data folder"),
        "{told}"
    );
    assert!(told.contains("try: coordinator serve"), "{told}");
    let nowhere = coordinator.cli(&["doctor", "--data-dir", "/no/such/folder", "-o", "json"]);
    let report: Value = serde_json::from_slice(&nowhere.stdout).unwrap();
    assert_eq!(report["worst"], "failure");
    assert!(
        wrong(&report, "data folder")[0].contains("no coordinator was ever started"),
        "{report:#}"
    );
    coordinator.start_again().await;
    assert!(is_well(&coordinator));
}
