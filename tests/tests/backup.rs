//! A backup is taken while the system is in use, and what was acknowledged before it began is in it; put
//! into an empty system it is the same system, and goes on. What is not whole is refused before anything
//! is written, and a restore that was interrupted says so until it is repeated.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::process::{binary, path_with_tools};
use tests::runner::Settings;

const SAYS: &str = "echo '{\"said\": \"'$2'\"}'\n";

fn backup(coordinator: &Coordinator, file: &Path) -> Value {
    let file = file.to_str().unwrap();
    let output = coordinator.cli(&["backup", file, "--overwrite", "-o", "json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn restore_command(file: &Path, data_dir: &Path) -> Command {
    let mut command = Command::new(binary("coordinator"));
    command
        .arg("restore")
        .arg(file)
        .arg("--data-dir")
        .arg(data_dir)
        .env("PATH", path_with_tools())
        .stdin(Stdio::null());
    command
}

fn restore(file: &Path, data_dir: &Path) -> Output {
    restore_command(file, data_dir).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn restored(file: &Path) -> Coordinator {
    let folder = tempfile::tempdir().unwrap();
    let output = restore(file, folder.path());
    assert!(output.status.success(), "{output:?}");
    Coordinator::start_in(folder, &[], &[]).await
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coordinator.backup");
    (folder, file)
}

/// A system with a little of everything; its runner has carried out one run.
async fn lived_in() -> (Coordinator, String) {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", SAYS).await;
    let changed = json!({"description": "changed", "script_content": SAYS});
    let patched = coordinator
        .send(reqwest::Method::PATCH, "/scripts/says", Some(changed))
        .await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let run = coordinator.request("says", json!({"word": "hello"})).await;
    assert_eq!(coordinator.ends(&run).await["status"], "completed");
    drop(runner);
    (coordinator, run)
}

#[tokio::test]
async fn a_restored_system_is_the_same_and_goes_on() {
    let (coordinator, run) = lived_in().await;
    let (_place, file) = place();
    let saved = backup(&coordinator, &file);
    assert_eq!(saved["streams"].as_array().unwrap().len(), 7, "{saved:#}");
    let again = restored(&file).await;
    for path in [
        "/scripts",
        "/scripts/says",
        "/scripts/says/versions",
        "/agents/says",
        "/runs",
        &format!("/runs/{run}"),
        &format!("/runs/{run}/logs"),
    ] {
        let (before, after) = (coordinator.get(path).await, again.get(path).await);
        assert_eq!(before.status, 200, "{path}: {before:?}");
        assert_eq!(before.body, after.body, "{path}");
    }
    let (before, after) = (
        coordinator.get("/status").await.body,
        again.get("/status").await.body,
    );
    assert_eq!(before["projection"], after["projection"]);
    assert_eq!(after["projection"]["quarantined"], 0, "the chain holds");
    let _runner = again.runner(Settings::default()).await;
    let next = again.request("says", json!({"word": "again"})).await;
    let ended = again.ends(&next).await;
    assert_eq!(ended["result_data"], json!({"said": "again"}), "{ended:#}");
    again.bash("later", "echo later\n").await;
    assert_eq!(
        again.get("/status").await.body["projection"]["quarantined"],
        0
    );
}

#[tokio::test]
async fn what_was_acknowledged_before_it_began_is_in_it_while_everybody_goes_on() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", SAYS).await;
    let (_place, file) = place();
    let done = AtomicBool::new(false);
    let load = async {
        let mut number = 0;
        while !done.load(Ordering::Relaxed) {
            number += 1;
            coordinator
                .bash(&format!("s{number}"), &format!("echo {number}\n"))
                .await;
            coordinator
                .request("says", json!({"word": number.to_string()}))
                .await;
        }
    };
    let story = async {
        eventually("there is some load", async || {
            (coordinator.get("/scripts").await.body.as_array()?.len() > 10).then_some(())
        })
        .await;
        let scripts = coordinator.get("/scripts").await.body;
        let runs = coordinator.get("/runs?limit=1000").await.body;
        let command = coordinator.cli_command(&["backup", file.to_str().unwrap()]);
        let output = tokio::process::Command::from(command)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        done.store(true, Ordering::Relaxed);
        (scripts, runs)
    };
    let ((), (scripts, runs)) = tokio::join!(load, story);
    let again = restored(&file).await;
    for script in scripts.as_array().unwrap() {
        let path = format!("/scripts/{}", script["name"].as_str().unwrap());
        assert_eq!(again.get(&path).await.status, 200, "{path}");
    }
    for run in runs["runs"].as_array().unwrap() {
        let path = format!("/runs/{}", run["run_id"].as_str().unwrap());
        assert_eq!(again.get(&path).await.status, 200, "{path}");
    }
    assert_eq!(
        again.get("/status").await.body["projection"]["quarantined"],
        0
    );
    let _runner = again.runner(Settings::default()).await;
    let last = again.request("says", json!({"word": "last"})).await;
    assert_eq!(again.ends(&last).await["status"], "completed");
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused_and_nothing_is_overwritten() {
    let (coordinator, _run) = lived_in().await;
    let (folder, file) = place();
    backup(&coordinator, &file);
    let there = coordinator.cli(&["backup", file.to_str().unwrap()]);
    assert_eq!(there.status.code(), Some(1));
    assert!(told(&there).contains("is there already"), "{there:?}");

    let whole = fs::read(&file).unwrap();
    let cut = folder.path().join("cut");
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let changed = folder.path().join("changed");
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let foreign = folder.path().join("foreign");
    fs::write(&foreign, "hello").unwrap();
    for (name, why) in [
        (&cut, "is cut off"),
        (&changed, "was changed"),
        (&foreign, "is no backup"),
        (&folder.path().join("missing"), "cannot read"),
    ] {
        let data = folder.path().join("data");
        let output = restore(name, &data);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(told(&output).contains(why), "{output:?}");
        assert!(!data.exists(), "nothing is begun");
        let check = coordinator.cli(&["backup", name.to_str().unwrap(), "--check"]);
        assert_eq!(check.status.code(), Some(1), "{check:?}");
    }

    let mut coordinator = coordinator;
    coordinator.kill();
    let occupied = restore(&file, coordinator.data_dir());
    assert_eq!(occupied.status.code(), Some(1), "{occupied:?}");
    assert!(
        told(&occupied).contains("there is a system already"),
        "{occupied:?}"
    );
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts/says").await.status, 200);
}

#[tokio::test]
async fn a_restore_that_was_killed_says_so_until_it_is_repeated() {
    let (coordinator, run) = lived_in().await;
    let (_place, file) = place();
    backup(&coordinator, &file);
    let data = tempfile::tempdir().unwrap();
    let mut command = restore_command(&file, data.path());
    command.stderr(Stdio::piped());
    let mut restoring = command.spawn().unwrap();
    let lines = BufReader::new(restoring.stderr.take().unwrap()).lines();
    let begun = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("LANES"));
    assert!(begun);
    restoring.kill().unwrap();
    restoring.wait().unwrap();

    let mut serve = Command::new(binary("coordinator"));
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .env("PATH", path_with_tools())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let refused = serve.output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        told(&refused).contains("did not come to its end"),
        "{refused:?}"
    );

    let repeated = restore(&file, data.path());
    assert!(repeated.status.success(), "{repeated:?}");
    assert!(told(&repeated).contains("beginning anew"), "{repeated:?}");
    let again = Coordinator::start_in(data, &[], &[]).await;
    assert_eq!(again.run(&run).await["status"], "completed");
}

#[tokio::test]
async fn a_backup_that_breaks_off_leaves_no_file() {
    let (mut coordinator, _run) = lived_in().await;
    let (folder, file) = place();
    coordinator.kill();
    let output = coordinator.cli(&["backup", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let nowhere = folder.path().join("no/such/folder.backup");
    let output = coordinator.cli(&["backup", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told(&output).contains("cannot write"), "{output:?}");
}
