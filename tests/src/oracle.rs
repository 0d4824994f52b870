//! What really stands in the log, read past every coordinator: what a story compares with what was
//! answered to it.

use events::catalog::CatalogEvent;
use events::log::jetstream::{Access, Connection};
use events::log::{Log as _, Stored};
use events::subject::{self, Stream};
use events::{Envelope, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use schemas::Digest;
use std::time::Duration;

/// Messages read at once.
const PAGE: usize = 1_000;

/// A connection in the streams' own account.
pub async fn connect(url: &str) -> Connection {
    let access = Access {
        url: url.to_owned(),
        nkey_seed: None,
        name: "story".to_owned(),
        inbox_prefix: subject::inbox_prefix("story"),
        owns_streams: true,
    };
    Connection::open(access).await.unwrap()
}

/// Every message of a stream, in order.
pub async fn all(connection: &Connection, stream: Stream) -> Vec<Stored> {
    let mut messages: Vec<Stored> = Vec::new();
    loop {
        let from = messages.last().map_or(1, |message| message.sequence + 1);
        let page = connection.page(stream, stream.subjects(), from, PAGE).await;
        let page = page.unwrap();
        if page.is_empty() {
            return messages;
        }
        messages.extend(page);
    }
}

/// Every change of the catalogue; each names the one before it.
pub async fn catalog(connection: &Connection) -> Vec<(Timestamp, CatalogEvent)> {
    let mut before = None;
    let mut changes = Vec::new();
    for message in all(connection, Stream::Catalog).await {
        let envelope = Envelope::<CatalogEvent>::from_bytes(&message.payload).unwrap();
        let sequence = message.sequence;
        assert_eq!(envelope.previous, before, "the chain breaks at {sequence}");
        before = Some(Digest::of(&message.payload));
        changes.push((message.at, envelope.event));
    }
    changes
}

/// How often a story disturbs: 5 times in `cargo verify`, 50 in `cargo soak`.
pub fn disturbances() -> usize {
    match std::env::var_os("COORDINATOR_SOAK") {
        Some(_) => 50,
        None => 5,
    }
}

/// Random moments; `STORY_SEED` repeats those of another time.
pub fn random() -> StdRng {
    let given = std::env::var("STORY_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    eprintln!("STORY_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Lets some time go by, so that what comes next meets the others at any of their steps.
pub async fn pause(random: &mut StdRng, from_ms: u64, to_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(from_ms..to_ms))).await;
}
