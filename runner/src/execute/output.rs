//! Reads a script's stdout and stderr, and makes batches of them for the broker and a bounded record for the
//! result.
//!
//! Memory is bounded whatever the script writes: one batch in the making, [`WAITING_BATCHES`] waiting, and
//! what is kept for the result. When nobody takes the batches the script waits with its next write, as it
//! would with any full pipe. Not here: publishing batches (claim), turning the record into a result
//! (`result`).

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What a batch may hold: one message of the broker, with room for its envelope.
pub const BATCH_BYTES: usize = 64 * 1024;
/// How much is read at once: a flood takes a few more reads, and a run that prints little need not have
/// hundreds of KiB cleared and given back.
const READ_BYTES: usize = 16 * 1024;
/// How long the first byte of a batch waits for company: short enough to follow a script live.
pub const BATCH_DELAY: Duration = Duration::from_millis(100);
/// How many batches may wait to be taken: a megabyte, enough for the broker's slow moments.
pub const WAITING_BATCHES: usize = 16;
/// How much of a run's output is passed on.
pub const FORWARDED_BYTES: u64 = 50 * 1024 * 1024;
/// How much of stdout is kept: the largest result there is.
pub const KEPT_STDOUT: usize = 16 * 1024 * 1024;
/// How much of the end of stderr is kept; a result shows less of it.
pub const KEPT_STDERR: usize = 512 * 1024;
/// How long output is awaited when all processes of the run are gone. Only a process outside the run that was
/// given the pipe (by `systemd-run --pipe`, say) can hold it open then.
pub const LINGER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A piece of one stream, as the script wrote it: any bytes, cut anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub stream: Stream,
    pub bytes: Vec<u8>,
    /// This many bytes of the stream are missing here; `bytes` is empty then.
    pub gap: Option<u64>,
}

/// What was written within a moment. The order holds within a stream; between the two it is that of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub chunks: Vec<Chunk>,
}

/// What is known of the output when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The beginning of stdout.
    pub stdout: Vec<u8>,
    /// Bytes of stdout after that.
    pub stdout_missing: u64,
    /// The end of stderr.
    pub stderr: Vec<u8>,
    /// Bytes of stderr before that.
    pub stderr_missing: u64,
}

/// How much of the output goes where; the defaults are the constants of this module.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    pub forwarded: u64,
    pub stdout: usize,
    pub stderr: usize,
}

/// The task that reads. Dropping it does not stop the reading.
#[derive(Debug)]
pub struct Reading {
    processes_gone: oneshot::Sender<()>,
    task: JoinHandle<Record>,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            forwarded: FORWARDED_BYTES,
            stdout: KEPT_STDOUT,
            stderr: KEPT_STDERR,
        }
    }
}

/// Starts to read both pipes. The receiver ends after the last batch; dropping it only ends the passing on.
pub fn read(
    stdout: impl AsyncRead + Unpin + Send + 'static,
    stderr: impl AsyncRead + Unpin + Send + 'static,
    caps: Caps,
) -> (mpsc::Receiver<Batch>, Reading) {
    let (batches, receiver) = mpsc::channel(WAITING_BATCHES);
    let (processes_gone, gone) = oneshot::channel();
    let collector = Collector::new(caps, batches);
    let task = tokio::spawn(collector.collect(stdout, stderr, gone));
    let reading = Reading {
        processes_gone,
        task,
    };
    (receiver, reading)
}

impl Reading {
    /// To be called when the run's processes are gone, while somebody still takes the batches: waits for the
    /// rest of the output, at most [`LINGER`] for what does not end.
    pub async fn finish(self) -> Record {
        // The task has ended already when both pipes have.
        let _ = self.processes_gone.send(());
        self.task.await.unwrap_or_else(|panic| {
            tracing::error!(%panic, "reading a run's output failed");
            Record::default()
        })
    }
}

/// What one wait of the collector came to.
enum Event {
    Read(Stream, usize),
    BatchDue,
    GivenUp,
}

struct Collector {
    caps: Caps,
    batches: mpsc::Sender<Batch>,
    batch: Batch,
    batch_bytes: usize,
    /// When the batch in the making has to leave; `None` while it is empty.
    due: Option<Instant>,
    forwarded: u64,
    dropped_stdout: u64,
    dropped_stderr: u64,
    stdout: Vec<u8>,
    stdout_missing: u64,
    stderr: VecDeque<u8>,
    stderr_missing: u64,
}

impl Collector {
    fn new(caps: Caps, batches: mpsc::Sender<Batch>) -> Self {
        Self {
            caps,
            batches,
            batch: Batch::default(),
            batch_bytes: 0,
            due: None,
            forwarded: 0,
            dropped_stdout: 0,
            dropped_stderr: 0,
            stdout: Vec::new(),
            stdout_missing: 0,
            stderr: VecDeque::new(),
            stderr_missing: 0,
        }
    }

    async fn collect(
        mut self,
        stdout: impl AsyncRead + Unpin,
        stderr: impl AsyncRead + Unpin,
        gone: oneshot::Receiver<()>,
    ) -> Record {
        let (mut stdout, mut stderr) = (Some(stdout), Some(stderr));
        let (mut out, mut err) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        let give_up = async {
            match gone.await {
                Ok(()) => tokio::time::sleep(LINGER).await,
                // Nobody will call `finish`, so nothing is known about the processes.
                Err(_) => pending().await,
            }
        };
        tokio::pin!(give_up);
        while stdout.is_some() || stderr.is_some() {
            let room = READ_BYTES.min(BATCH_BYTES - self.batch_bytes);
            let event = tokio::select! {
                read = read_some(&mut stdout, &mut out[..room]) => Event::Read(Stream::Stdout, read),
                read = read_some(&mut stderr, &mut err[..room]) => Event::Read(Stream::Stderr, read),
                () = until(self.due) => Event::BatchDue,
                () = &mut give_up => Event::GivenUp,
            };
            match event {
                Event::Read(Stream::Stdout, 0) => stdout = None,
                Event::Read(Stream::Stderr, 0) => stderr = None,
                Event::Read(Stream::Stdout, read) => self.take(Stream::Stdout, &out[..read]),
                Event::Read(Stream::Stderr, read) => self.take(Stream::Stderr, &err[..read]),
                Event::BatchDue => self.flush().await,
                Event::GivenUp => break,
            }
            if self.batch_bytes == BATCH_BYTES {
                self.flush().await;
            }
        }
        self.finish().await
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.keep(stream, bytes);
        let room = self.caps.forwarded - self.forwarded;
        let passed = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        let dropped = match stream {
            Stream::Stdout => &mut self.dropped_stdout,
            Stream::Stderr => &mut self.dropped_stderr,
        };
        *dropped += (bytes.len() - passed) as u64;
        if passed > 0 {
            self.forwarded += passed as u64;
            self.add(stream, &bytes[..passed]);
        }
    }

    /// For the result: the beginning of stdout, the end of stderr.
    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => {
                let kept = bytes.len().min(self.caps.stdout - self.stdout.len());
                self.stdout.extend_from_slice(&bytes[..kept]);
                self.stdout_missing += (bytes.len() - kept) as u64;
            }
            Stream::Stderr => {
                self.stderr.extend(bytes);
                let over = self.stderr.len().saturating_sub(self.caps.stderr);
                self.stderr.drain(..over);
                self.stderr_missing += over as u64;
            }
        }
    }

    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        self.due.get_or_insert_with(|| Instant::now() + BATCH_DELAY);
        self.batch_bytes += bytes.len();
        match self.batch.chunks.last_mut() {
            Some(last) if last.stream == stream => last.bytes.extend_from_slice(bytes),
            _ => self.batch.chunks.push(Chunk {
                stream,
                bytes: bytes.to_vec(),
                gap: None,
            }),
        }
    }

    async fn flush(&mut self) {
        self.due = None;
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if !batch.chunks.is_empty() {
            // Nobody wants them any more: the record is still made.
            let _ = self.batches.send(batch).await;
        }
    }

    /// The last batch says what was left out, once per stream: only now is it known how much.
    async fn finish(mut self) -> Record {
        let gaps = [
            (Stream::Stdout, self.dropped_stdout),
            (Stream::Stderr, self.dropped_stderr),
        ];
        for (stream, dropped) in gaps.into_iter().filter(|(_, dropped)| *dropped > 0) {
            self.batch.chunks.push(Chunk {
                stream,
                bytes: Vec::new(),
                gap: Some(dropped),
            });
        }
        self.flush().await;
        Record {
            stdout: self.stdout,
            stdout_missing: self.stdout_missing,
            stderr: self.stderr.into(),
            stderr_missing: self.stderr_missing,
        }
    }
}

/// Bytes read, 0 at the end; a pipe that fails has ended. Never resolves for one that has ended before.
async fn read_some(pipe: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(into).await.unwrap_or(0),
        None => pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex, empty};

    use super::*;

    async fn all(mut batches: mpsc::Receiver<Batch>) -> Vec<Batch> {
        let mut all = Vec::new();
        while let Some(batch) = batches.recv().await {
            all.push(batch);
        }
        all
    }

    fn of(stream: Stream, batches: &[Batch]) -> (Vec<u8>, u64) {
        let chunks = batches.iter().flat_map(|batch| &batch.chunks);
        let own: Vec<&Chunk> = chunks.filter(|chunk| chunk.stream == stream).collect();
        let bytes = own.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        let gaps: Vec<u64> = own.iter().filter_map(|chunk| chunk.gap).collect();
        assert!(gaps.len() <= 1, "one mark per stream: {gaps:?}");
        (bytes, gaps.first().copied().unwrap_or(0))
    }

    async fn write(mut pipe: DuplexStream, pieces: Vec<Vec<u8>>) {
        for piece in pieces {
            pipe.write_all(&piece).await.unwrap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_byte_is_passed_on_or_counted(
            out in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5_000), 0..30),
            err in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5_000), 0..30),
            forwarded in 0_u64..200_000,
            stdout in 0_usize..50_000,
            stderr in 0_usize..50_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            let caps = Caps { forwarded, stdout, stderr };
            let (batches, record) = runtime.block_on(async {
                let (out_end, stdout) = duplex(1_000);
                let (err_end, stderr) = duplex(1_000);
                let (batches, reading) = read(stdout, stderr, caps);
                let writes = async { tokio::join!(write(out_end, out.clone()), write(err_end, err.clone())); };
                let ((), batches, record) = tokio::join!(writes, all(batches), reading.finish());
                (batches, record)
            });
            let (out, err) = (out.concat(), err.concat());
            let (seen_out, gap_out) = of(Stream::Stdout, &batches);
            let (seen_err, gap_err) = of(Stream::Stderr, &batches);
            prop_assert!(out.starts_with(&seen_out) && err.starts_with(&seen_err));
            prop_assert_eq!(seen_out.len() as u64 + gap_out, out.len() as u64);
            prop_assert_eq!(seen_err.len() as u64 + gap_err, err.len() as u64);
            let total = (out.len() + err.len()) as u64;
            prop_assert_eq!((seen_out.len() + seen_err.len()) as u64, total.min(forwarded));
            for batch in &batches {
                let size: usize = batch.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
                prop_assert!(size <= BATCH_BYTES);
            }
            prop_assert_eq!(&record.stdout[..], &out[..out.len().min(stdout)]);
            prop_assert_eq!(record.stdout_missing, out.len().saturating_sub(stdout) as u64);
            prop_assert_eq!(&record.stderr[..], &err[err.len().saturating_sub(stderr)..]);
            prop_assert_eq!(record.stderr_missing, err.len().saturating_sub(stderr) as u64);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_script_is_seen_while_it_runs() {
        let (mut script, stdout) = duplex(100);
        let (mut batches, reading) = read(stdout, empty(), Caps::default());
        for word in [b"one", b"two"] {
            let written = Instant::now();
            script.write_all(word).await.unwrap();
            let batch = batches.recv().await.unwrap();
            assert_eq!(batch.chunks[0].bytes, word);
            assert_eq!(written.elapsed(), BATCH_DELAY);
        }
        drop(script);
        assert_eq!(batches.recv().await, None);
        assert_eq!(reading.finish().await.stdout, b"onetwo");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_is_held_open_from_outside_does_not_hold_the_run() {
        let (mut script, stdout) = duplex(100);
        let (batches, reading) = read(stdout, empty(), Caps::default());
        script.write_all(b"said").await.unwrap();
        let (batches, record) = tokio::join!(all(batches), reading.finish());
        assert_eq!(of(Stream::Stdout, &batches).0, b"said");
        assert_eq!(record.stdout, b"said");
    }

    #[tokio::test]
    async fn the_record_is_made_when_nobody_takes_batches() {
        let (script, stdout) = duplex(100);
        let (batches, reading) = read(stdout, empty(), Caps::default());
        drop(batches);
        write(script, vec![vec![b'x'; 5 * WAITING_BATCHES * BATCH_BYTES]]).await;
        let record = reading.finish().await;
        assert_eq!(record.stdout.len(), 5 * WAITING_BATCHES * BATCH_BYTES);
    }
}
