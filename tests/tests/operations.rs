//! The goal: a coordinator that is told to end does so at once, whoever waits on it; and its log can be read by
//! programs, with levels by module.

use reqwest::Method;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{Process, binary, path_with_tools};

#[tokio::test]
async fn open_waits_and_streams_end_with_the_coordinator() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("waits", "sleep 60\n").await;
    // Nobody executes it, so nothing but the end answers a wait.
    let id = coordinator.request("waits", serde_json::json!({})).await;
    let mut streams = Vec::new();
    for path in [
        "/events".to_owned(),
        format!("/runs/{id}/logs"),
        "/audit/export?follow=true".to_owned(),
    ] {
        let request = coordinator.http(Method::GET, &path);
        let opened = request
            .header("accept", "text/event-stream")
            .send()
            .await
            .unwrap();
        assert!(opened.status().is_success(), "{path}: {opened:?}");
        streams.push(tokio::spawn(opened.bytes()));
    }
    let wait = coordinator.http(Method::GET, &format!("/runs/{id}?wait=60s"));
    let wait = tokio::spawn(async move { wait.send().await.unwrap().status() });
    // It is being answered once a later request has been.
    let status = coordinator.get("/status").await;
    assert_eq!(status.status, 200);
    coordinator
        .process()
        .signal(nix::sys::signal::Signal::SIGTERM);
    let ended = eventually("the coordinator has ended", async || {
        coordinator.process().exited()
    })
    .await;
    assert!(ended.success(), "{ended}");
    for stream in streams {
        // Ended in order: the body came to its end instead of breaking.
        stream.await.unwrap().unwrap();
    }
    assert_eq!(
        wait.await.unwrap(),
        200,
        "a wait is answered with what there is"
    );
}

#[tokio::test]
async fn a_log_for_programs_has_levels_by_module() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(binary("coordinator"));
    command
        .args(["serve", "--log-format", "json"])
        .args(["--log", "info,coordinator::http=debug"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .arg("--data-dir")
        .arg(folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env("PATH", path_with_tools())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = Process::start("coordinator", &mut command);
    let lines = BufReader::new(process.stderr()).lines();
    let told = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    startup::trust::install();
    let client = reqwest::Client::new();
    eventually("it answers", async || {
        let url = format!("http://127.0.0.1:{port}/healthz");
        client
            .get(url)
            .header("x-request-id", "mine")
            .send()
            .await
            .ok()
    })
    .await;
    process.signal(nix::sys::signal::Signal::SIGTERM);
    let lines = told.join().unwrap();
    let records = lines
        .iter()
        .filter(|line| !line.starts_with("listening on"));
    let records: Vec<Value> = records
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let debug = records.iter().filter(|record| record["level"] == "DEBUG");
    let modules: Vec<&str> = debug
        .filter_map(|record| record["target"].as_str())
        .collect();
    assert!(!modules.is_empty(), "{lines:?}");
    assert!(
        modules
            .iter()
            .all(|module| module.starts_with("coordinator::http")),
        "{modules:?}"
    );
}
