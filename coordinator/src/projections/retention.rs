//! What retention has dropped from a stream goes from the projection by the same rule, so that a
//! rebuild at any moment would find the same.

use super::changes::Changes;
use super::follow::Follower;
use super::reading::BATCH_MAX;
use super::run_steps::RunsBatch;
use super::{Unfit, keys, trail_lines, write};
use events::log::Log;
use events::run::Run;
use events::subject::Stream;
use schemas::Digest;

/// Whether another message stands where the one with this digest stood: somebody has put back an older
/// state of the stream, and it has grown again. One that retention has dropped says nothing.
pub(super) async fn is_replaced(
    log: &dyn Log,
    stream: Stream,
    sequence: u64,
    head: Option<Digest>,
) -> bool {
    let Some(head) = head else { return false };
    let page = log.page(stream, stream.subjects(), sequence, 1).await;
    let there = page.ok().and_then(|page| page.into_iter().next());
    there.is_some_and(|there| there.sequence == sequence && Digest::of(&there.payload) != head)
}

impl Follower {
    /// Asks the stream what it still has.
    pub(super) async fn look_for_dropped(&mut self) {
        let Ok(bounds) = self.log.bounds(self.stream).await else {
            return;
        };
        // The look comes after what was applied, so only another stream, or one that lost what it
        // had, can be behind us.
        let is_other = bounds.created != self.created || bounds.last_sequence < self.sequence;
        if is_other || is_replaced(&*self.log, self.stream, self.sequence, self.head).await {
            let unfit = Unfit(self.stream.name());
            tracing::error!("{unfit}");
            self.shared.unfit.send_replace(Some(unfit));
        } else if bounds.first_sequence > self.first_sequence {
            self.first_sequence = bounds.first_sequence;
            self.forget().await;
        }
    }

    /// Drops what the stream is known not to have any more.
    pub(super) async fn forget(&self) {
        match self.stream {
            Stream::Runs => loop {
                let dropped = self.dropped_runs();
                if dropped.is_empty() {
                    return;
                }
                self.forget_runs(dropped);
                self.relieve().await;
            },
            Stream::Runners => {
                self.forget_runners();
                while let Some(changes) = self.dropped_lines() {
                    self.write(&self.cursor(), changes);
                    self.relieve().await;
                }
            }
            _ => {}
        }
    }

    /// Some of the runs whose first message is gone.
    fn dropped_runs(&self) -> Vec<Run> {
        let (from, to) = (keys::RUNS.to_vec(), keys::run(self.first_sequence));
        let dropped = self.shared.store.keys_between(from, to);
        let rows = dropped.filter_map(|key| self.shared.store.get::<Run>(&key.ok()?).ok()?);
        rows.take(BATCH_MAX).collect()
    }

    fn forget_runs(&self, dropped: Vec<Run>) {
        let mut runs = write(&self.shared.runs);
        let mut step = RunsBatch::new(&mut runs, &self.shared.store);
        step.forget(dropped);
        let (changes, ended) = step.finish();
        self.write(&self.cursor(), changes);
        self.tell(&ended);
    }

    /// Some of the lines whose message is gone.
    fn dropped_lines(&self) -> Option<Changes> {
        let mut changes = Changes::default();
        let (store, first) = (&self.shared.store, self.first_sequence);
        let found = trail_lines::forget(store, self.stream, first, BATCH_MAX, &mut changes);
        match found {
            Ok(found) => found.then_some(changes),
            Err(error) => {
                tracing::warn!(%error, "lines of what was dropped cannot be read");
                None
            }
        }
    }

    fn forget_runners(&self) {
        let mut runners = write(&self.shared.runners);
        let mut changes = Changes::default();
        runners.forget(self.first_sequence, &mut changes);
        if !changes.is_empty() {
            self.write(&self.cursor(), changes);
        }
    }
}
