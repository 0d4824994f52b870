//! What the streams add up to, kept in memory and on disk, and the questions one can ask of it.
//! Everything here can be deleted at any time: it is rebuilt from the log.
//!
//! `store` is the disk; `catalog`, `runs` with `run_steps`, `runners` with `holdings`, and `history` fold
//! one stream each (pure), and `trail_lines` notes what happened; `follow` and `retention` feed them;
//! `queries` and `trail` answer; `rebuild` compares with the log. Nothing here issues a command.

mod catalog;
mod changes;
mod eras;
mod follow;
mod held;
mod history;
mod holdings;
mod keys;
mod pace;
mod presence;
mod quarantine;
mod queries;
mod reading;
mod rebuild;
mod retention;
mod run_fold;
mod run_steps;
mod runners;
mod runs;
mod shared_rows;
mod skipped;
mod store;
mod trail;
mod trail_lines;

pub use catalog::{Breaks, CatalogState};
pub use history::Unsummarised;
pub use holdings::{Holdings, Shelf};
pub use pace::Pace;
pub use presence::{Heard, Hearing, Presences};
pub use queries::{RunPage, RunQuery};
pub use rebuild::{Comparison, Difference};
pub use run_fold::RunFold;
pub use runners::{Ordered, Runner, Synced};
pub use runs::{Debt, HookNews};
pub use skipped::Skipped;
pub use store::{StoreError, remembered};
pub use trail::{Before, TrailEntry, TrailPage, TrailQuery};
pub use trail_lines::{EventLine, Line, Topic};

use events::RunId;
use events::log::{Log, ReadError};
use events::subject::Stream;
use follow::Follower;
use runners::Runners;
use runs::Runs;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use store::{Fit, Store};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// The streams that are folded.
pub const FOLLOWED: [Stream; 4] = [
    Stream::Catalog,
    Stream::Runs,
    Stream::Runners,
    Stream::History,
];

/// The projections, followed live. Cloning is cheap; when the last clone goes, following ends.
#[derive(Clone)]
pub struct Projections {
    shared: Arc<Shared>,
    followers: Arc<Mutex<JoinSet<()>>>,
    /// The store's folder.
    path: Arc<Path>,
}

/// Projections that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stream is not the one any more that the projections follow: what they show is of another log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stream {0} was made again, or has lost its end, while this coordinator followed it; start the coordinator again: it reads all of it anew"
)]
pub struct Unfit(&'static str);

pub(in crate::projections) struct Shared {
    store: Store,
    catalog: RwLock<CatalogState>,
    runs: RwLock<Runs>,
    runners: RwLock<Runners>,
    applied: HashMap<Stream, watch::Sender<u64>>,
    /// Messages skipped since the start.
    quarantined: AtomicU64,
    /// How often runs have changed since the start.
    runs_revision: AtomicU64,
    skipped: Mutex<skipped::Last>,
    pace: Pace,
    /// Who waits for the end of which run.
    waiting: Mutex<HashMap<RunId, Vec<oneshot::Sender<()>>>>,
    unfit: watch::Sender<Option<Unfit>>,
    /// Followers write rows while they hold it shared; who holds it alone finds all standing still.
    turn: tokio::sync::RwLock<()>,
}

impl Projections {
    /// Opens the store at `path`, or deletes it and begins anew where it does not fit the streams,
    /// and follows them. Answers when all that is stored by now has been applied.
    ///
    /// # Errors
    /// When the broker does not answer, or another process uses the store.
    pub async fn open(log: Arc<dyn Log>, path: &Path) -> Result<Self, OpenError> {
        let mut fits = Vec::new();
        let mut targets = Vec::new();
        for stream in FOLLOWED {
            let bounds = log.bounds(stream).await?;
            let last = log.last(stream, stream.subjects()).await?;
            targets.push((stream, last.map_or(0, |message| message.sequence)));
            fits.push(Fit { stream, bounds });
        }
        rebuild::sweep(path);
        let (mut store, mut loaded) = store::open_fitting(path, &fits, Loaded::from_store).await?;
        if let Some(stream) = replaced(&*log, &store, &fits).await {
            tracing::warn!(
                stream = stream.name(),
                "an older state of the stream was put back since the projection read it; the projection is deleted and rebuilt"
            );
            drop(store);
            store = store::open_empty(path, &fits).await?;
            loaded = Loaded::from_store(&store)?;
        }
        let shared = Arc::new(Shared::new(store, loaded, &fits));
        let mut followers = JoinSet::new();
        for fit in fits {
            let follower = Follower::new(shared.clone(), log.clone(), fit);
            followers.spawn(follower.run());
        }
        let projections = Self {
            shared,
            followers: Arc::new(Mutex::new(followers)),
            path: path.into(),
        };
        for (stream, last) in targets {
            projections.applied(stream, last).await;
        }
        projections.shared.pace.go_live();
        Ok(projections)
    }

    /// Ends following and brings what is known to the disk, so that the next start has less to
    /// read. Nothing is lost without it.
    pub async fn close(&self) {
        let mut followers = std::mem::take(&mut *lock(&self.followers));
        followers.shutdown().await;
        if let Err(error) = self.shared.store.flush() {
            tracing::warn!(%error, "the projection was not flushed");
        }
    }

    /// Waits until everything up to the sequence `at_least` is applied.
    pub async fn applied(&self, stream: Stream, at_least: u64) {
        let Some(sender) = self.shared.applied.get(&stream) else {
            return;
        };
        let mut applied = sender.subscribe();
        // The sender lives as long as we do.
        let _ = applied.wait_for(|sequence| *sequence >= at_least).await;
    }

    /// As [`Self::applied`], giving up after `patience`.
    pub async fn applied_within(&self, stream: Stream, at_least: u64, patience: Duration) -> bool {
        let applied = self.applied(stream, at_least);
        tokio::time::timeout(patience, applied).await.is_ok()
    }

    /// The last applied sequence of a followed stream, and its changes.
    pub fn watch(&self, stream: Stream) -> watch::Receiver<u64> {
        match self.shared.applied.get(&stream) {
            Some(sender) => sender.subscribe(),
            None => watch::channel(0).1,
        }
    }

    /// Resolves when nothing shown here can be relied on any more.
    pub async fn unfit(&self) -> Unfit {
        let mut unfit = self.shared.unfit.subscribe();
        loop {
            if let Some(unfit) = *unfit.borrow_and_update() {
                return unfit;
            }
            // The sender lives as long as we do.
            let _ = unfit.changed().await;
        }
    }

    /// Another number once any run has changed, come, or gone.
    pub fn runs_revision(&self) -> u64 {
        self.shared.runs_revision.load(Ordering::Acquire)
    }

    /// Messages that were skipped since the start because they cannot be what they claim.
    pub fn quarantined(&self) -> u64 {
        self.shared.quarantined.load(Ordering::Relaxed)
    }

    /// The last of them, oldest first.
    pub fn last_skipped(&self) -> Vec<Skipped> {
        lock(&self.shared.skipped).all()
    }

    /// How long things take.
    pub fn pace(&self) -> &Pace {
        &self.shared.pace
    }

    /// Is told when the run ends; at once if it has ended, or does not exist.
    pub fn ended(&self, run_id: &RunId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        // Ends are told under the write lock, so none is missed between the look and the entry.
        let runs = read(&self.shared.runs);
        if runs.is_live(run_id) {
            let mut waiting = lock(&self.shared.waiting);
            let of_run = waiting.entry(run_id.clone()).or_default();
            of_run.retain(|waiter| !waiter.is_closed());
            of_run.push(sender);
        }
        receiver
    }
}

/// The stream that has another message where the store has read one.
async fn replaced(log: &dyn Log, store: &Store, fits: &[Fit]) -> Option<Stream> {
    for fit in fits {
        let (sequence, head) = (fit.sequence_in(store), fit.head_in(store));
        if retention::is_replaced(log, fit.stream, sequence, head).await {
            return Some(fit.stream);
        }
    }
    None
}

/// The folds as they stand in a store.
struct Loaded {
    catalog: CatalogState,
    runs: Runs,
    runners: Runners,
}

impl Loaded {
    fn from_store(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            catalog: CatalogState::load(store)?,
            runs: Runs::load(store)?,
            runners: Runners::load(store)?,
        })
    }
}

impl Shared {
    fn new(store: Store, loaded: Loaded, fits: &[Fit]) -> Self {
        let at = |fit: &Fit| (fit.stream, watch::Sender::new(fit.sequence_in(&store)));
        Self {
            applied: fits.iter().map(at).collect(),
            catalog: RwLock::new(loaded.catalog),
            runs: RwLock::new(loaded.runs),
            runners: RwLock::new(loaded.runners),
            quarantined: AtomicU64::new(0),
            runs_revision: AtomicU64::new(0),
            skipped: Mutex::default(),
            pace: Pace::default(),
            waiting: Mutex::default(),
            unfit: watch::Sender::new(None),
            turn: tokio::sync::RwLock::default(),
            store,
        }
    }
}

/// A lock whose holder panicked is as good as any: rows and folds are rebuilt at the next start.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
