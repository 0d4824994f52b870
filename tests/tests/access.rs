//! Who may do what: tokens over several coordinators, runners that join with a token that is good
//! once, come back by their own key, and are shut out; TLS, and what is refused at start.

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use tests::coordinator::{Answer, Coordinator};
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::process::{binary, path_with_tools};
use tests::runner::{Runner, Settings};

/// A token of this role, by its text.
async fn token(coordinator: &Coordinator, role: &str) -> String {
    let made = coordinator.post("/tokens", json!({"role": role})).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["token"].as_str().unwrap().to_owned()
}

async fn asked(coordinator: &Coordinator, token: &str, path: &str) -> u16 {
    let request = coordinator.stranger(Method::GET, path).bearer_auth(token);
    let answer = Answer::of(request.send().await.unwrap()).await.unwrap();
    answer.status.as_u16()
}

fn named(id: &str, coordinator: &Coordinator, token: Option<String>) -> Settings {
    Settings {
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        token,
        coordinator: coordinator.url(),
        ..Settings::default()
    }
}

async fn runs(coordinator: &Coordinator, agent: &str) {
    let id = coordinator.request(agent, json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run}");
}

/// Resolves with the exit code.
async fn ended(runner: &mut Runner) -> Option<i32> {
    eventually("the runner has ended", async || runner.process().exited())
        .await
        .code()
}

#[tokio::test]
async fn a_runner_joins_once_with_a_token_and_then_comes_back_by_its_key() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("a", "echo 1\n").await;
    let once = token(&coordinator, "runner").await;
    let settings = named("web", &coordinator, Some(once.clone()));
    let mut runner = Runner::start(settings);
    coordinator.more_online_than(0).await;
    runs(&coordinator, "a").await;

    let mut other = Runner::start(named("db", &coordinator, Some(once)));
    assert_eq!(ended(&mut other).await, Some(4));

    // The broker goes with its coordinator, and knows the runner when it is there again.
    coordinator.kill();
    coordinator.start_again().await;
    runs(&coordinator, "a").await;
    // Also where nobody kept a list: the log says it.
    coordinator.kill();
    std::fs::remove_file(coordinator.data_dir().join("broker/runners.json")).unwrap();
    std::fs::remove_dir_all(coordinator.data_dir().join("projection")).unwrap();
    coordinator.start_again().await;
    runs(&coordinator, "a").await;

    // Without any token: its key lets it in.
    runner.kill();
    let mut settings = named("web", &coordinator, None);
    settings.options.push("--data-dir".to_owned());
    settings.options.push("/no/such/folder".to_owned());
    runner.start_again_as(settings);
    runs(&coordinator, "a").await;
    let access = coordinator.get("/runners/web").await.body["access"].clone();
    assert!(
        access["joined_at"].is_string() && access["revoked_at"].is_null(),
        "{access}"
    );
}

#[tokio::test]
async fn who_is_shut_out_is_cut_off_and_needs_a_new_token() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("a", "echo 1\n").await;
    let admin = Some(coordinator.token());
    let mut runner = Runner::start(named("web", &coordinator, admin.clone()));
    let _other = Runner::start(named("db", &coordinator, admin));
    coordinator.more_online_than(1).await;

    let revoked = coordinator.cli(&["runner", "revoke", "web"]);
    assert!(revoked.status.success(), "{revoked:?}");
    assert_eq!(ended(&mut runner).await, Some(4));
    // Neither its key nor the admin's token undo that.
    runner.start_again();
    assert_eq!(ended(&mut runner).await, Some(4));
    runs(&coordinator, "a").await;

    let once = token(&coordinator, "runner").await;
    runner.start_again_as(named("web", &coordinator, Some(once)));
    eventually("it is at work again", async || {
        let runner = coordinator.get("/runners/web").await.body;
        let back = runner["status"] == "online" && runner["access"]["revoked_at"].is_null();
        back.then_some(())
    })
    .await;
}

#[tokio::test]
async fn twenty_runners_join_at_once_and_disturb_nobody() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("a", "echo 1\n").await;
    let admin = Some(coordinator.token());
    let names: Vec<String> = (0..20).map(|number| format!("many-{number}")).collect();
    let runners: Vec<Runner> = names
        .iter()
        .map(|name| Runner::start(named(name, &coordinator, admin.clone())))
        .collect();
    coordinator.more_online_than(19).await;
    runs(&coordinator, "a").await;
    drop(runners);
}

#[tokio::test]
async fn every_coordinator_knows_every_token_and_forgets_it_at_once() {
    let nats = Nats::start().await;
    let url = nats.url();
    let one = Coordinator::start_with(&["--nats-url", &url]).await;
    let two = Coordinator::start_with(&["--nats-url", &url]).await;
    let viewer = token(&one, "viewer").await;
    eventually("the other knows it", async || {
        (asked(&two, &viewer, "/scripts").await == 200).then_some(())
    })
    .await;
    assert_eq!(asked(&two, &viewer, "/tokens").await, 403);
    let listed = two.get("/tokens").await.body["tokens"].clone();
    let name = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["role"] == "viewer");
    let name = name.unwrap()["name"].as_str().unwrap().to_owned();
    let revoked = two
        .send(Method::DELETE, &format!("/tokens/{name}"), None)
        .await;
    assert_eq!(revoked.status, 204);
    assert_eq!(asked(&two, &viewer, "/scripts").await, 401);
    eventually("the first has heard", async || {
        (asked(&one, &viewer, "/scripts").await == 401).then_some(())
    })
    .await;
    // The admin's token is a file, and each coordinator has its own.
    assert_eq!(asked(&two, &one.token(), "/scripts").await, 401);
}

/// What an operator installs, and what it lets a runner do, on a broker that knows no other user.
#[tokio::test]
async fn a_broker_of_ones_own_is_told_who_has_joined() {
    let coordinator = Coordinator::start().await;
    let admin = Some(coordinator.token());
    let _runner = Runner::start(named("web", &coordinator, admin));
    coordinator.more_online_than(0).await;
    let printed = coordinator.cli(&["broker", "config", "--print"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let installed = coordinator.data_dir().join("broker/accounts.conf");
    assert_eq!(printed, std::fs::read_to_string(installed).unwrap());
    assert!(printed.contains("run.*.*.web"), "{printed}");
}

#[tokio::test]
async fn without_tokens_existing_clients_come_in() {
    let coordinator = Coordinator::start_with(&["--no-auth"]).await;
    for path in ["/scripts", "/runs", "/tokens"] {
        let answer = coordinator
            .stranger(Method::GET, path)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let _runner = Runner::start(named("web", &coordinator, None));
    coordinator.more_online_than(0).await;
}

#[tokio::test]
async fn what_is_not_safe_is_refused_at_start() {
    for (options, says) in [
        (&["--listen", "0.0.0.0:0"][..], "--tls-cert"),
        (&["--no-auth", "--behind-proxy"], "--no-auth"),
        (
            &["--tls-cert", "/no/such.pem", "--tls-key", "/no/such.key"],
            "/no/such",
        ),
        (&["--tls-cert", "/no/such.pem"], "--tls-key"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(binary("coordinator"))
            .arg("serve")
            .args(options)
            .arg("--data-dir")
            .arg(folder.path())
            .env("PATH", path_with_tools())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(says), "{told}");
    }
}

/// Told by a process that ends in order: the runner has left, and stays a member.
#[tokio::test]
async fn who_leaves_in_order_is_still_a_member() {
    let coordinator = Coordinator::start().await;
    let mut runner = Runner::start(named("web", &coordinator, Some(coordinator.token())));
    coordinator.more_online_than(0).await;
    runner.process().signal(Signal::SIGTERM);
    assert_eq!(ended(&mut runner).await, Some(0));
    let access = coordinator.get("/runners/web").await.body["access"].clone();
    assert!(
        access["revoked_at"] == Value::Null && access["joined_at"].is_string(),
        "{access}"
    );
}
