//! The streams as one table, and how they come to be.

use super::connection::Connection;
use super::storage::{StorageError, StreamFacts};
use crate::Timestamp;
use crate::subject::{self, Stream};
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, StorageType};
use jiff::SignedDuration;
use std::time::{Duration, Instant};

/// What an operator may choose; what is not chosen stays as it is, so that several coordinators need
/// not be told alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSettings {
    /// Copies of every stream; more than 1 needs a cluster. 1 where nothing is said.
    pub replicas: Option<usize>,
    pub runs: Retention,
    pub runners: Retention,
    pub output: Retention,
}

/// What a stream may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub age: Option<Duration>,
    pub bytes: Option<u64>,
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
    #[error(
        "the broker is one server that stands alone, so it cannot keep {replicas} copies of anything. Leave --replicas out, or give a cluster of at least {replicas} servers with --nats-url; never turn a server with data into a cluster by adding a cluster block: its streams would be deleted (README, Cluster)"
    )]
    StandsAlone { replicas: usize },
    #[error(
        "fewer than {replicas} servers of the broker's cluster are there to keep the stream {name}; start the others, or give a smaller --replicas"
    )]
    TooFewServers { name: &'static str, replicas: usize },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Runs with all their steps; afterwards their summary in `HISTORY` is left.
const RUNS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longer than a runner's daily registration by far.
const RUNNERS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Output is for looking at, not for keeping: a week, and no more than this.
const OUTPUT_KEPT_DAYS: u32 = 7;
const OUTPUT_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// How long the broker remembers message ids: longer than any client keeps repeating an append.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// A lane is a consumer of `RUNS`; the server's own default of 1,000 would be a limit on lanes.
const MAX_CONSUMERS: i32 = 100_000;
/// A cluster is silent for up to 6 s while it elects a leader, a starved disk for far longer; and
/// nobody is better off without a coordinator that waits.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// For the other servers of a cluster, when all are started at once.
const SERVERS_PATIENCE: Duration = Duration::from_secs(10);
const SERVERS_PAUSE: Duration = Duration::from_millis(250);

/// "replicas > 1 not supported in non-clustered mode".
const STANDS_ALONE: u64 = 10074;
/// "no suitable peers for placement".
const TOO_FEW_SERVERS: u64 = 10005;

/// Creates what is missing and updates what differs. Safe to repeat, and from several places. Gives
/// how many copies there are of what has the fewest.
pub async fn ensure_streams(
    connection: &Connection,
    settings: StreamSettings,
) -> Result<usize, SetupError> {
    let context = connection.jetstream();
    let mut replicas = usize::MAX;
    for stream in Stream::ALL {
        let name = stream.name();
        let there = facts(connection, name).await?;
        let config = config(stream, settings, there.as_ref());
        replicas = replicas.min(config.num_replicas);
        if let Some(there) = &there {
            warn_of_loss(connection, stream, there, &config).await;
        }
        let made = patiently(async || context.create_or_update_stream(config.clone()).await);
        made.await
            .map_err(|error| not_made(name, config.num_replicas, error))?;
    }
    let bucket = ensure_bucket(connection, settings).await?;
    Ok(replicas.min(bucket))
}

async fn ensure_bucket(
    connection: &Connection,
    settings: StreamSettings,
) -> Result<usize, SetupError> {
    let context = connection.jetstream();
    let failed = |source| SetupError::Bucket {
        name: subject::BUNDLES,
        source,
    };
    let Some(there) = facts(connection, subject::BUNDLES_STREAM).await? else {
        let replicas = settings.replicas.unwrap_or(1);
        let bucket = object_store::Config {
            bucket: subject::BUNDLES.to_owned(),
            num_replicas: replicas,
            ..Default::default()
        };
        let made = context.create_object_store(bucket).await;
        made.map_err(|source| failed(Box::new(source)))?;
        return Ok(replicas);
    };
    let Some(replicas) = settings.replicas.filter(|wanted| *wanted != there.replicas) else {
        return Ok(there.replicas);
    };
    let stream = context.get_stream(subject::BUNDLES_STREAM).await;
    let stream = stream.map_err(|source| failed(Box::new(source)))?;
    let config = Config {
        num_replicas: replicas,
        ..stream.cached_info().config.clone()
    };
    let made = patiently(async || context.create_or_update_stream(config.clone()).await);
    made.await
        .map_err(|error| not_made(subject::BUNDLES_STREAM, replicas, error))?;
    Ok(replicas)
}

/// The stream as it is; waits for a broker that is too busy to answer, or elects a leader.
async fn facts(connection: &Connection, name: &str) -> Result<Option<StreamFacts>, StorageError> {
    let begun = Instant::now();
    loop {
        match connection.stream_facts(name).await {
            Err(StorageError::Unavailable { .. }) if begun.elapsed() < START_PATIENCE => {
                tracing::warn!("the broker does not answer yet; trying again");
                tokio::time::sleep(SERVERS_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Says what a smaller limit is about to drop.
async fn warn_of_loss(
    connection: &Connection,
    stream: Stream,
    there: &StreamFacts,
    config: &Config,
) {
    let (name, age) = (there.name.as_str(), config.max_age);
    let shorter = !age.is_zero() && there.max_age.is_none_or(|kept| age < kept);
    let begin = SignedDuration::try_from(age)
        .ok()
        .and_then(|age| Timestamp::now().checked_sub(age).ok());
    if shorter && let Some(begin) = begin {
        let first = connection.first_since(stream, begin).await.ok().flatten();
        let first = first.unwrap_or(there.last_sequence + 1);
        let goes = first.saturating_sub(there.first_sequence);
        tracing::warn!(
            stream = name,
            kept_for_seconds = age.as_secs(),
            messages_that_go = goes,
            "messages are kept for a shorter time from now on; older ones go now, for good"
        );
    }
    let max = u64::try_from(config.max_bytes).ok();
    let max = max.filter(|max| *max > 0).unwrap_or(u64::MAX);
    if there.bytes > max {
        tracing::warn!(
            stream = name,
            max_bytes = max,
            bytes = there.bytes,
            "the stream is larger than it may be from now on; {}",
            match config.discard {
                DiscardPolicy::Old => "its oldest messages go now, for good",
                DiscardPolicy::New => "it takes nothing more until old messages have gone",
            }
        );
    }
}

fn not_made(name: &'static str, replicas: usize, error: CreateStreamError) -> SetupError {
    match error.kind() {
        CreateStreamErrorKind::JetStream(told) if told.error_code().0 == STANDS_ALONE => {
            SetupError::StandsAlone { replicas }
        }
        kind if lacks_servers(&kind) => SetupError::TooFewServers { name, replicas },
        _ => SetupError::Stream {
            name,
            source: Box::new(error),
        },
    }
}

fn lacks_servers(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(told) if told.error_code().0 == TOO_FEW_SERVERS)
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
            Err(error) if lacks_servers(&error.kind()) && begun.elapsed() < SERVERS_PATIENCE => {
                tokio::time::sleep(SERVERS_PAUSE).await;
            }
            done => return done,
        }
    }
}

fn config(stream: Stream, settings: StreamSettings, there: Option<&StreamFacts>) -> Config {
    let replicas = settings.replicas.or(there.map(|there| there.replicas));
    let base = Config {
        name: stream.name().to_owned(),
        subjects: vec![stream.subjects().to_owned()],
        storage: StorageType::File,
        num_replicas: replicas.unwrap_or(1),
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
    let kept = |chosen: Retention, first: Retention, base: Config| {
        let there = there.map(|there| Retention {
            age: there.max_age,
            bytes: there.max_bytes,
        });
        let otherwise = there.unwrap_or(first);
        let bytes = chosen.bytes.or(otherwise.bytes);
        Config {
            max_age: chosen.age.or(otherwise.age).unwrap_or_default(),
            max_bytes: bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            ..base
        }
    };
    let for_time = |age| Retention {
        age: Some(age),
        bytes: None,
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
        Stream::Runs => kept(settings.runs, for_time(RUNS_KEPT), base),
        Stream::Runners => kept(settings.runners, for_time(RUNNERS_KEPT), base),
        Stream::Output => {
            let first = Retention {
                age: Some(DAY * OUTPUT_KEPT_DAYS),
                bytes: Some(OUTPUT_MAX_BYTES),
            };
            let base = Config {
                discard: DiscardPolicy::Old,
                ..base
            };
            kept(settings.output, first, base)
        }
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

/// What so many copies of the streams promise.
pub fn durability(replicas: usize) -> Durability {
    if replicas > 1 {
        Durability::NodeLoss
    } else {
        Durability::ProcessCrash
    }
}
