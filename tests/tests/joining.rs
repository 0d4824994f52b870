//! How a coordinator and a runner come to their broker and to each other, and what they say when
//! they cannot: addresses, tokens, folders, brokers that are away, old, closed or without streams.

use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::{Nats, free_port};
use tests::process::{Process, binary, path_with_tools, tool};
use tests::runner::{Runner, Settings};

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It ended with this code and says all of this on stderr.
fn ends(output: &Output, code: i32, says: &[&str]) {
    let told = told(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for part in says {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

fn serve(nats_url: &str, data_dir: &Path) -> Output {
    Command::new(binary("coordinator"))
        .args(["serve", "--listen", "127.0.0.1:0", "--nats-url", nats_url])
        .arg("--data-dir")
        .arg(data_dir)
        .env("PATH", path_with_tools())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A nats-server with these options, once it listens.
async fn server(port: u16, options: &[&str]) -> Process {
    let mut command = Command::new(tool("nats-server"));
    command
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = Process::start("nats-server", &mut command);
    eventually("the broker listens", async || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;
    process
}

/// Says what an old nats-server says when somebody comes, and answers pings.
fn old_server(version: &'static str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut writing = connection.try_clone().unwrap();
            let info = json!({
                "server_id": "X", "server_name": "old", "version": version, "proto": 1, "go": "", "client_id": 1,
                "host": "127.0.0.1", "port": 4222, "headers": true, "max_payload": 1_048_576, "jetstream": true,
            });
            let _ = write!(writing, "INFO {info}\r\n");
            for line in BufReader::new(connection).lines().map_while(Result::ok) {
                if line.starts_with("PING") {
                    let _ = write!(writing, "PONG\r\n");
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn a_broker_that_will_not_do_is_named_with_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let url = |port: u16| format!("nats://127.0.0.1:{port}");
    let nobody = url(free_port());
    ends(
        &serve(&nobody, data.path()),
        1,
        &[&nobody, "cannot be reached"],
    );
    let old = url(old_server("2.11.9"));
    ends(
        &serve(&old, data.path()),
        1,
        &[&old, "nats-server 2.11.9", "2.12.0", "Upgrade"],
    );
    let port = free_port();
    let _closed = server(port, &["--user", "a", "--pass", "b"]).await;
    ends(
        &serve(&url(port), data.path()),
        1,
        &[&url(port), "does not accept our credentials"],
    );
    let port = free_port();
    let _plain = server(port, &[]).await;
    ends(
        &serve(&url(port), data.path()),
        1,
        &["streams cannot be made ready", "jetstream"],
    );
    ends(
        &serve("localhost:4222", data.path()),
        1,
        &["nats://HOST:PORT"],
    );
}

fn runner(options: &[&str], token: Option<&str>) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("runner"));
    command
        .arg("start")
        .args(options)
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", path_with_tools())
        .stdin(Stdio::null());
    if let Some(token) = token {
        command.env("COORDINATOR_TOKEN", token);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn a_runner_says_what_it_cannot_start_with() {
    for (options, says) in [
        (&["--project-dir", "/no/such/folder"][..], "/no/such/folder"),
        (&["--tags", "host:web1"], "host:web1"),
        (&["--tags", "a b"], "a b"),
        (&["--max-runs", "0"], "--max-runs"),
        (&["--pass-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
        (&["--ca", "/no/such/ca.pem"], "/no/such/ca.pem"),
        (
            &["--config", "/no/such/runner.toml"],
            "/no/such/runner.toml",
        ),
        (&["--log", "loud=="], "not a filter"),
        (&["--coordinator", "nats://ops:4222"], "http://HOST:PORT"),
        (&["--coordinator", ""], "--coordinator"),
    ] {
        ends(&runner(options, None), 2, &[says]);
    }
}

#[tokio::test]
async fn a_runner_without_the_token_is_not_let_in() {
    let coordinator = Coordinator::start().await;
    let options = ["--coordinator", &coordinator.url()];
    for token in [None, Some("wrong")] {
        let output = runner(&options, token);
        ends(&output, 4, &["does not accept the token", "--token"]);
    }
    assert_eq!(
        coordinator.get("/runners").await.body,
        json!({"runners": []})
    );
}

#[tokio::test]
async fn an_address_needs_no_scheme() {
    let coordinator = Coordinator::start().await;
    let before = coordinator.online().await;
    let settings = coordinator.settings(Settings::default());
    let bare = settings.coordinator.replace("http://", "");
    let _runner = Runner::start(Settings {
        coordinator: bare,
        ..settings
    });
    coordinator.more_online_than(before).await;
}

#[tokio::test]
async fn a_runner_that_never_joined_waits_for_its_coordinator() {
    let nats = Nats::start().await;
    let mut coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("a", "echo 1\n").await;
    let settings = coordinator.settings(Settings::default());
    coordinator.kill();
    let mut runner = Runner::start(settings);
    assert_eq!(runner.process().exited(), None);
    coordinator.start_again().await;
    coordinator.more_online_than(0).await;
    let id = coordinator.request("a", json!({})).await;
    assert_eq!(coordinator.ends(&id).await["result_data"], 1);
}

#[tokio::test]
async fn two_runners_do_not_share_a_state_folder() {
    let coordinator = Coordinator::start().await;
    let first = coordinator.runner(Settings::default()).await;
    let state = first.state_dir();
    let options = [
        "--coordinator",
        &coordinator.url(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let second = runner(&options, Some(&coordinator.token()));
    ends(
        &second,
        1,
        &["another runner", state.to_str().unwrap(), "--state-dir"],
    );
    assert_eq!(coordinator.online().await, 1);
}

#[tokio::test]
async fn a_second_runner_of_one_id_is_refused_while_the_first_is_alive() {
    let coordinator = Coordinator::start_with(&["--lease", "3s"]).await;
    let named = || Settings {
        options: vec!["--runner-id".to_owned(), "web".to_owned()],
        ..Settings::default()
    };
    let mut first = coordinator.runner(named()).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let (project, state) = (elsewhere.path().to_str().unwrap(), folder("state"));
    let url = coordinator.url();
    let options = [
        "--coordinator",
        &url,
        "--runner-id",
        "web",
        "--project-dir",
        project,
        "--state-dir",
        &state,
    ];
    let second = runner(&options, Some(&coordinator.token()));
    let place = first.project_dir();
    ends(
        &second,
        1,
        &["web is at work on", place.to_str().unwrap(), "--runner-id"],
    );
    // In its own place it is itself, also a moment after a `kill -9`.
    first.kill();
    first.start_again();
    coordinator.bash("a", "echo 1\n").await;
    let id = coordinator.request("a", json!({})).await;
    assert_eq!(coordinator.ends(&id).await["result_data"], 1);
    // Once it counts as gone, another may have its id.
    first.kill();
    tests::eventually::eventually("it counts as gone", async || {
        (coordinator.online().await == 0).then_some(())
    })
    .await;
    let _second = coordinator.runner(named()).await;
}
