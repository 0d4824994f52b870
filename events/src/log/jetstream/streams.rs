//! The streams as one table, and how they come to be.

use super::connection::Connection;
use crate::subject::{self, Stream};
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, StorageType};
use std::time::{Duration, Instant};

/// What an operator may choose.
#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    /// Copies of every stream; more than 1 needs a cluster.
    pub replicas: usize,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

/// Streams that cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("stream {name} cannot be created or updated")]
    Stream {
        name: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the bucket {name} cannot be created")]
    Bucket {
        name: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Runs with all their steps; afterwards their summary in `HISTORY` is left.
const RUNS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longer than a runner's daily registration by far.
const RUNNERS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Output is for looking at, not for keeping: a week, and no more than this.
const OUTPUT_KEPT_DAYS: u32 = 7;
const OUTPUT_MAX_BYTES: i64 = 4 * 1024 * 1024 * 1024;
/// How long the broker remembers message ids: longer than any client keeps repeating an append.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// A lane is a consumer of `RUNS`; the server's own default of 1,000 would be a limit on lanes.
const MAX_CONSUMERS: i32 = 100_000;
/// A cluster is silent for up to 6 s while it elects a leader, a starved disk for far longer; and
/// nobody is better off without a coordinator that waits.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// Creates what is missing and updates what differs. Safe to repeat, and from several places.
pub async fn ensure_streams(
    connection: &Connection,
    settings: StreamSettings,
) -> Result<(), SetupError> {
    let context = connection.jetstream();
    for stream in Stream::ALL {
        let made = patiently(async || {
            let config = config(stream, settings);
            context.create_or_update_stream(config).await
        });
        made.await.map_err(|source| SetupError::Stream {
            name: stream.name(),
            source: Box::new(source),
        })?;
    }
    if context.get_object_store(subject::BUNDLES).await.is_err() {
        let bucket = object_store::Config {
            bucket: subject::BUNDLES.to_owned(),
            num_replicas: settings.replicas,
            ..Default::default()
        };
        let made = context.create_object_store(bucket).await;
        made.map_err(|source| SetupError::Bucket {
            name: subject::BUNDLES,
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Repeats what a busy broker, or one that elects a leader, has left without an answer.
async fn patiently<T>(
    mut ensure: impl AsyncFnMut() -> Result<T, CreateStreamError>,
) -> Result<T, CreateStreamError> {
    let begun = Instant::now();
    loop {
        match ensure().await {
            Err(error)
                if error.kind() == CreateStreamErrorKind::TimedOut
                    && begun.elapsed() < START_PATIENCE =>
            {
                tracing::warn!("the broker does not answer yet; trying again");
            }
            done => return done,
        }
    }
}

fn config(stream: Stream, settings: StreamSettings) -> Config {
    let base = Config {
        name: stream.name().to_owned(),
        subjects: vec![stream.subjects().to_owned()],
        storage: StorageType::File,
        num_replicas: settings.replicas,
        // An acknowledged event is never pushed out by a newer one.
        discard: DiscardPolicy::New,
        allow_direct: true,
        duplicate_window: DUPLICATE_WINDOW,
        max_consumers: MAX_CONSUMERS,
        republish: stream.republished().map(|(source, destination)| Republish {
            source: source.to_owned(),
            destination: destination.to_owned(),
            // Who follows output only wants to know that there is more, and may be slow: whole
            // copies would wait for it in memory.
            headers_only: stream == Stream::Output,
        }),
        ..Default::default()
    };
    match stream {
        Stream::Catalog | Stream::History => Config {
            deny_delete: true,
            deny_purge: true,
            ..base
        },
        Stream::Lanes => Config {
            max_messages_per_subject: 1,
            ..base
        },
        Stream::Runs => Config {
            max_age: RUNS_KEPT,
            ..base
        },
        Stream::Runners => Config {
            max_age: RUNNERS_KEPT,
            ..base
        },
        Stream::Output => Config {
            discard: DiscardPolicy::Old,
            max_age: DAY * OUTPUT_KEPT_DAYS,
            max_bytes: OUTPUT_MAX_BYTES,
            ..base
        },
    }
}

/// How much an acknowledged event survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `kill -9` of everything; a power cut may take the last moments.
    ProcessCrash,
    /// The loss of a node: several replicas.
    NodeLoss,
}

/// What the streams' settings promise.
pub fn durability(settings: StreamSettings) -> Durability {
    if settings.replicas > 1 {
        Durability::NodeLoss
    } else {
        Durability::ProcessCrash
    }
}
