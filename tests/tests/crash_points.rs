//! A runner that is killed between any two steps of an update, with its own binary: what it leaves is
//! the old version or the new one, whole; and when it is there again, its folder is what the log says.
//! Needs to trace a process of its own; where this user may not, they are reported as ignored.

use nix::sys::signal::Signal;
use rstest::rstest;
use schemas::Digest;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::eventually::eventually;
use tests::hand::{Hand, bundle, runner_named};
use tests::nats::Nats;
use tests::process::binary;
use tests::runner::{Runner, Settings};
use tests::steps::Stepped;

/// No update has that many steps; one that does would never end the story.
const STEPS_MAX: usize = 200;

/// Beside it stands `script.json`, so a bundle can be half there.
fn content(version: u32) -> String {
    format!("echo version {version}\n")
}

struct World {
    nats: Nats,
    hand: Hand,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let hand = Hand::on(&nats).await;
        let folder = tempfile::tempdir().unwrap();
        Self { nats, hand, folder }
    }

    fn scripts(&self) -> PathBuf {
        self.folder.path().join("scripts")
    }

    fn runner(&self, id: &str) -> Runner {
        let settings = Settings {
            project_dir: Some(self.folder.path().to_owned()),
            // It is started again and again, and only has to be there.
            options: ["--allow-interpreters", "bash", "--no-sandbox"]
                .map(str::to_owned)
                .into(),
            ..Settings::default()
        };
        runner_named(&self.nats, id, settings)
    }

    async fn publish(&self, version: u32) -> Digest {
        let bundle = bundle("greet", &content(version));
        events::log::Bundles::put(&self.hand.connection, bundle.bytes.into())
            .await
            .unwrap();
        self.hand
            .want("greet", bundle.digest, version, u64::from(version))
            .await;
        bundle.digest
    }

    /// What the script says now, if it is whole.
    fn says(&self) -> Option<String> {
        let script = self.scripts().join("greet");
        script.join("script.json").exists().then_some(())?;
        fs::read_to_string(script.join("greet.sh")).ok()
    }

    /// The link leads to it, and nothing else is there.
    fn holds_only(&self, digest: &Digest) -> bool {
        let target = format!(".bundles/{}", digest.hex());
        let link = fs::read_link(self.scripts().join("greet"));
        let there = names(&self.scripts().join(".bundles"));
        link.is_ok_and(|link| link == Path::new(&target)) && there == [digest.hex()].into()
    }

    async fn converges(&self, digest: &Digest) {
        eventually("the folder is what the log says", async || {
            self.holds_only(digest).then_some(())
        })
        .await;
        let mut verify = Command::new(binary("runner"));
        verify
            .args(["verify", "--project-dir"])
            .arg(self.folder.path());
        assert!(verify.output().unwrap().status.success());
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Waits until the runner was killed on its way to this version; `false` if it came to its end.
async fn dies(world: &World, stepped: &Stepped, version: u32, digest: &Digest) -> bool {
    eventually("it dies, or is done", async || {
        (stepped.is_over() || world.holds_only(digest)).then_some(())
    })
    .await;
    let died = stepped.is_over();
    let says = world.says();
    let whole = [content(version), content(version - 1)].map(Some);
    assert!(whole.contains(&says), "on the way to {version}: {says:?}");
    died
}

/// The steps are shared among four stories, which take place side by side.
#[rstest]
#[tokio::test]
#[cfg_attr(not(traces), ignore = "this user may not trace a process")]
async fn a_runner_may_be_killed_between_any_two_steps_of_an_update(
    #[values(1, 2, 3, 4)] begin: usize,
) {
    let world = World::start().await;
    let first = world.publish(1).await;
    let mut runner = world.runner("alone");
    world.converges(&first).await;
    for (version, step) in (2..).zip((begin..STEPS_MAX).step_by(4)) {
        let stepped = Stepped::before(runner.process(), step, &world.scripts());
        let digest = world.publish(version).await;
        if !dies(&world, &stepped, version, &digest).await {
            runner.process().signal(Signal::SIGKILL);
            assert!(stepped.count() > 10, "an update is more than that");
            return;
        }
        assert_eq!(stepped.count(), step);
        runner.start_again();
        world.converges(&digest).await;
    }
    panic!("the update never ended");
}

/// The other waits while the first is at work, and goes on when it is dead: it needs no word from it.
#[rstest]
#[tokio::test]
#[cfg_attr(not(traces), ignore = "this user may not trace a process")]
async fn who_shares_the_folder_goes_on_whatever_the_dead_one_left(
    #[values(1, 2, 3, 4)] begin: usize,
) {
    let world = World::start().await;
    let first = world.publish(1).await;
    let mut victim = world.runner("victim");
    let mut other = world.runner("other");
    world.converges(&first).await;
    eventually("both need it", async || {
        (names(&world.scripts().join(".owners")).len() == 2).then_some(())
    })
    .await;
    for (version, step) in (2..).zip((begin..STEPS_MAX).step_by(4)) {
        pause(&world, &mut other);
        let stepped = Stepped::before(victim.process(), step, &world.scripts());
        let digest = world.publish(version).await;
        // As long as the other has not said that it needs the new one, the old one stays.
        let target = format!(".bundles/{}", digest.hex());
        eventually("it dies, or is done", async || {
            let linked = fs::read_link(world.scripts().join("greet"));
            let done = linked.is_ok_and(|link| link == Path::new(&target));
            (done || stepped.is_over()).then_some(())
        })
        .await;
        let died = stepped.is_over();
        other.process().signal(Signal::SIGCONT);
        eventually("the other has the new version", async || {
            (world.says()? == content(version)).then_some(())
        })
        .await;
        if !died {
            victim.process().signal(Signal::SIGKILL);
            assert!(stepped.count() > 10, "an update is more than that");
            return;
        }
        victim.start_again();
        world.converges(&digest).await;
    }
    panic!("the update never ended");
}

/// Not while it holds the folder: nobody else could work then.
fn pause(world: &World, runner: &mut Runner) {
    let lock = fs::File::open(world.scripts().join(".lock")).unwrap();
    lock.lock().unwrap();
    runner.process().signal(Signal::SIGSTOP);
}
