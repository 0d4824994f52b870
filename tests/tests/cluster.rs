//! From one server to three, as the README has it: backup, new cluster, restore. What cannot be is refused
//! with the reason, and what would cost everything is not begun.

use events::log::jetstream::STREAMS;
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::cluster::Cluster;
use tests::coordinator::Coordinator;
use tests::eventually::{eventually, within};
use tests::nats::Nats;
use tests::oracle;
use tests::process::{binary, path_with_tools};
use tests::runner::Settings;

/// Three servers on a busy machine start and elect; nothing is measured by this.
const ELECTED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn from_one_server_to_three_by_backup_and_restore() {
    let (alone, place) = (Coordinator::start().await, tempfile::tempdir().unwrap());
    alone.bash("says", "echo hello\n").await;
    let file = place.path().join("coordinator.backup");
    let saved = alone.cli(&["backup", file.to_str().unwrap()]);
    assert!(saved.status.success(), "{saved:?}");

    let cluster = Cluster::start().await;
    let data = tempfile::tempdir().unwrap();
    let url = cluster.url();
    let options = ["--nats-url", url.as_str(), "--replicas", "3"];
    let mut restore = Command::new(binary("coordinator"));
    restore
        .arg("restore")
        .arg(&file)
        .arg("--data-dir")
        .arg(data.path())
        .args(options)
        .stdin(Stdio::null());
    let restored = restore.output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let coordinator = Coordinator::start_in(data, &[], &options).await;
    let connection = oracle::connect(&url).await;
    let facts = connection.all_stream_facts().await.unwrap();
    let replicas: Vec<usize> = facts.iter().map(|facts| facts.replicas).collect();
    assert_eq!(replicas, [3; STREAMS.len()]);
    let _runner = coordinator.runner(Settings::default()).await;
    let run = coordinator.request("says", json!({})).await;
    let ended = coordinator.ends(&run).await;
    assert_eq!(ended["result_data"]["stdout"], "hello\n", "{ended:#}");
    let (before, after) = (
        alone.get("/scripts").await,
        coordinator.get("/scripts").await,
    );
    assert_eq!(before.body, after.body);
}

#[tokio::test]
async fn copies_that_the_broker_cannot_keep_are_refused_with_the_reason() {
    let nats = Nats::start().await;
    let refused = |options: &[&str]| {
        let data = tempfile::tempdir().unwrap();
        let mut serve = Command::new(binary("coordinator"));
        serve
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path())
            .args(options)
            .env("PATH", path_with_tools())
            .stdin(Stdio::null());
        let output = serve.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    };
    let (code, told) = refused(&["--nats-url", &nats.url(), "--replicas", "3"]);
    assert!(code == Some(1) && told.contains("stands alone"), "{told}");
    let (code, told) = refused(&["--replicas", "2"]);
    assert!(
        code == Some(2) && told.contains("write 1, 3 or 5"),
        "{told}"
    );
    let cluster = Cluster::start().await;
    let connection = oracle::connect(&cluster.url()).await;
    within(ELECTED_WITHIN, "the cluster has a leader", async || {
        connection.all_stream_facts().await.ok()
    })
    .await;
    let (code, told) = refused(&["--nats-url", &cluster.url(), "--replicas", "5"]);
    assert!(
        code == Some(1) && told.contains("fewer than 5 servers"),
        "{told}"
    );
}

/// What BROKER.md warns of, as a coordinator sees it: its broker became a cluster, and is empty.
#[tokio::test]
async fn a_cluster_that_has_lost_everything_is_not_begun_anew_in_silence() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("says", "echo hello\n").await;
    eventually("the read model has it", async || {
        let status = coordinator.get("/status").await.body;
        (status["projection"]["lag"] == 0).then_some(())
    })
    .await;
    coordinator
        .process()
        .signal(nix::sys::signal::Signal::SIGTERM);
    eventually("it ends", async || coordinator.process().exited()).await;
    let local = coordinator.data_dir().join("broker/local.conf");
    let text = std::fs::read_to_string(&local).unwrap();
    std::fs::write(&local, format!("{text}cluster {{\n  name: x\n}}\n")).unwrap();
    let cluster = Cluster::start().await;
    let mut serve = Command::new(binary("coordinator"));
    serve
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--nats-url",
            &cluster.url(),
        ])
        .arg("--data-dir")
        .arg(coordinator.data_dir())
        .stdin(Stdio::null());
    let output = serve.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("take the block out"), "{told}");
    assert!(told.contains("a cluster block beside the store"), "{told}");
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts/says").await.status, 200);
}
