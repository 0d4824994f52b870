//! Passes on what a script writes. Never holds the script up: while the broker is away output is
//! kept in memory up to a limit, and then replaced by a mark that says how much is missing.

use crate::execute::output::{Batch, Chunk, Stream as Pipe};
use crate::station::Station;
use events::log::{Append, AppendError, Expect, Log as _};
use events::output::{OutputBatch, OutputChunk, OutputStream};
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Lane, RunId, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Output of one run that waits for the broker, in bytes.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The output of one attempt, on its way.
pub struct Pump {
    task: JoinHandle<()>,
}

impl Pump {
    pub fn start(
        station: Arc<Station>,
        lane: &Lane,
        run_id: &RunId,
        attempt: u32,
        batches: mpsc::Receiver<Batch>,
    ) -> Self {
        let sending = Sending {
            subject: subject::output(lane, run_id, station.runner_id()),
            station,
            attempt,
            sent: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            cut: Cut::default(),
        };
        Self {
            task: tokio::spawn(sending.run(batches)),
        }
    }

    /// Resolves when everything is stored.
    pub async fn flushed(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "passing on output failed");
        }
    }
}

struct Sending {
    station: Arc<Station>,
    subject: String,
    attempt: u32,
    sent: u64,
    waiting: VecDeque<Vec<OutputChunk>>,
    waiting_bytes: usize,
    cut: Cut,
}

impl Sending {
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>) {
        let mut open = true;
        let mut under_way: Option<BoxFuture<'static, ()>> = None;
        while open || under_way.is_some() || !self.waiting.is_empty() {
            if under_way.is_none() {
                under_way = self.next();
            }
            let idle = under_way.is_none();
            tokio::select! {
                batch = batches.recv(), if open => match batch {
                    Some(batch) => self.take(batch),
                    None => {
                        open = false;
                        self.rest();
                    }
                },
                () = async { under_way.as_mut().expect("not idle").await }, if !idle => {
                    under_way = None;
                }
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        let chunks = batch.chunks.into_iter();
        let chunks: Vec<OutputChunk> = chunks.filter_map(|chunk| self.cut.mend(&chunk)).collect();
        // The beginning of a character and no more: it comes with its rest.
        if chunks.is_empty() {
            return;
        }
        let bytes: usize = chunks.iter().map(size).sum();
        if self.waiting_bytes + bytes > WAITING_BYTES {
            self.drop_chunks(&chunks);
            return;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(chunks);
    }

    /// Leaves a mark in place of what is too much, one mark for all that follows.
    fn drop_chunks(&mut self, chunks: &[OutputChunk]) {
        for chunk in chunks {
            let (stream, more) = (stream(chunk), size(chunk) as u64);
            match self.waiting.back_mut().map(std::vec::Vec::as_mut_slice) {
                Some([OutputChunk::Gap { stream: s, bytes }]) if *s == stream => *bytes += more,
                _ => self.waiting.push_back(vec![OutputChunk::Gap {
                    stream,
                    bytes: more,
                }]),
            }
        }
    }

    fn rest(&mut self) {
        let rest: Vec<OutputChunk> = self.cut.rest().collect();
        if !rest.is_empty() {
            self.waiting.push_back(rest);
        }
    }

    /// The next batch, being stored; tries until the broker has it.
    fn next(&mut self) -> Option<BoxFuture<'static, ()>> {
        let chunks = self.waiting.pop_front()?;
        self.waiting_bytes = self
            .waiting_bytes
            .saturating_sub(chunks.iter().map(size).sum());
        self.sent += 1;
        let envelope = Envelope {
            id: EventId::fresh(),
            at: Timestamp::now(),
            actor: Actor::runner(self.station.runner_id()),
            previous: None,
            event: OutputBatch {
                at: Timestamp::now(),
                attempt: self.attempt,
                number: self.sent,
                chunks,
            },
        };
        let append = Append {
            stream: Stream::Output,
            subject: self.subject.clone(),
            id: envelope.id,
            payload: envelope.to_bytes(),
            expect: Expect::Nothing,
        };
        Some(store(self.station.clone(), append).boxed())
    }
}

async fn store(station: Arc<Station>, append: Append) {
    loop {
        match station.connection.append(append.clone()).await {
            Ok(_) => return,
            Err(AppendError::Unavailable { .. }) => {}
            Err(error) => {
                tracing::warn!(subject = append.subject, %error, "output is lost");
                return;
            }
        }
    }
}

fn stream(chunk: &OutputChunk) -> OutputStream {
    match chunk {
        OutputChunk::Text { stream, .. }
        | OutputChunk::Bytes { stream, .. }
        | OutputChunk::Gap { stream, .. } => *stream,
    }
}

fn size(chunk: &OutputChunk) -> usize {
    match chunk {
        OutputChunk::Text { text, .. } => text.len(),
        OutputChunk::Bytes { base64, .. } => base64.len(),
        OutputChunk::Gap { .. } => 0,
    }
}

/// Characters that were cut in two by the end of a chunk wait here for their rest, so that text
/// stays text.
#[derive(Default)]
struct Cut {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// The longest beginning of a character that can be incomplete, in bytes.
const CHARACTER_BYTES: usize = 4;

impl Cut {
    fn mend(&mut self, chunk: &Chunk) -> Option<OutputChunk> {
        let (stream, held) = match chunk.stream {
            Pipe::Stdout => (OutputStream::Stdout, &mut self.stdout),
            Pipe::Stderr => (OutputStream::Stderr, &mut self.stderr),
        };
        if let Some(bytes) = chunk.gap {
            return Some(OutputChunk::Gap { stream, bytes });
        }
        let mut bytes = std::mem::take(held);
        bytes.extend_from_slice(&chunk.bytes);
        let whole = whole_characters(&bytes);
        *held = bytes.split_off(whole);
        (!bytes.is_empty()).then(|| OutputChunk::of(stream, &bytes))
    }

    fn rest(&mut self) -> impl Iterator<Item = OutputChunk> {
        let rest = [
            (OutputStream::Stdout, std::mem::take(&mut self.stdout)),
            (OutputStream::Stderr, std::mem::take(&mut self.stderr)),
        ];
        let rest = rest.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        rest.map(|(stream, bytes)| OutputChunk::of(stream, &bytes))
    }
}

/// How many bytes can go on now: all but a character whose rest may still come.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => {
            let cut = error.valid_up_to();
            if bytes.len() - cut < CHARACTER_BYTES {
                cut
            } else {
                bytes.len()
            }
        }
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(bytes: &[u8]) -> Chunk {
        Chunk {
            stream: Pipe::Stdout,
            bytes: bytes.to_vec(),
            gap: None,
        }
    }

    proptest! {
        #[test]
        fn text_stays_text_wherever_it_is_cut(text in "\\PC{0,40}", cut in 0usize..160) {
            let bytes = text.as_bytes();
            let at = cut.min(bytes.len());
            let mut mending = Cut::default();
            let parts = [mending.mend(&chunk(&bytes[..at])), mending.mend(&chunk(&bytes[at..]))];
            let parts: Vec<OutputChunk> = parts.into_iter().flatten().chain(mending.rest()).collect();
            let joined: String = parts.iter().map(|part| match part {
                OutputChunk::Text { text, .. } => text.as_str(),
                other => panic!("{other:?} of {text:?}"),
            }).collect();
            prop_assert_eq!(joined, text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_go_on_as_they_are() {
        let mut mending = Cut::default();
        let sent = mending.mend(&chunk(b"ok \xff\xfe end"));
        assert!(matches!(sent, Some(OutputChunk::Bytes { .. })), "{sent:?}");
    }
}
