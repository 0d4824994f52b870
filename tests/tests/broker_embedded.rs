//! The broker that `coordinator serve` starts: one per data folder, gone with its coordinator, at
//! the same place with the same keys after a restart; and what is said where it cannot be.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{binary, path_with_tools};
use tests::runner::Settings;

/// `coordinator serve` that is expected to end by itself.
fn serve(data_dir: &Path, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(binary("coordinator"));
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--listen", &format!("127.0.0.1:{}", free_port())])
        .args(arguments)
        .env("PATH", path_with_tools())
        .stdin(Stdio::null());
    change(&mut command);
    command.output().unwrap()
}

/// It ended as refused, and says all of this on stderr.
fn refuses(output: &Output, says: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for part in says {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

fn lives(pid: i32) -> bool {
    // A zombie is gone, too: nobody has fetched its end yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_second_coordinator_on_one_data_folder_is_refused() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("a", "true\n").await;
    let second = serve(coordinator.data_dir(), &[], |_| {});
    let folder = coordinator.data_dir().to_str().unwrap();
    refuses(
        &second,
        &["in use by another coordinator", folder, "--data-dir"],
    );
    coordinator.bash("b", "true\n").await;
}

#[tokio::test]
async fn ports_in_use_are_named_and_nothing_is_started() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let mut command = Command::new(binary("coordinator"));
    let api = command
        .args(["serve", "--listen", &listen, "--data-dir"])
        .arg(data.path())
        .env("PATH", path_with_tools())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    refuses(
        &api,
        &[&format!("port {port} on 127.0.0.1 is in use"), "--listen"],
    );
    assert!(
        !data.path().join("broker/store").exists(),
        "the broker was not started"
    );
    let broker = serve(data.path(), &["--broker-port", &port], |_| {});
    refuses(
        &broker,
        &[&port, "in use by another program", "--broker-port"],
    );
    let same = serve(data.path(), &[], |command| {
        command.env("COORDINATOR_BROKER_PORT", &port);
    });
    refuses(&same, &[&port, "in use"]);
}

#[tokio::test]
async fn a_broker_that_is_too_old_or_nowhere_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("nats-server");
    std::fs::write(&old, "#!/bin/sh\necho 'nats-server: v2.10.7'\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    let given = ["--nats-server", old.to_str().unwrap()];
    let output = serve(&data, &given, |_| {});
    refuses(
        &output,
        &[
            "2.10.7 is too old",
            "2.12.0",
            old.to_str().unwrap(),
            "--fetch-broker",
        ],
    );

    // A copy: the program beside a `.tools` folder, as in this source tree, would find that.
    let alone = folder.path().join("coordinator");
    std::fs::copy(binary("coordinator"), &alone).unwrap();
    let tools = folder.path().join("tools");
    let output = Command::new(&alone)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("COORDINATOR_TOOLS", &tools)
        .env("PATH", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let fetched = data
        .canonicalize()
        .unwrap()
        .join("broker/dist/bin/nats-server");
    let places = [
        tools.join("bin/nats-server").display().to_string(),
        old.display().to_string(),
        fetched.display().to_string(),
    ];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let ways = [
        "PATH",
        ".tools",
        "--fetch-broker",
        "--nats-server",
        "--nats-url",
    ];
    refuses(&output, &[&places[..], &ways].concat());
}

#[tokio::test]
async fn a_killed_coordinator_takes_its_broker_along() {
    let mut coordinator = Coordinator::start().await;
    let broker = coordinator.broker_pid();
    assert!(lives(broker));
    coordinator.kill();
    eventually("the broker is gone", async || {
        (!lives(broker)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_a_restart_it_is_where_it_was_and_runners_come_back() {
    let mut coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("a", "echo 1\n").await;
    let place = async |coordinator: &Coordinator| {
        coordinator.get("/status").await.body["broker"]["url"].clone()
    };
    let keys = |coordinator: &Coordinator| {
        let key = coordinator.data_dir().join("broker").join("app.nk");
        std::fs::read_to_string(key).unwrap()
    };
    let seed = std::fs::read(runner.state_dir().join("nkey.seed")).unwrap();
    let membership = runner.state_dir().join("membership.json");
    let known: Value =
        serde_json::from_str(&std::fs::read_to_string(&membership).unwrap()).unwrap();
    let before = (
        place(&coordinator).await,
        keys(&coordinator),
        coordinator.token(),
    );
    let settings = tests::coordinator::Coordinator::settings(&coordinator, Settings::default());
    drop(runner);

    // A runner that is away from the coordinator: it knows the broker, and that has to do.
    coordinator.kill();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("state")).unwrap();
    std::fs::write(
        folder.path().join("state/membership.json"),
        known.to_string(),
    )
    .unwrap();
    std::fs::write(folder.path().join("state/nkey.seed"), seed).unwrap();
    let unreachable = Settings {
        coordinator: "http://127.0.0.1:9".to_owned(),
        ..settings
    };
    let _runner = tests::runner::Runner::start_in(unreachable, folder);
    coordinator.start_again().await;
    assert_eq!(
        (
            place(&coordinator).await,
            keys(&coordinator),
            coordinator.token()
        ),
        before
    );
    let id = coordinator.request("a", json!({})).await;
    assert_eq!(coordinator.ends(&id).await["result_data"], 1);
}

#[tokio::test]
async fn a_broker_that_hangs_is_said_to_be_away_and_comes_back() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("a", "echo 1\n").await;
    let broker = Pid::from_raw(coordinator.broker_pid());
    kill(broker, Signal::SIGSTOP).unwrap();
    let body = json!({"name": "x", "description": "", "type": "autonomous"});
    let answer = coordinator.post("/agents", body).await;
    assert_eq!(answer.refusal(), (503, "broker_unavailable"), "{answer:?}");
    assert_eq!(
        coordinator.get("/scripts/a").await.body["version"],
        1,
        "reads go on"
    );
    // Unless the coordinator has lost patience and started another one.
    let _ = kill(broker, Signal::SIGCONT);
    let id = eventually("a run is taken again", async || {
        let body = json!({"type": "start_session", "agent_name": "a", "parameters": {}});
        let answer = coordinator.post("/runs", body).await;
        answer.body["run_id"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(coordinator.ends(&id).await["result_data"], 1);
}
