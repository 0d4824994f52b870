//! Stored messages with their content read, which is most of the work of a rebuild: so it is done by a
//! task of its own, ahead of the one that applies them.

use events::Envelope;
use events::envelope::Unreadable;
use events::log::Stored;
use events::run::RunStep;
use events::subject::Stream;
use futures::stream::{BoxStream, Stream as Items, StreamExt as _, poll_fn};
use tokio::sync::mpsc;

/// Events in one batch at most: large enough that a rebuild is bound by the log, small enough that
/// readers hardly wait for it.
pub const BATCH_MAX: usize = PIECE * PIECES;
/// Messages that are read in one go.
const PIECE: usize = 250;
/// Pieces read ahead, and put together in a batch where they are there.
const PIECES: usize = 4;

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
    let mut pieces = messages.ready_chunks(PIECE);
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = sender.closed() => return,
        };
        let Some(piece) = piece else { return };
        let read = piece.into_iter().map(|message| Read::of(stream, message));
        if sender.send(read.collect()).await.is_err() {
            return;
        }
    }
}
