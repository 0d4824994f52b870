//! What should not happen, and does: foreign and malformed messages on our subjects, a change that only a
//! newer coordinator can read, an older state of the broker's store under a newer read model, a stream or
//! the read model's folder deleted under way, a full disk. Each is counted and shown; nothing crashes, nothing is
//! passed over in silence, and no answer is wrong.

use events::log::Log as _;
use events::subject::Stream;
use nix::sys::signal::Signal;
use schemas::Digest;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::oracle;
use tests::process::{Process, binary, path_with_tools};
use tests::runner::Settings;

async fn quarantined(coordinator: &Coordinator) -> u64 {
    let status = coordinator.get("/status").await.body;
    status["projection"]["quarantined"].as_u64().unwrap()
}

/// The text of what `doctor` has to say of one thing, where something is wrong with it.
async fn doctor(coordinator: &Coordinator, check: &str) -> Option<String> {
    let report = coordinator.get("/doctor").await.body;
    let findings = report["findings"].as_array()?.iter();
    let mut wrong =
        findings.filter(|finding| finding["check"] == check && finding["severity"] != "ok");
    Some(wrong.next()?["text"].as_str()?.to_owned())
}

#[tokio::test]
async fn messages_that_are_not_ours_are_counted_and_the_others_go_on() {
    let nats = Nats::start().await;
    let mut coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", "echo hello\n").await;
    let first = coordinator.request("says", json!({})).await;
    coordinator.ends(&first).await;
    let lane = coordinator.get("/lanes").await.body[0]["lane"]
        .as_str()
        .unwrap()
        .to_owned();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(plain);
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let foreign = [
        ("catalog.script.says".to_owned(), "garbage".to_owned()),
        ("catalog.nonsense.x".to_owned(), "{}".to_owned()),
        (format!("run.{lane}.{first}.requested"), "{}".to_owned()),
        (
            format!("run.{lane}.run_0000000000000001.host-9"),
            deep.clone(),
        ),
        ("run.x.y.z".to_owned(), String::new()),
        ("runner.host-9".to_owned(), "\u{0}\u{1}".to_owned()),
        ("runner.host-9.other".to_owned(), "{}".to_owned()),
        ("history.says".to_owned(), "[]".to_owned()),
        (format!("lane.{lane}.script.says"), "nonsense".to_owned()),
        (format!("output.{lane}.{first}.host-9"), deep),
    ];
    for (subject, payload) in &foreign {
        let stored = context
            .publish(subject.clone(), payload.clone().into())
            .await
            .unwrap();
        stored
            .await
            .unwrap_or_else(|error| panic!("{subject}: {error}"));
    }
    // All but those of the two streams that no read model follows.
    let counted = foreign.len() as u64 - 2;
    eventually("each is counted", async || {
        (quarantined(&coordinator).await == counted).then_some(())
    })
    .await;
    let told = doctor(&coordinator, "log").await.unwrap();
    assert!(
        told.contains(&format!("{counted} messages were skipped")),
        "{told}"
    );

    let change = json!({"script_content": "echo changed\n"});
    let patched = coordinator
        .send(reqwest::Method::PATCH, "/scripts/says", Some(change))
        .await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let next = coordinator.request("says", json!({})).await;
    let ended = coordinator.ends(&next).await;
    assert_eq!(ended["result_data"]["stdout"], "changed\n", "{ended:#}");
    assert_eq!(coordinator.run(&first).await["status"], "completed");
    let logs = coordinator.get(&format!("/runs/{next}/logs")).await;
    assert_eq!(logs.status, 200, "{logs:?}");
    assert_eq!(quarantined(&coordinator).await, counted);

    coordinator.kill();
    fs::remove_dir_all(coordinator.data_dir().join("projection")).unwrap();
    coordinator.start_again().await;
    assert_eq!(
        quarantined(&coordinator).await,
        counted,
        "read again, the same is skipped"
    );
    assert_eq!(coordinator.get("/scripts/says").await.body["version"], 2);
    drop(runner);
}

/// Continues the chain, as one of us would.
async fn append_to_catalog(nats: &Nats, subject: &str, event: Value) -> u64 {
    let connection = oracle::connect(&nats.url()).await;
    let last = connection
        .last(Stream::Catalog, Stream::Catalog.subjects())
        .await
        .unwrap();
    let envelope = json!({
        "id": "0198a0c0-0000-7000-8000-000000000001", "at": "2026-11-20T12:00:00Z",
        "actor": {"name": "newer", "via": "http"},
        "previous": last.map(|last| Digest::of(&last.payload)),
        "event": event,
    });
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(plain);
    let payload = envelope.to_string().into();
    let stored = context.publish(subject.to_owned(), payload).await.unwrap();
    stored.await.unwrap().sequence
}

#[tokio::test]
async fn beside_a_newer_coordinator_the_older_one_reads_on_and_decides_nothing() {
    let nats = Nats::start().await;
    let mut older = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    older.bash("says", "echo hello\n").await;
    // A field more than we know changes nothing for us.
    let shown = older.get("/scripts/says").await.body;
    let connection = oracle::connect(&nats.url()).await;
    let created = oracle::all(&connection, Stream::Catalog).await;
    let mut event: Value = serde_json::from_slice(&created[0].payload).unwrap();
    let event = event["event"].as_object_mut().unwrap();
    event.insert("type".to_owned(), "script_changed".into());
    event.insert("version".to_owned(), 2.into());
    event.insert("sealed_by".to_owned(), "somebody".into());
    append_to_catalog(&nats, "catalog.script.says", json!(event)).await;
    eventually("the change is seen", async || {
        let now = older.get("/scripts/says").await.body;
        (now["version"] == 2 && now["digest"] == shown["digest"]).then_some(())
    })
    .await;
    assert_eq!(quarantined(&older).await, 0);

    let event = json!({"type": "script_sealed", "name": "says", "until": "2027-01-01"});
    let sequence = append_to_catalog(&nats, "catalog.script.says", event).await;
    eventually("it is counted", async || {
        (quarantined(&older).await == 1).then_some(())
    })
    .await;
    for start in ["live", "after a start"] {
        let script = json!({"name": "next", "description": "", "script_file": "s.sh", "script_content": "true\n"});
        let refused = older.post("/scripts", script).await;
        assert_eq!(refused.refusal(), (409, "outdated_coordinator"), "{start}");
        let told = doctor(&older, "version").await.unwrap();
        assert!(
            told.contains(&format!("(CATALOG {sequence})")),
            "{start}: {told}"
        );
        assert_eq!(older.get("/scripts/says").await.status, 200);
        older.kill();
        older.start_again().await;
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success());
}

async fn ended_in_order(coordinator: &mut Coordinator) {
    coordinator.process().signal(Signal::SIGTERM);
    eventually("it ends", async || coordinator.process().exited()).await;
}

#[tokio::test]
async fn an_older_store_that_was_put_back_is_read_anew_also_where_it_has_grown_since() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("first", "echo first\n").await;
    ended_in_order(&mut coordinator).await;
    let store = coordinator.data_dir().join("broker/store");
    let (old, projection) = (
        tempfile::tempdir().unwrap(),
        coordinator.data_dir().join("projection"),
    );
    copy(&store, &old.path().join("store"));
    coordinator.start_again().await;
    coordinator.bash("lost", "echo lost\n").await;
    ended_in_order(&mut coordinator).await;
    // The newer read model, as it was when the store was put back.
    copy(&projection, &old.path().join("projection"));
    fs::remove_dir_all(&store).unwrap();
    copy(&old.path().join("store"), &store);
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts/lost").await.status, 404);
    for name in ["a", "b", "c"] {
        coordinator.bash(name, &format!("echo {name}\n")).await;
    }
    ended_in_order(&mut coordinator).await;
    // As if it had grown under another coordinator.
    fs::remove_dir_all(&projection).unwrap();
    copy(&old.path().join("projection"), &projection);
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts/lost").await.status, 404);
    for name in ["first", "a", "b", "c"] {
        assert_eq!(
            coordinator.get(&format!("/scripts/{name}")).await.status,
            200,
            "{name}"
        );
    }
    assert_eq!(quarantined(&coordinator).await, 0);
}

#[tokio::test]
async fn a_stream_that_is_deleted_under_way_is_missed_and_made_again_by_the_next_start() {
    let nats = Nats::start().await;
    let mut coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("says", "echo hello\n").await;
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(plain);
    context.delete_stream(Stream::Catalog.name()).await.unwrap();

    let told = doctor(&coordinator, "streams").await.unwrap();
    assert!(told.contains("the broker has no CATALOG"), "{told}");
    assert_eq!(coordinator.get("/scripts/says").await.status, 200);
    let change = json!({"description": "changed"});
    let patch = reqwest::Method::PATCH;
    let refused = coordinator.send(patch, "/scripts/says", Some(change)).await;
    assert_eq!(refused.refusal(), (503, "broker_unavailable"));

    ended_in_order(&mut coordinator).await;
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts").await.body, json!([]));
    assert_eq!(doctor(&coordinator, "streams").await, None);
    coordinator.bash("says", "echo hello\n").await;
    assert_eq!(quarantined(&coordinator).await, 0);
}

#[tokio::test]
async fn a_read_model_that_is_deleted_under_way_costs_no_answer() {
    let mut coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", "echo hello\n").await;
    fs::remove_dir_all(coordinator.data_dir().join("projection")).unwrap();
    let told = doctor(&coordinator, "read model").await.unwrap();
    assert!(told.contains("was deleted"), "{told}");
    for name in ["a", "b"] {
        coordinator.bash(name, &format!("echo {name}\n")).await;
        let run = coordinator.request(name, json!({})).await;
        assert_eq!(coordinator.ends(&run).await["status"], "completed");
    }
    coordinator.kill();
    coordinator.start_again().await;
    let scripts = coordinator.get("/scripts").await.body;
    assert_eq!(scripts.as_array().unwrap().len(), 3, "{scripts:#}");
    assert_eq!(doctor(&coordinator, "read model").await, None);
}

#[tokio::test]
async fn a_read_model_that_is_damaged_is_built_anew() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("says", "echo hello\n").await;
    for damage in ["", "not what it was"] {
        ended_in_order(&mut coordinator).await;
        let projection = coordinator.data_dir().join("projection");
        for entry in fs::read_dir(&projection).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::write(path, damage).unwrap();
            }
        }
        coordinator.start_again().await;
        assert_eq!(
            coordinator.get("/scripts/says").await.status,
            200,
            "{damage:?}"
        );
    }
}

/// A coordinator whose data folder stands on a small disk of its own, which this process sees through
/// the other's root.
fn cramped(folder: &Path, port: u16) -> (Process, PathBuf) {
    let unshare = [&["-m"][..], &["-Urm"]].into_iter().find(|flags| {
        let probe = ["mount", "-t", "tmpfs", "tmpfs", folder.to_str().unwrap()];
        let tried = Command::new("unshare").args(*flags).args(probe).output();
        tried.is_ok_and(|output| output.status.success())
    });
    let mut command = Command::new("unshare");
    command
        .args(unshare.unwrap())
        .args([
            "sh",
            "-c",
            "mount -t tmpfs -o size=24m tmpfs \"$0\" && exec \"$@\"",
        ])
        .arg(folder)
        .arg(binary("coordinator"))
        .args([
            "serve",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--data-dir",
        ])
        .arg(folder)
        .env("PATH", path_with_tools())
        .stdin(Stdio::null());
    let process = Process::start("coordinator", &mut command);
    let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
    let inside = root.join(folder.strip_prefix("/").unwrap());
    (process, inside)
}

/// As much as the disk takes. Nobody holds the file open afterwards, so that deleting it makes room.
fn fill(filler: &Path) {
    let mut zeros = Command::new("head");
    zeros
        .args(["-c", "100m", "/dev/zero"])
        .stderr(Stdio::null());
    zeros.stdout(fs::File::create(filler).unwrap());
    zeros.status().unwrap();
}

#[tokio::test]
#[cfg_attr(not(mounts), ignore = "this user may not mount a disk")]
async fn a_full_disk_refuses_changes_and_all_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let port = tests::nats::free_port();
    let (_process, inside) = cramped(folder.path(), port);
    startup::trust::install();
    let client = reqwest::Client::new();
    let url = format!("http://127.0.0.1:{port}");
    let token = eventually("it has come up", async || {
        client.get(format!("{url}/health")).send().await.ok()?;
        fs::read_to_string(inside.join("admin.token")).ok()
    })
    .await;
    let create = async |name: &str, bytes: usize| {
        // Nothing that could be packed.
        let noise: String = (0..bytes)
            .map(|_| char::from(rand::random_range(b' '..b'~')))
            .collect();
        let script = json!({"name": name, "description": "", "script_file": "s.sh", "script_content": noise});
        let request = client
            .post(format!("{url}/scripts"))
            .bearer_auth(token.trim());
        let answer = request.json(&script).send().await.unwrap();
        answer.status().as_u16()
    };
    let get = async |path: &str| {
        let request = client.get(format!("{url}{path}")).bearer_auth(token.trim());
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(create("before", 200_000).await, 201);
    let filler = inside.join("filler");
    fill(&filler);
    let refused = create("during", 200_000).await;
    assert!([503, 507].contains(&refused), "{refused}");
    assert_eq!(
        get("/scripts/before").await["name"],
        "before",
        "reads go on"
    );
    let report = get("/doctor").await;
    let mut findings = report["findings"].as_array().unwrap().iter();
    let disk = findings
        .rfind(|finding| finding["check"] == "disk")
        .unwrap();
    assert_eq!(disk["severity"], "failure", "{report:#}");
    fs::remove_file(&filler).unwrap();
    eventually("changes are taken again", async || {
        let status = create("after", 1_000).await;
        // Stored with an answer that was lost, it is there.
        [201, 409].contains(&status).then_some(())
    })
    .await;
    assert_eq!(get("/scripts/before").await["name"], "before");
    assert_eq!(get("/status").await["projection"]["quarantined"], 0);
}
