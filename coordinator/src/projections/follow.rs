//! One task per stream: reads what is stored, applies it in batches, writes rows and cursor
//! together, and says how far it has come.

use super::changes::Changes;
use super::history::HistoryBatch;
use super::quarantine::Quarantine;
use super::reading::{self, Read};
use super::run_steps::RunsBatch;
use super::store::{Cursor, Fit};
use super::{Shared, lock, read, trail_lines, write};
use events::RunId;
use events::log::{Log, Stored};
use events::runner::RunnerEvent;
use events::subject::Stream;
use futures::StreamExt as _;
use schemas::Digest;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two tries to write to a disk that takes nothing.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what the stream has dropped.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Before a stream that ended is followed again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

pub struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Arc<dyn Log>,
    pub(super) stream: Stream,
    pub(super) created: String,
    /// The oldest message that the stream was known to have.
    pub(super) first_sequence: u64,
    /// The last sequence that was applied.
    pub(super) sequence: u64,
    /// The digest of that message.
    pub(super) head: Option<Digest>,
}

impl Follower {
    pub fn new(shared: Arc<Shared>, log: Arc<dyn Log>, fit: Fit) -> Self {
        Self {
            sequence: fit.sequence_in(&shared.store),
            head: fit.head_in(&shared.store),
            stream: fit.stream,
            created: fit.bounds.created,
            first_sequence: fit.bounds.first_sequence,
            shared,
            log,
        }
    }

    /// Follows for ever.
    pub async fn run(mut self) {
        {
            let _turn = self.shared.turn.read().await;
            self.forget().await;
        }
        loop {
            self.follow().await;
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }

    /// Follows until something is missing, or the stream ends.
    async fn follow(&mut self) {
        let messages = self.log.follow(self.stream, self.sequence + 1);
        let mut batches = reading::batches(self.stream, messages);
        let mut looks = tokio::time::interval(FORGET_EVERY);
        looks.tick().await;
        loop {
            tokio::select! {
                batch = batches.next() => {
                    let Some(batch) = batch else { return };
                    if self.lacks_something(&batch).await {
                        return;
                    }
                    let shared = self.shared.clone();
                    let _turn = shared.turn.read().await;
                    self.apply(batch).await;
                }
                _ = looks.tick() => {
                    let shared = self.shared.clone();
                    let _turn = shared.turn.read().await;
                    self.look_for_dropped().await;
                }
            }
        }
    }

    /// `CATALOG` has no holes, so one in what arrives is a lost delivery, unless the stream itself
    /// says that there is nothing.
    async fn lacks_something(&self, batch: &[Read]) -> bool {
        if self.stream != Stream::Catalog {
            return false;
        }
        let mut expected = self.sequence + 1;
        for Read { message, .. } in batch {
            if message.sequence > expected {
                let page = self
                    .log
                    .page(self.stream, self.stream.subjects(), expected, 1);
                let stored = page.await.ok().and_then(|page| page.into_iter().next());
                if stored.is_none_or(|stored| stored.sequence < message.sequence) {
                    let (expected, arrived) = (expected, message.sequence);
                    tracing::warn!(
                        expected,
                        arrived,
                        "a change was not delivered; reading again"
                    );
                    return true;
                }
            }
            expected = message.sequence + 1;
        }
        false
    }

    pub(super) async fn apply(&mut self, mut batch: Vec<Read>) {
        batch.retain(|read| read.message.sequence > self.sequence);
        let Some(Read {
            message: newest, ..
        }) = batch.last()
        else {
            return;
        };
        let last = newest.sequence;
        (self.sequence, self.head) = (last, Some(Digest::of(&newest.payload)));
        match self.stream {
            Stream::Catalog => self.apply_catalog(&batch),
            Stream::Runs => self.apply_runs(batch),
            Stream::History => self.apply_history(&batch),
            _ => self.apply_runners(&batch),
        }
        self.relieve().await;
        if let Some(applied) = self.shared.applied.get(&self.stream) {
            applied.send_replace(last);
        }
    }

    fn apply_catalog(&self, batch: &[Read]) {
        let mut catalog = write(&self.shared.catalog);
        let mut changes = Changes::default();
        for Read { message, .. } in batch {
            let applied = catalog.apply(message, &mut changes);
            if applied.is_ok() {
                trail_lines::of_catalog(message, &mut changes);
            }
            self.note(message, applied);
        }
        self.write(&catalog.cursor(&self.created), changes);
    }

    fn apply_runs(&self, batch: Vec<Read>) {
        let mut runs = write(&self.shared.runs);
        let mut step = RunsBatch::new(&mut runs, &self.shared.store);
        for Read {
            message,
            step: said,
        } in batch
        {
            let said = said.unwrap_or_else(|| message.envelope());
            self.note(&message, step.apply_read(&message, said));
        }
        if self.shared.pace.is_live() {
            self.shared.pace.claimed(&step.claims);
        }
        let (changes, ended) = step.finish();
        self.write(&self.cursor(), changes);
        self.tell(&ended);
    }

    fn apply_history(&self, batch: &[Read]) {
        let mut step = HistoryBatch::new(&self.shared.store);
        for Read { message, .. } in batch {
            self.note(message, step.apply(message));
        }
        self.write(&self.cursor(), step.finish());
    }

    fn apply_runners(&self, batch: &[Read]) {
        if self.shared.pace.is_live() {
            self.time_syncs(batch);
        }
        let mut runners = write(&self.shared.runners);
        let mut changes = Changes::default();
        for Read { message, .. } in batch {
            self.note(message, runners.apply(message, &mut changes));
            trail_lines::of_runners(message, &mut changes);
        }
        self.write(&self.cursor(), changes);
    }

    /// Reports that a version is in place which is the current one. What a runner says on its own of
    /// all it holds is no news.
    fn time_syncs(&self, batch: &[Read]) {
        let catalog = read(&self.shared.catalog).catalog.clone();
        for Read { message, .. } in batch {
            let envelope = message.envelope::<RunnerEvent>();
            let Ok(RunnerEvent::Synced {
                whole: false,
                scripts,
                ..
            }) = envelope.map(|envelope| envelope.event)
            else {
                continue;
            };
            let took = scripts.iter().filter_map(|(name, holding)| {
                let entry = catalog.scripts.get(name)?;
                let held = holding.held.as_ref()?;
                let is_current = held.digest == entry.current.digest;
                let took = message.at.duration_since(entry.modified_at);
                is_current.then(|| Duration::try_from(took).ok())?
            });
            self.shared.pace.synced(&took.collect::<Vec<_>>());
        }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            created: self.created.clone(),
            sequence: self.sequence,
            head: self.head,
        }
    }

    fn note(&self, message: &Stored, applied: Result<(), Quarantine>) {
        let Err(reason) = applied else { return };
        if matches!(reason, Quarantine::UnknownRun) && self.first_sequence > 1 {
            // Most likely the stream has dropped the run's request and not yet its later steps.
            return;
        }
        self.shared.quarantined.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.skipped).push(self.stream, message, &reason);
        tracing::warn!(
            stream = self.stream.name(),
            sequence = message.sequence,
            subject = message.subject,
            %reason,
            "a stored message is skipped: it cannot be what it claims"
        );
    }

    /// Tells those who wait that runs have ended.
    pub(super) fn tell(&self, ended: &[RunId]) {
        let mut waiting = lock(&self.shared.waiting);
        for waiter in ended.iter().filter_map(|id| waiting.remove(id)).flatten() {
            // Who does not wait any more needs no answer.
            let _ = waiter.send(());
        }
    }

    pub(super) fn write(&self, cursor: &Cursor, changes: Changes) {
        self.shared.store.write(self.stream, cursor, changes);
        if self.stream == Stream::Runs {
            // Whoever changes runs holds their lock until here.
            self.shared.runs_revision.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits for a disk that is behind by too much. Nothing more is applied before.
    pub(super) async fn relieve(&self) {
        while self.shared.store.relieve().is_err() {
            // The store says why.
            tokio::time::sleep(DISK_PAUSE).await;
        }
    }
}
