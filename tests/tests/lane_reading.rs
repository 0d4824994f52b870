//! What a runner takes from `LANES`: all of a long lane, only what is stored, also what no live copy
//! told it of, and never an older decision after a newer one.

use async_nats::jetstream;
use events::distribution::LaneEvent;
use events::log::{Bundles as _, Expect, Log as _};
use events::subject::{self, Stream};
use futures::StreamExt as _;
use schemas::Digest;
use schemas::bundle::Bundle;
use std::fs;
use std::path::Path;
use tests::coordinator::Coordinator;
use tests::eventually::{eventually, within};
use tests::hand::{Hand, bundle, runner_alone, runner_named};
use tests::nats::Nats;
use tests::runner::{Runner, Settings};

/// More than one page of everybody who reads lanes.
const MANY: u32 = 1_500;
/// For work of that size on a busy machine.
const LONG: std::time::Duration = std::time::Duration::from_secs(240);

async fn stored(hand: &Hand, bundle: &Bundle) -> Digest {
    hand.connection
        .put(bundle.bytes.clone().into())
        .await
        .unwrap()
}

async fn greet(hand: &Hand, content: &str) -> Digest {
    stored(hand, &bundle("greet", content)).await
}

async fn says(runner: &Runner, content: &str) {
    let file = runner.project_dir().join("scripts/greet/greet.sh");
    eventually(&format!("greet is {content:?}"), async || {
        (fs::read_to_string(&file).ok()? == content).then_some(())
    })
    .await;
}

fn links(runner: &Runner) -> usize {
    let scripts = fs::read_dir(runner.project_dir().join("scripts"));
    let names = scripts
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    names.filter(|path| path.is_symlink()).count()
}

async fn has(runner: &Runner, count: usize) {
    within(LONG, &format!("there are {count} scripts"), async || {
        (links(runner) == count).then_some(())
    })
    .await;
}

/// By the runner and by the coordinator, each in pages.
#[tokio::test]
async fn a_lane_with_1500_scripts_is_read_to_its_end() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let digest = greet(&hand, "echo 1\n").await;
    let many: Vec<String> = (0..MANY).map(|number| format!("s-{number}")).collect();
    for name in &many {
        let script = name.parse().unwrap();
        let subject = subject::lane_script(&hand.lane_tags.lane(), &script);
        let sync = LaneEvent::Sync {
            script,
            version: 1,
            digest,
            size: 1,
            catalog_sequence: 1,
        };
        hand.append(Stream::Lanes, subject, sync, Expect::Nothing)
            .await;
    }
    let mut runner = runner_alone(&nats);
    has(&runner, many.len()).await;
    // The last one changes, on a page of its own, while nobody listens.
    runner.kill();
    let changed = greet(&hand, "echo 2\n").await;
    hand.want(many.last().unwrap(), changed, 2, 2).await;
    runner.start_again();
    let last = runner
        .project_dir()
        .join("scripts")
        .join(many.last().unwrap());
    eventually("the last script is the new one", async || {
        (fs::read_to_string(last.join("greet.sh")).ok()? == "echo 2\n").then_some(())
    })
    .await;
    // A coordinator finds all of them without a reason to be there.
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("wanted", "echo 1\n").await;
    coordinator.bash("other", "echo 1\n").await;
    has(&runner, 2).await;
    assert!(
        runner
            .project_dir()
            .join("scripts/wanted/wanted.sh")
            .exists()
    );
}

/// What plain subscribers of the stream's own subjects see, and what anybody says in the name of
/// republishing, is nothing that is stored.
#[tokio::test]
async fn what_the_stream_refused_is_not_acted_on() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let good = greet(&hand, "echo good\n").await;
    hand.want("greet", good, 1, 1).await;
    let runner = runner_alone(&nats);
    says(&runner, "echo good\n").await;
    let evil = greet(&hand, "echo evil\n").await;
    let lane = hand.lane_tags.lane();
    let script = "greet".parse().unwrap();
    let subject = subject::lane_script(&lane, &script);
    let stored = hand.connection.last(Stream::Lanes, &subject).await.unwrap();
    let text = String::from_utf8(stored.unwrap().payload.to_vec()).unwrap();
    let forged = text
        .replace(&good.to_string(), &evil.to_string())
        .replace("\"catalog_sequence\":1", "\"catalog_sequence\":9");
    assert_ne!(forged, text);
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut seen = client.subscribe(subject.clone()).await.unwrap();
    client.flush().await.unwrap();
    let mut outdated = async_nats::HeaderMap::new();
    outdated.insert("Nats-Expected-Last-Subject-Sequence", "0");
    let refused = jetstream::new(client.clone())
        .publish_with_headers(subject.clone(), outdated, forged.clone().into())
        .await;
    refused.unwrap().await.unwrap_err();
    assert_eq!(
        seen.next().await.unwrap().payload,
        forged.as_bytes(),
        "it was seen"
    );
    let live = subject::live(&subject);
    client.publish(live, forged.into()).await.unwrap();
    client.flush().await.unwrap();
    // What comes after it is taken, so the forged one was, too, and did nothing.
    let after = stored_as(&hand, "after").await;
    hand.want("after", after, 1, 2).await;
    let after = runner.project_dir().join("scripts/after");
    eventually("what is stored is acted on", async || {
        after.exists().then_some(())
    })
    .await;
    says(&runner, "echo good\n").await;
    let bundles = runner.project_dir().join("scripts/.bundles");
    assert!(
        !bundles.join(evil.hex()).exists(),
        "it was not even fetched"
    );
}

async fn stored_as(hand: &Hand, name: &str) -> Digest {
    stored(hand, &bundle(name, "echo 1\n")).await
}

/// Lets the broker store without telling, as where a copy is dropped on its way.
async fn republish(nats: &Nats, on: bool) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = jetstream::new(client);
    let stream = context.get_stream("LANES").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.republish = on.then(|| jetstream::stream::Republish {
        source: "lane.>".to_owned(),
        destination: "live.lane.>".to_owned(),
        headers_only: false,
    });
    context.update_stream(config).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_was_lost_is_made_up_for() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let digest = greet(&hand, "echo 1\n").await;
    hand.want("greet", digest, 1, 1).await;
    let settings = Settings {
        options: ["--verify-seconds", "1"].map(str::to_owned).into(),
        ..Settings::default()
    };
    let runner = runner_named(&nats, "alone", settings);
    says(&runner, "echo 1\n").await;
    // The last one of the lane: nothing comes after it that would show the gap.
    republish(&nats, false).await;
    let digest = greet(&hand, "echo 2\n").await;
    hand.want("greet", digest, 2, 2).await;
    says(&runner, "echo 2\n").await;
}

#[tokio::test]
async fn a_gap_shows_with_the_next_copy() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let digest = greet(&hand, "echo 1\n").await;
    hand.want("greet", digest, 1, 1).await;
    let runner = runner_alone(&nats);
    says(&runner, "echo 1\n").await;
    republish(&nats, false).await;
    let digest = greet(&hand, "echo 2\n").await;
    hand.want("greet", digest, 2, 2).await;
    republish(&nats, true).await;
    hand.want("other", stored_as(&hand, "other").await, 1, 3)
        .await;
    says(&runner, "echo 2\n").await;
}

#[tokio::test]
async fn what_happened_while_the_broker_was_gone_is_read_again() {
    let mut nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let digest = greet(&hand, "echo 1\n").await;
    let second = greet(&hand, "echo 2\n").await;
    hand.want("greet", digest, 1, 1).await;
    let mut runner = runner_alone(&nats);
    says(&runner, "echo 1\n").await;
    runner.process().signal(nix::sys::signal::Signal::SIGSTOP);
    nats.kill();
    nats.start_again().await;
    eventually("the broker serves", async || {
        hand.connection.bounds(Stream::Lanes).await.ok()
    })
    .await;
    hand.want("greet", second, 2, 2).await;
    runner.process().signal(nix::sys::signal::Signal::SIGCONT);
    says(&runner, "echo 2\n").await;
}

/// A coordinator that has read less decides on less: stored later, and yet the older decision.
#[tokio::test]
async fn a_stale_decision_does_not_replace_a_newer_one() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let old = greet(&hand, "echo old\n").await;
    let new = greet(&hand, "echo new\n").await;
    hand.want("greet", new, 2, 7).await;
    let runner = runner_alone(&nats);
    says(&runner, "echo new\n").await;
    hand.want("greet", old, 1, 6).await;
    hand.want("after", stored_as(&hand, "after").await, 1, 8)
        .await;
    let scripts = runner.project_dir().join("scripts");
    eventually("what came later was acted on", async || {
        scripts.join("after").exists().then_some(())
    })
    .await;
    let link = fs::read_link(scripts.join("greet")).unwrap();
    assert_eq!(link, Path::new(&format!(".bundles/{}", new.hex())));
}
