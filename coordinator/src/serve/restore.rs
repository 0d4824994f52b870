//! `coordinator restore`: a backup into a broker that holds nothing of ours. The whole file is checked
//! first; a mark in the broker says that it is not whole until the last message stands.

use super::broker::{self, Reached};
use super::{START_PATIENCE, START_PAUSE};
use crate::archive::{Archive, Entry, Part};
use crate::cli::RestoreArgs;
use crate::config::broker_choice;
use crate::data_dir::DataDir;
use anyhow::{Context as _, bail};
use events::Timestamp;
use events::log::jetstream::{
    Connection, Restoring, STREAMS, StorageError, StreamForm, UnfinishedRestore,
};
use events::subject::BUNDLES_STREAM;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::mpsc;

/// Entries read ahead of the broker; each is one piece.
const AHEAD: usize = 8;

/// Puts the file into the broker of these arguments.
pub async fn run(data_dir: PathBuf, args: RestoreArgs) -> anyhow::Result<()> {
    startup::log::start("warn", startup::log::Format::Text)?;
    let choice = broker_choice(&args.broker)?;
    let file = args.file.clone();
    let archive = tokio::task::spawn_blocking(move || Archive::open(&file)).await??;
    let data_dir = DataDir::open(&data_dir)?;
    let broker = broker::reach(choice, data_dir.path()).await?;
    let restored = restore(&broker, &archive, args.broker.replicas).await;
    broker.leave().await;
    restored?;
    eprintln!("restored; start the coordinator now: coordinator serve, with the same options");
    Ok(())
}

async fn restore(
    broker: &Reached,
    archive: &Archive,
    replicas: Option<usize>,
) -> anyhow::Result<()> {
    let connection = &broker.connection;
    let replicas = match connection.cluster() {
        None if replicas.is_some_and(|replicas| replicas > 1) => bail!(
            "the broker is one server that stands alone, so it cannot keep several copies; leave --replicas out, or give a cluster with --nats-url"
        ),
        // A backup of a cluster fits into one server, too.
        None => Some(1),
        Some(_) => replicas,
    };
    begin(connection, archive, replicas).await?;
    connection.delete_streams().await?;
    // What is referred to comes before what refers to it.
    for wanted in [Wanted::Objects, Wanted::Events] {
        put(connection, archive, replicas, wanted).await?;
    }
    connection.end_restore().await?;
    Ok(())
}

/// Leaves the mark, if nothing stands in the way.
async fn begin(
    connection: &Connection,
    archive: &Archive,
    replicas: Option<usize>,
) -> anyhow::Result<()> {
    if let Some(left) = unfinished(connection).await? {
        eprintln!(
            "a restore of {} that began at {} did not come to its end; beginning anew",
            left.backup, left.begun_at
        );
        return Ok(());
    }
    let there = connection.all_stream_facts().await?;
    let held = there.iter().filter(|stream| stream.last_sequence > 0);
    let held: Vec<String> = held
        .map(|stream| format!("{} ({} messages)", stream.name, stream.messages))
        .collect();
    if !held.is_empty() {
        bail!(
            "there is a system already: {}. Nothing was changed. A backup goes into an empty system only: give another --data-dir, or another broker",
            held.join(", ")
        );
    }
    let mark = UnfinishedRestore {
        begun_at: Timestamp::now().to_string(),
        backup: format!("the backup of {}", archive.manifest.taken_at),
    };
    Ok(connection.begin_restore(&mark, replicas).await?)
}

/// What an earlier restore has left; waits for a broker that elects its first leader.
pub async fn unfinished(connection: &Connection) -> anyhow::Result<Option<UnfinishedRestore>> {
    let begun = Instant::now();
    loop {
        match connection.unfinished_restore().await {
            Err(StorageError::Unavailable { .. }) if begun.elapsed() < START_PATIENCE => {
                tokio::time::sleep(START_PAUSE).await;
            }
            done => return Ok(done?),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Objects,
    Events,
}

impl Wanted {
    fn takes(self, stream: &str) -> bool {
        (stream == BUNDLES_STREAM) == (self == Self::Objects)
    }
}

async fn put(
    connection: &Connection,
    archive: &Archive,
    replicas: Option<usize>,
    wanted: Wanted,
) -> anyhow::Result<()> {
    let (sender, mut entries) = mpsc::channel::<Entry>(AHEAD);
    let archive = archive.clone();
    let reading = tokio::task::spawn_blocking(move || {
        archive.each(|entry| !wanted.takes(&entry.stream) || sender.blocking_send(entry).is_ok())
    });
    let mut under_way: Option<(String, Restoring)> = None;
    while let Some(Entry { stream, part }) = entries.recv().await {
        match part {
            Part::Form(form) => {
                finish(under_way.take()).await?;
                let form: StreamForm = serde_json::from_slice(&form)
                    .with_context(|| format!("the backup's form of {stream} is none"))?;
                if !STREAMS.contains(&stream.as_str()) {
                    bail!(
                        "the backup holds a stream {stream}, which this coordinator does not know; use a newer one"
                    );
                }
                eprintln!(
                    "{stream}: {} messages, up to sequence {}",
                    form.messages(),
                    form.last_sequence()
                );
                let restoring = connection.restore(&stream, &form, replicas).await?;
                under_way = Some((stream, restoring));
            }
            Part::Piece(piece) => {
                let under_way = under_way.as_ref().filter(|(name, _)| *name == stream);
                let (_, restoring) = under_way.context("the backup's pieces are out of order")?;
                restoring.put(piece.into()).await?;
            }
        }
    }
    reading.await??;
    finish(under_way).await
}

async fn finish(under_way: Option<(String, Restoring)>) -> anyhow::Result<()> {
    match under_way {
        Some((_, restoring)) => Ok(restoring.finish().await?),
        None => Ok(()),
    }
}
