//! What is kept, and for how long: settings of `serve` that hold for streams that are there already, shown
//! in `status`; room that is left for runs at work when the rest is full; and bundles that nobody needs.

use bytes::Bytes;
use coordinator::app::{App, Broker, Defaults};
use coordinator::reactors::collect_bundles;
use events::log::jetstream::Connection;
use events::log::{BundleError, Bundles as _};
use events::subject::BUNDLES_STREAM;
use events::{Actor, Timestamp, Via};
use schemas::bundle::Folder;
use schemas::{Digest, ScriptDocument};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tests::coordinator::Coordinator;
use tests::nats::Nats;
use tests::oracle;
use tests::process::{Process, binary};
use tests::runner::Settings;

async fn kept(coordinator: &Coordinator, stream: &str) -> (Value, Value) {
    let status = coordinator.get("/status").await.body;
    let streams = status["streams"].as_array().unwrap();
    let stream = streams
        .iter()
        .find(|known| known["name"] == stream)
        .unwrap();
    (stream["kept_seconds"].clone(), stream["max_bytes"].clone())
}

#[tokio::test]
async fn what_is_set_holds_for_streams_that_are_there_and_stays_until_it_is_set_again() {
    let nats = Nats::start().await;
    let url = nats.url();
    let mut coordinator = Coordinator::start_with(&["--nats-url", &url]).await;
    assert_eq!(
        kept(&coordinator, "RUNS").await,
        (json!(30 * 86_400), Value::Null)
    );
    assert_eq!(
        kept(&coordinator, "CATALOG").await,
        (Value::Null, Value::Null)
    );
    coordinator.bash("says", "echo hello\n").await;
    coordinator.kill();
    let options = [
        "--nats-url",
        &url,
        "--runs-kept",
        "7d",
        "--runs-max-size",
        "1GiB",
        "--output-kept",
        "12h",
        "--output-max-size",
        "1MiB",
        "--runners-kept",
        "52w",
    ];
    coordinator.set_options(&options);
    coordinator.start_again().await;
    let set = [
        ("RUNS", json!(7 * 86_400), json!(1 << 30)),
        ("OUTPUT", json!(12 * 3_600), json!(1 << 20)),
        ("RUNNERS", json!(52 * 7 * 86_400), Value::Null),
    ];
    for (stream, age, bytes) in &set {
        assert_eq!(
            &kept(&coordinator, stream).await,
            &(age.clone(), bytes.clone())
        );
    }
    let shown = coordinator.cli(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("runs 7d, 0 B of 1.0 GiB"), "{shown}");

    let other = Coordinator::start_with(&["--nats-url", &url]).await;
    for (stream, age, bytes) in &set {
        assert_eq!(
            &kept(&other, stream).await,
            &(age.clone(), bytes.clone()),
            "not said"
        );
    }
    let data = tempfile::tempdir().unwrap();
    let mut shorter = Command::new(binary("coordinator"));
    shorter
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--nats-url",
            &url,
            "--runs-kept",
            "1d",
        ])
        .arg("--data-dir")
        .arg(data.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut shorter = Process::start("coordinator", &mut shorter);
    let lines = BufReader::new(shorter.stderr()).lines();
    let warned = lines
        .map_while(Result::ok)
        .any(|line| line.contains("for a shorter time"));
    assert!(warned);
}

/// Waits in its run until it is let go.
const WAITS: &str = "while [ ! -e go ]; do sleep 0.05; done; echo done\n";

#[tokio::test]
async fn at_nine_tenths_new_runs_are_refused_and_those_at_work_end() {
    let coordinator = Coordinator::start_with(&["--runs-max-size", "1MiB"]).await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("waits", WAITS).await;
    let at_work = coordinator.request("waits", json!({})).await;
    coordinator.reaches(&at_work, "running").await;
    let large = json!({"agent_name": "waits", "parameters": {"text": "x".repeat(40_000)}});
    let refused = tests::eventually::eventually("it is full", async || {
        let answer = coordinator.post("/runs", large.clone()).await;
        (answer.status != 201).then_some(answer)
    })
    .await;
    assert_eq!(refused.refusal(), (507, "nearly_full"), "{refused:?}");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("RUNS is 9") && detail.contains("no new run"),
        "{detail}"
    );
    let run = coordinator.cli(&["agent", "run", "waits", "-p", "text=a"]);
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.code() == Some(1) && told.contains("--runs-max-size"),
        "{told}"
    );
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    let ended = coordinator.ends(&at_work).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");

    let mut coordinator = coordinator;
    coordinator.kill();
    coordinator.set_options(&["--runs-max-size", "8MiB"]);
    coordinator.start_again().await;
    let answer = coordinator.post("/runs", large).await;
    assert_eq!(answer.status, 201, "there is room again");
}

/// A coordinator's inside, without its doors and reactors.
async fn app(connection: &Connection, data: &std::path::Path) -> App {
    let broker = Broker {
        log: Arc::new(connection.clone()),
        bundles: Arc::new(connection.clone()),
        wire: Arc::new(connection.clone()),
        storage: Arc::new(connection.clone()),
    };
    let store = data.join("projection");
    let opened = App::open(broker, &store, Defaults::default());
    opened.await.unwrap()
}

fn folder(name: &str) -> Folder {
    let document = json!({"name": name, "description": "", "script_file": "s.sh"});
    let document = ScriptDocument::from_value(document).unwrap();
    let file = schemas::bundle::File::executable(format!("echo {name}\n"));
    Folder::script(&document, [("s.sh".parse().unwrap(), file)]).unwrap()
}

#[tokio::test]
async fn bundles_that_no_change_refers_to_go_after_a_while_and_others_stay_for_ever() {
    let (nats, data) = (Nats::start().await, tempfile::tempdir().unwrap());
    let connection = oracle::connect(&nats.url()).await;
    let settings = events::log::jetstream::StreamSettings::default();
    events::log::jetstream::ensure_streams(&connection, settings)
        .await
        .unwrap();
    let app = app(&connection, data.path()).await;
    let actor = Actor::new("story", Via::Http);
    let mut digests: Vec<Digest> = Vec::new();
    for name in ["kept", "deleted"] {
        let written = app.create_script(&actor, folder(name)).await.unwrap();
        digests.push(written.now.entry.current.digest);
    }
    app.delete_script(&actor, &"deleted".parse().unwrap())
        .await
        .unwrap();
    let orphan = connection
        .put(Bytes::from_static(b"nobody's"))
        .await
        .unwrap();
    // What a killed upload leaves.
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(plain);
    let chunk = context
        .publish("$O.BUNDLES.C.half", "half".into())
        .await
        .unwrap();
    chunk.await.unwrap();

    let young = collect_bundles(&app, Duration::from_secs(3_600))
        .await
        .unwrap();
    assert_eq!(young, Default::default(), "an upload may be in progress");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let collected = collect_bundles(&app, Duration::ZERO).await.unwrap();
    assert_eq!(
        (collected.bundles, collected.bytes, collected.remains),
        (1, 8, 1)
    );
    let gone = connection.get(&orphan).await;
    assert!(matches!(gone, Err(BundleError::Missing(_))), "{gone:?}");
    for digest in &digests {
        connection.get(digest).await.unwrap();
    }
    let facts = connection
        .stream_facts(BUNDLES_STREAM)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        facts.messages, 4,
        "a record and a chunk of each that is kept"
    );
    assert!(facts.first_at.unwrap() <= Timestamp::now());
}
