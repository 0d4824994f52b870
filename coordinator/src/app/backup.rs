//! A backup: a copy of every stream, one after the other, while the system is in use. Each is whole as
//! of its own moment, none of them before the backup began; their order sees to it that they agree.

use super::{App, AppError};
use crate::archive::{Manifest, Writer};
use bytes::Bytes;
use events::log::jetstream::StorageError;
use events::subject::{BUNDLES_STREAM, Stream};
use futures::StreamExt as _;
use std::io;
use tokio::sync::mpsc;

/// Each refers to what those after it hold, so that nothing refers to what is not there: lanes follow
/// from the catalogue, summaries from runs, and runs from agents and scripts; the catalogue's agents
/// of runners follow from what runners said; and bundles are taken away long after the last reference.
const ORDER: [&str; 7] = [
    Stream::Lanes.name(),
    Stream::History.name(),
    Stream::Runs.name(),
    Stream::Output.name(),
    Stream::Catalog.name(),
    Stream::Runners.name(),
    BUNDLES_STREAM,
];
/// Pieces that wait for whoever reads slowly.
const AHEAD: usize = 4;

/// A file on its way.
pub struct Backup {
    /// What the streams took up when it began; the file will be about as large, or smaller.
    pub stream_bytes: u64,
    /// The file's bytes. After an error it is not whole.
    pub bytes: mpsc::Receiver<io::Result<Bytes>>,
}

/// A backup that did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("a piece of the backup cannot be written")]
    Write(#[from] io::Error),
    #[error("a stream's form cannot be written")]
    Form(#[from] serde_json::Error),
    #[error("nobody reads the backup any more")]
    Unwanted,
}

impl App {
    /// # Errors
    /// When the broker does not answer.
    pub async fn backup(&self) -> Result<Backup, AppError> {
        let facts = self.0.broker.storage.streams().await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let app = self.clone();
        tokio::spawn(async move {
            if let Err(error) = app.write_backup(&sender).await {
                tracing::warn!(%error, "a backup did not come to its end");
                // Who is gone needs not be told.
                let _ = sender.send(Err(io::Error::other(error))).await;
            }
        });
        Ok(Backup {
            stream_bytes: facts.iter().map(|stream| stream.bytes).sum(),
            bytes: receiver,
        })
    }

    async fn write_backup(&self, sender: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), Failed> {
        let storage = &self.0.broker.storage;
        let streams = ORDER.map(str::to_owned).to_vec();
        let taken_at = self.now().to_string();
        let manifest = Manifest::new(storage.server_version(), taken_at, streams);
        let mut writer = Writer::begin(&manifest)?;
        for name in ORDER {
            let mut snapshot = storage.snapshot(name).await?;
            writer.stream(name, &serde_json::to_vec(&snapshot.form)?)?;
            while let Some(piece) = snapshot.pieces.next().await {
                writer.piece(&piece?)?;
                send(sender, writer.take()).await?;
            }
        }
        send(sender, writer.finish()?).await
    }
}

async fn send(sender: &mpsc::Sender<io::Result<Bytes>>, bytes: Vec<u8>) -> Result<(), Failed> {
    if bytes.is_empty() {
        return Ok(());
    }
    let sent = sender.send(Ok(bytes.into())).await;
    sent.map_err(|_| Failed::Unwanted)
}

#[cfg(test)]
mod tests {
    use super::ORDER;
    use events::log::jetstream::STREAMS;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_is_left_out() {
        assert_eq!(BTreeSet::from(ORDER), BTreeSet::from(STREAMS));
        let all = events::subject::Stream::ALL.map(events::subject::Stream::name);
        assert!(all.iter().all(|name| ORDER.contains(name)), "a new stream");
    }
}
