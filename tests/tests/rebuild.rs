//! A runner's folder is what its lanes want, whatever was done to it: what can be put right is, what
//! is not ours stays untouched, what cannot be had is reported and tried again.

use events::Envelope;
use events::distribution::LaneEvent;
use events::log::{Bundles as _, Expect, Log as _};
use events::runner::{Holding, RunnerEvent};
use events::subject::{self, Stream};
use schemas::ScriptDocument;
use schemas::bundle::{Bundle, File, Folder};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::hand::{Hand, runner_alone};
use tests::nats::Nats;
use tests::process::{Process, binary};
use tests::runner::{Runner, Settings};

fn verified(project: &Path) -> Output {
    let project = project.to_str().unwrap();
    let mut command = Command::new(binary("runner"));
    command.args(["verify", "--project-dir", project]);
    command.output().unwrap()
}

async fn holds(runner: &Runner, name: &str, content: &str) {
    let file = runner
        .project_dir()
        .join(format!("scripts/{name}/{name}.sh"));
    eventually(&format!("{name} is as it should be"), async || {
        (fs::read_to_string(&file).ok()? == content).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_somebody_does_to_the_folder_is_put_right_by_itself() {
    let coordinator = Coordinator::start().await;
    let settings = Settings {
        options: ["--verify-seconds", "1"].map(str::to_owned).into(),
        ..Settings::default()
    };
    let runner = coordinator.runner(settings).await;
    for name in ["edited", "deleted", "swapped", "unlinked"] {
        coordinator.bash(name, &format!("echo {name}\n")).await;
        holds(&runner, name, &format!("echo {name}\n")).await;
    }
    let scripts = runner.project_dir().join("scripts");
    let good = verified(&runner.project_dir());
    assert!(good.status.success(), "{good:?}");
    let edited = fs::read_link(scripts.join("edited")).unwrap();
    // Theirs, and therefore left alone whatever happens.
    fs::create_dir(scripts.join("theirs")).unwrap();
    fs::write(scripts.join("theirs/notes.txt"), "mine").unwrap();
    fs::write(scripts.join("edited/edited.sh"), "echo evil\n").unwrap();
    fs::write(scripts.join("edited/added.sh"), "echo evil\n").unwrap();
    fs::remove_file(scripts.join("deleted/deleted.sh")).unwrap();
    fs::remove_file(scripts.join("swapped")).unwrap();
    symlink(&edited, scripts.join("swapped")).unwrap();
    fs::remove_file(scripts.join("unlinked")).unwrap();
    for name in ["edited", "deleted", "swapped", "unlinked"] {
        holds(&runner, name, &format!("echo {name}\n")).await;
    }
    eventually("what was added is gone", async || {
        (!scripts.join("edited/added.sh").exists()).then_some(())
    })
    .await;
    fs::remove_dir_all(&scripts).unwrap();
    holds(&runner, "edited", "echo edited\n").await;
    fs::create_dir(scripts.join("theirs")).unwrap();
    eventually("the host says that all is well", async || {
        verified(&runner.project_dir())
            .status
            .success()
            .then_some(())
    })
    .await;
    assert!(scripts.join("theirs").is_dir());
}

#[tokio::test]
async fn verify_says_what_is_wrong_while_no_runner_puts_it_right() {
    let coordinator = Coordinator::start().await;
    let mut runner = coordinator.runner(Settings::default()).await;
    for name in ["edited", "foreign"] {
        coordinator.bash(name, "echo 1\n").await;
        holds(&runner, name, "echo 1\n").await;
    }
    runner.kill();
    let scripts = runner.project_dir().join("scripts");
    fs::write(scripts.join("edited/edited.sh"), "echo 2\n").unwrap();
    fs::remove_file(scripts.join("foreign")).unwrap();
    fs::write(scripts.join("foreign"), "mine").unwrap();
    let output = verified(&runner.project_dir());
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("edited: changed") && told.contains("foreign: something"),
        "{told}"
    );
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(verified(nowhere.path()).status.code(), Some(2));
}

fn greet(content: &str) -> Bundle {
    let document = ScriptDocument::from_value(json!({
        "name": "greet", "description": "", "script_file": "greet.sh"
    }))
    .unwrap();
    let file = ("greet.sh".parse().unwrap(), File::executable(content));
    Folder::script(&document, [file]).unwrap().pack().unwrap()
}

/// What the runner says of its script now.
async fn said(hand: &Hand) -> Option<Holding> {
    let subject = subject::runner(&"alone".parse().unwrap());
    let messages = hand
        .connection
        .page(Stream::Runners, &subject, 1, 100)
        .await;
    let mut now = None;
    for message in messages.ok()? {
        let envelope = Envelope::<RunnerEvent>::from_bytes(&message.payload).unwrap();
        if let RunnerEvent::Synced { scripts, .. } = envelope.event {
            now = scripts.into_values().next().or(now);
        }
    }
    now
}

#[tokio::test]
async fn a_bundle_that_is_missing_is_reported_and_fetched_once_it_is_there() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let runner = runner_alone(&nats);
    let bundle = greet("echo 1\n");
    let sync = LaneEvent::Sync {
        script: "greet".parse().unwrap(),
        version: 3,
        digest: bundle.digest,
        size: 1,
        catalog_sequence: 1,
    };
    let subject = subject::lane_script(&hand.lane_tags.lane(), &"greet".parse().unwrap());
    hand.append(Stream::Lanes, subject, sync, Expect::Nothing)
        .await;
    eventually("the runner says what is missing", async || {
        let error = said(&hand).await?.error?;
        error.message.contains("not in the bucket").then_some(())
    })
    .await;
    hand.connection.put(bundle.bytes.into()).await.unwrap();
    holds(&runner, "greet", "echo 1\n").await;
    let held = eventually("the runner says that it has it", async || {
        let holding = said(&hand).await?;
        holding.held.filter(|_| holding.error.is_none())
    })
    .await;
    assert_eq!((held.digest, held.version), (bundle.digest, Some(3)));
}

/// A runner whose scripts stand on a disk of one mebibyte that is nearly full; none where this user
/// may not mount anything.
fn cramped(coordinator: &Coordinator, folder: &Path) -> Option<Process> {
    let scripts = folder.join("scripts");
    let state = folder.join("state");
    fs::create_dir(&scripts).unwrap();
    let unshare = [&["-m"][..], &["-Urm"]].into_iter().find(|flags| {
        let probe = ["mount", "-t", "tmpfs", "tmpfs", scripts.to_str().unwrap()];
        let tried = Command::new("unshare").args(*flags).args(probe).output();
        tried.is_ok_and(|output| output.status.success())
    })?;
    let mut command = Command::new("unshare");
    command
        .args(unshare)
        .args(["sh", "-c", "mount -t tmpfs -o size=1m tmpfs \"$0\" && head -c 800000 /dev/zero > \"$0/filler\" && exec \"$@\""])
        .arg(&scripts)
        .arg(binary("runner"))
        .args(["start", "--runner-id", "host-9", "--coordinator", &coordinator.url()])
        .arg("--project-dir")
        .arg(folder)
        .arg("--state-dir")
        .arg(&state)
        .env("COORDINATOR_TOKEN", coordinator.token())
        .env("PATH", tests::process::path_with_tools())
        .stdin(Stdio::null());
    Some(Process::start("runner", &mut command))
}

#[tokio::test]
#[cfg_attr(not(mounts), ignore = "this user may not mount a disk")]
async fn a_full_disk_is_reported_and_the_script_comes_when_there_is_room() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let runner = cramped(&coordinator, folder.path()).expect("the build found that we may mount");
    coordinator.more_online_than(0).await;
    let large = format!("# {}\necho 1\n", "large ".repeat(60_000));
    coordinator.bash("small", "echo 1\n").await;
    coordinator.bash("large", &large).await;
    let rollout = async |name: &str| {
        let path = format!("/scripts/{name}/rollout");
        coordinator.get(&path).await.body
    };
    let summary = eventually("the full disk is reported", async || {
        let summary = rollout("large").await["summary"].as_str()?.to_owned();
        summary.contains("host-9 disk full").then_some(summary)
    })
    .await;
    assert!(summary.starts_with("0/1"), "{summary}");
    eventually("what fits is there all the same", async || {
        (rollout("small").await["done"] == true).then_some(())
    })
    .await;
    // Its own view of the disk, from outside.
    let root = format!("/proc/{}/root", runner.pid());
    let scripts = folder.path().join("scripts");
    let inside = Path::new(&root).join(scripts.strip_prefix("/").unwrap());
    let unfinished = fs::read_dir(inside.join(".bundles")).unwrap();
    let left = unfinished.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".tmp")
    });
    assert!(left.count() <= 1, "what could not be finished piles up");
    fs::remove_file(inside.join("filler")).unwrap();
    eventually("the script comes by itself", async || {
        (rollout("large").await["done"] == true).then_some(())
    })
    .await;
}
