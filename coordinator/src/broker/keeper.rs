//! Keeps one server running: a thread that spawns it, passes its log on, waits for its end and
//! starts it again on the same port and store, until it is told to stop.
//!
//! One thread does all of that, because a death signal follows the thread that spawned. A new
//! server is started only after the old one has been waited for.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStderr, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;

use super::child::{Launch, signal};
use super::log;

/// A server serves 20 ms after its start; clients should not notice more than that.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// A server that cannot start is tried again for ever, but not in a hot loop.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A server that ran this long was in good health, so the next pause is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Time to write out what it holds on TERM; kept short enough for a service manager's own limit.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Reading back a large store takes time (about 1 s per million messages without an index).
const START_PATIENCE: Duration = Duration::from_secs(300);
/// Between looks at whether it listens, or whether it has ended after closing its log.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Between looks at a disk that was full.
const ROOM_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Enough to go on with, on a small disk a tenth of it.
const ROOM_BYTES: u64 = 64 << 20;
/// Enough for the reason of a failed start, which is on the last two or three.
const LINES_KEPT: usize = 10;

/// Why the server did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start {program}; check that it is a nats-server for this machine")]
    Spawn {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("nats-server ended before it was ready ({status}); its last words:\n{last_lines}")]
    Ended {
        status: ExitStatus,
        last_lines: String,
    },
    #[error(
        "nats-server runs but did not listen within {} seconds; its last words are in the log",
        START_PATIENCE.as_secs()
    )]
    Silent,
    #[error("cannot start the broker's thread; the system is out of threads or memory")]
    Thread(#[source] io::Error),
}

/// The thread, and what it shares with whoever holds the broker.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    launch: Launch,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Not waited for yet, so its process id is its own and may be signalled.
    child: Option<Child>,
    stopping: bool,
    /// For whoever waits for the first start.
    failure: Option<StartError>,
}

impl Keeper {
    /// Starts the server and returns when it listens.
    pub fn start(launch: Launch) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            launch,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || worker.keep())
            .map_err(StartError::Thread)?;
        // From here on a return, also with an error, stops the thread and what it started.
        let keeper = Self {
            shared,
            thread: Some(thread),
        };
        keeper.shared.until_it_listens()?;
        Ok(keeper)
    }

    /// The running server, if there is one right now.
    pub fn process(&self) -> Option<u32> {
        self.shared.lock().child.as_ref().map(Child::id)
    }

    /// By which others make the server read its configuration again.
    pub fn reload(&self) -> Reload {
        Reload(Arc::downgrade(&self.shared))
    }

    /// Returns when the server is gone.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.shared.end_server();
        if thread.join().is_err() {
            tracing::error!("the broker's thread panicked; its server ended with it");
        }
    }
}

/// Cloning is cheap; it keeps no server alive.
#[derive(Debug, Clone)]
pub(super) struct Reload(Weak<Shared>);

impl Reload {
    /// Makes the server read its configuration again. One that is down reads it anyway.
    pub fn now(&self) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        if let Some(child) = &shared.lock().child {
            signal(child, Signal::SIGHUP);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// The thread: start, listen, wait, again.
    fn keep(self: &Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            match self.run_once() {
                Run::Stopped => return,
                Run::Failed(error) => self.report(error),
            }
            if started.elapsed() >= HEALTHY_AFTER {
                pause = FIRST_PAUSE;
            }
            self.pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One server from its start to its end.
    fn run_once(self: &Arc<Self>) -> Run {
        let log = {
            let mut state = self.lock();
            if state.stopping {
                return Run::Stopped;
            }
            match self.launch.spawn() {
                Ok(mut child) => {
                    let log = child.stderr.take();
                    state.child = Some(child);
                    log
                }
                Err(source) => return Run::Failed(self.cannot_spawn(source)),
            }
        };
        let mut is_hurt = false;
        let hear = |text: &str| {
            if !is_hurt && log::tells_failed_write(text) {
                is_hurt = true;
                self.mend();
            }
        };
        let last_lines = log.map(|log| forward_until_closed(log, hear));
        let last_lines = last_lines.unwrap_or_default();
        match self.wait() {
            Ok(_) if self.lock().stopping => Run::Stopped,
            Ok(status) => Run::Failed(StartError::Ended { status, last_lines }),
            Err(source) => Run::Failed(self.cannot_spawn(source)),
        }
    }

    /// A server that could not write takes nothing more into that stream, also when the disk has room
    /// again: so it is ended then, and started anew like any that ends. Looks from a thread of its own.
    fn mend(self: &Arc<Self>) {
        let hurt = self.lock().child.as_ref().map(Child::id);
        let watching = Arc::clone(self);
        let watch = move || {
            while !watching.has_room() {
                watching.pause(ROOM_LOOK_EVERY);
                if watching.lock().stopping {
                    return;
                }
            }
            let state = watching.lock();
            if let Some(child) = state
                .child
                .as_ref()
                .filter(|child| Some(child.id()) == hurt)
            {
                tracing::warn!(
                    "the broker's disk has room again; starting the broker anew, because it takes nothing after a failed write"
                );
                signal(child, Signal::SIGTERM);
            }
        };
        let started = thread::Builder::new()
            .name("broker-disk".to_owned())
            .spawn(watch);
        if let Err(error) = started {
            tracing::error!(%error, "nobody watches the broker's full disk; start the coordinator again when it has room");
        }
    }

    fn has_room(&self) -> bool {
        let Ok(disk) = statvfs(self.launch.folder.root()) else {
            return false;
        };
        let size = bytes(disk.blocks(), disk.fragment_size());
        let free = bytes(disk.blocks_available(), disk.fragment_size());
        free >= ROOM_BYTES.min(size / 10)
    }

    /// The log is closed, so this is a matter of moments; the lock is free in between, so that
    /// the server can be killed if it is not.
    fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            let mut state = self.lock();
            let Some(child) = &mut state.child else {
                return Err(io::ErrorKind::NotFound.into());
            };
            if let Some(ended) = child.try_wait().transpose() {
                state.child = None;
                self.changed.notify_all();
                return ended;
            }
            drop(self.changed.wait_timeout(state, LOOK_EVERY));
        }
    }

    fn report(&self, error: StartError) {
        tracing::warn!(%error, "the broker's server is down");
        self.lock().failure = Some(error);
        self.changed.notify_all();
    }

    fn pause(&self, length: Duration) {
        let state = self.lock();
        let stopping = |state: &mut State| !state.stopping;
        drop(self.changed.wait_timeout_while(state, length, stopping));
    }

    fn until_it_listens(&self) -> Result<(), StartError> {
        let deadline = Instant::now() + START_PATIENCE;
        let mut state = self.lock();
        while Instant::now() < deadline {
            if let Some(error) = state.failure.take() {
                // Whoever starts us decides about another try.
                state.stopping = true;
                return Err(error);
            }
            let process = state.child.as_ref().map(Child::id);
            if process.is_some_and(|process| self.launch.listens(process)) {
                return Ok(());
            }
            state = self
                .changed
                .wait_timeout(state, LOOK_EVERY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Err(StartError::Silent)
    }

    /// TERM, and KILL for one that does not listen.
    fn end_server(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.changed.notify_all();
        if let Some(child) = &state.child {
            signal(child, Signal::SIGTERM);
        }
        let running = |state: &mut State| state.child.is_some();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, STOP_PATIENCE, running)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = &state.child {
            tracing::warn!("nats-server does not end on TERM, killing it");
            signal(child, Signal::SIGKILL);
        }
    }

    fn cannot_spawn(&self, source: io::Error) -> StartError {
        StartError::Spawn {
            program: self.launch.program.display().to_string(),
            source,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks of that size, in bytes; how wide the numbers are differs between systems.
fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
    blocks.into().saturating_mul(size.into())
}

enum Run {
    Stopped,
    Failed(StartError),
}

/// Passes the log on until the server closes it, and returns its last lines.
fn forward_until_closed(log: ChildStderr, mut hear: impl FnMut(&str)) -> String {
    let mut last = VecDeque::with_capacity(LINES_KEPT);
    for line in BufReader::new(log).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        log::forward(&line);
        hear(log::parse(&line).1);
        if last.len() == LINES_KEPT {
            last.pop_front();
        }
        last.push_back(log::parse(&line).1.to_owned());
    }
    Vec::from(last).join("\n")
}
