//! Stored messages with their content read, which is much of the work of a rebuild: so it is done ahead of
//! what applies them, and beside it.

use events::Envelope;
use events::envelope::Unreadable;
use events::log::Stored;
use events::run::RunStep;
use events::subject::Stream;
use futures::stream::{BoxStream, Stream as Items, StreamExt as _, poll_fn, unfold};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Events in one batch at most: a rebuild costs the less the more steps of a run are in one, and readers
/// hardly wait for it.
pub const BATCH_MAX: usize = PIECE * PIECES;
/// Messages that are read in one go.
const PIECE: usize = 1000;
/// Pieces put together in a batch where they are there.
const PIECES: usize = 4;
/// So many that are there at once are a part of many more: these are waited for.
const MANY: usize = 64;
/// How long, after the last one that came.
const LINGER: Duration = Duration::from_millis(2);
/// Pieces that are read at the same time.
const READ_AT_ONCE: usize = 3;

/// A message, and what it says.
pub struct Read {
    pub message: Stored,
    /// Of `RUNS` only: the others are few.
    pub step: Option<Result<Envelope<RunStep>, Unreadable>>,
}

impl Read {
    pub fn of(stream: Stream, message: Stored) -> Self {
        Self {
            step: (stream == Stream::Runs).then(|| message.envelope()),
            message,
        }
    }
}

/// Whatever is there at once, in order, in batches.
pub fn batches(
    stream: Stream,
    messages: BoxStream<'static, Stored>,
) -> impl Items<Item = Vec<Read>> {
    let (sender, mut pieces) = mpsc::channel(PIECES);
    tokio::spawn(read_ahead(stream, messages, sender));
    let pieces = poll_fn(move |context| pieces.poll_recv(context));
    pieces
        .ready_chunks(PIECES)
        .map(|pieces: Vec<Vec<Read>>| pieces.into_iter().flatten().collect())
}

async fn read_ahead(
    stream: Stream,
    messages: BoxStream<'static, Stored>,
    sender: mpsc::Sender<Vec<Read>>,
) {
    let pieces = pieces(messages).map(move |piece| read(stream, piece));
    let mut pieces = std::pin::pin!(pieces.buffered(READ_AT_ONCE));
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = sender.closed() => return,
        };
        let Some(piece) = piece else { return };
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// What comes together, together.
fn pieces(messages: BoxStream<'static, Stored>) -> impl Items<Item = Vec<Stored>> {
    unfold(messages.ready_chunks(MANY), |mut messages| async move {
        let mut piece = messages.next().await?;
        while (MANY..=PIECE - MANY).contains(&piece.len())
            && let Ok(Some(more)) = timeout(LINGER, messages.next()).await
        {
            piece.extend(more);
        }
        Some((piece, messages))
    })
}

async fn read(stream: Stream, piece: Vec<Stored>) -> Vec<Read> {
    let few = piece.len() < MANY;
    let read = move || -> Vec<Read> {
        let read = piece.into_iter().map(|message| Read::of(stream, message));
        read.collect()
    };
    if few {
        return read();
    }
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and we with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Timestamp;
    use futures::stream;

    fn message(sequence: u64) -> Stored {
        Stored {
            subject: String::new(),
            sequence,
            at: Timestamp::UNIX_EPOCH,
            payload: bytes::Bytes::new(),
            follows: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_come_in_order_in_batches_however_they_arrive() {
        let last = 20_000;
        let messages = stream::iter(1..=last).then(|sequence| async move {
            // Some alone, some by the dozen, most by the thousand.
            match sequence {
                1..=5 => tokio::time::sleep(10 * LINGER).await,
                _ if sequence < 1_000 && sequence % 12 == 0 => tokio::time::sleep(LINGER / 2).await,
                _ if sequence % 3_000 == 0 => tokio::time::sleep(10 * LINGER).await,
                _ => {}
            }
            message(sequence)
        });
        let messages = messages.chain(stream::pending()).boxed();
        let mut batches = batches(Stream::Runs, messages);
        let (mut next, mut sizes) = (1, Vec::new());
        while next <= last {
            let batch = batches.next().await.unwrap();
            sizes.push(batch.len());
            for read in batch {
                assert_eq!(read.message.sequence, next);
                assert!(read.step.unwrap().is_err());
                next += 1;
            }
        }
        assert_eq!(sizes[..4], [1; 4]);
        assert!(sizes.iter().all(|size| *size <= BATCH_MAX), "{sizes:?}");
        assert!(sizes.iter().any(|size| *size >= PIECE - MANY), "{sizes:?}");
    }
}
