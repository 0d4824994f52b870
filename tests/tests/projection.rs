//! The read model is a cache: deleted, damaged or of another broker's log, it is rebuilt, and the
//! answers are the same byte for byte. What happened while the coordinator was away is in them.

use nix::sys::signal::Signal;
use serde_json::json;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

/// What a reader sees, as it was sent.
async fn answers(coordinator: &Coordinator, runs: &[String]) -> Vec<(String, String)> {
    let fixed = ["/scripts", "/scripts/b", "/agents", "/agents/b", "/runs"];
    let runs = runs
        .iter()
        .flat_map(|id| [format!("/runs/{id}"), format!("/runs/{id}/logs")]);
    let mut answers = Vec::new();
    for path in fixed.into_iter().map(str::to_owned).chain(runs) {
        let request = coordinator.http(reqwest::Method::GET, &path);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answers.push((path, answer.text().await.unwrap()));
    }
    answers
}

/// Scripts and agents that were made, changed and deleted; runs that ended well, badly, by a stop.
async fn some_history(coordinator: &Coordinator) -> Vec<String> {
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("a", "echo '{\"a\": 1}'\n").await;
    coordinator.bash("b", "exit 3\n").await;
    coordinator.bash("gone", "true\n").await;
    let change = json!({"description": "changed"});
    coordinator
        .send(reqwest::Method::PATCH, "/scripts/b", Some(change))
        .await;
    let mut runs = Vec::new();
    for agent in ["a", "b", "a"] {
        let id = coordinator.request(agent, json!({"n": 1})).await;
        coordinator.ends(&id).await;
        runs.push(id);
    }
    for path in ["/agents/gone", "/scripts/gone"] {
        assert_eq!(
            coordinator
                .send(reqwest::Method::DELETE, path, None)
                .await
                .status,
            204
        );
    }
    drop(runner);
    let waiting = coordinator.request("a", json!({})).await;
    coordinator
        .post(&format!("/runs/{waiting}/stop"), json!({}))
        .await;
    runs.push(waiting);
    runs
}

async fn terminated(coordinator: &mut Coordinator) {
    coordinator.process().signal(Signal::SIGTERM);
    eventually("the coordinator ends", async || {
        coordinator.process().exited()
    })
    .await;
}

fn projection(coordinator: &Coordinator) -> PathBuf {
    coordinator.data_dir().join("projection")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, mut found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}

/// What is done to the folder while nobody holds it.
type Spoil = fn(&Path);

/// Bytes that no program has written, over the beginning, the middle and the end.
fn damage(file: &Path) {
    let length = file.metadata().unwrap().len();
    let open = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    for at in [0, length / 2, length.saturating_sub(64)] {
        open.write_all_at(&[0xa5; 64], at).unwrap();
    }
}

#[tokio::test]
async fn whatever_happens_to_it_the_answers_stay() {
    let mut coordinator = Coordinator::start().await;
    let runs = some_history(&coordinator).await;
    let before = answers(&coordinator, &runs).await;
    let spoil: [(&str, Spoil); 8] = [
        ("nothing happens", |_| {}),
        ("it is deleted", |folder| {
            std::fs::remove_dir_all(folder).unwrap();
        }),
        ("its files are damaged", |folder| {
            files(folder).iter().for_each(|file| damage(file));
        }),
        ("its rows are damaged", |folder| damage(&folder.join("db"))),
        ("its rows are scrambled", |folder| {
            // Swapped in place, so that what is there looks written.
            let mut bytes = std::fs::read(folder.join("db")).unwrap();
            bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            std::fs::write(folder.join("db"), bytes).unwrap();
        }),
        ("its files are empty", |folder| {
            files(folder)
                .iter()
                .for_each(|file| std::fs::write(file, "").unwrap());
        }),
        ("its files are cut", |folder| {
            for file in files(folder) {
                let open = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
                open.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }
        }),
        ("it is a file", |folder| {
            std::fs::remove_dir_all(folder).unwrap();
            std::fs::write(folder, "no folder").unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        terminated(&mut coordinator).await;
        spoil(&projection(&coordinator));
        coordinator.start_again().await;
        assert_eq!(answers(&coordinator, &runs).await, before, "{what}");
    }
    coordinator.kill();
    coordinator.start_again().await;
    assert_eq!(answers(&coordinator, &runs).await, before, "it was killed");
}

#[tokio::test]
async fn what_happened_while_it_was_away_is_seen_after() {
    let nats = Nats::start().await;
    let mut coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let runner = coordinator.runner(Settings::default()).await;
    let waits =
        "while [ ! -e go ]; do sleep 0.05; done; echo $RUN_ID; echo $RUN_ID > ran-$RUN_ID\n";
    coordinator.bash("waits", waits).await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(coordinator.request("waits", json!({})).await);
    }
    coordinator.reaches(&runs[0], "running").await;
    coordinator.kill();
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    // More than run at once: the broker alone hands out the rest.
    eventually("all have run without a coordinator", async || {
        let ran = |id: &String| runner.project_dir().join(format!("ran-{id}")).exists();
        runs.iter().all(ran).then_some(())
    })
    .await;
    coordinator.start_again().await;
    for id in &runs {
        let run = coordinator.ends(id).await;
        assert_eq!(run["status"], "completed", "{run:#}");
        assert_eq!(run["result_data"]["stdout"], format!("{id}\n"));
    }
}

#[tokio::test]
async fn a_data_folder_follows_the_broker_it_is_given() {
    let (first, second) = (Nats::start().await, Nats::start().await);
    let mut coordinator = Coordinator::start_with(&["--nats-url", &first.url()]).await;
    coordinator.bash("old", "true\n").await;
    let id = coordinator.request("old", json!({})).await;
    let before = coordinator.get("/scripts").await.body;
    coordinator.kill();
    coordinator.set_options(&["--nats-url", &second.url()]);
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts").await.body, json!([]));
    assert_eq!(coordinator.get(&format!("/runs/{id}")).await.status, 404);
    coordinator.bash("new", "true\n").await;
    coordinator.kill();
    coordinator.set_options(&["--nats-url", &first.url()]);
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts").await.body, before);
    assert_eq!(coordinator.run(&id).await["status"], "pending");
}

#[tokio::test]
async fn a_read_model_that_another_process_holds_is_left_alone_and_named() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("a", "true\n").await;
    terminated(&mut coordinator).await;
    let db = projection(&coordinator).join("db");
    let held = std::fs::OpenOptions::new().write(true).open(&db).unwrap();
    let held = nix::fcntl::Flock::lock(held, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let folder = coordinator.data_dir().to_str().unwrap().to_owned();
    let refused = coordinator.cli(&["serve", "--data-dir", &folder, "--listen", "127.0.0.1:0"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{told}");
    assert!(told.contains("is in use by another process"), "{told}");
    drop(held);
    coordinator.start_again().await;
    assert_eq!(coordinator.get("/scripts/a").await.status, 200);
}
