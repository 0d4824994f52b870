//! One run as its own messages add up to it: the same rules as for all of them, without rows.

use super::eras::Eras;
use super::run_steps::RunsBatch;
use super::runs::{Past, Runs};
use events::RunId;
use events::log::Stored;
use events::run::Run;

/// The messages so far.
#[derive(Default)]
pub struct RunFold {
    runs: Runs,
    ended: Ended,
}

#[derive(Default)]
struct Ended(Option<Run>);

impl Past for Ended {
    fn ended(&self, run_id: &RunId, _: &Eras) -> Option<Run> {
        let run = self.0.as_ref();
        run.filter(|run| run.request.run_id == *run_id).cloned()
    }
}

impl RunFold {
    /// The run's next message. One that cannot be what it claims changes nothing.
    pub fn take(&mut self, message: &Stored) {
        let mut batch = RunsBatch::new(&mut self.runs, &self.ended);
        // Who follows the stream has counted and told it.
        let _ = batch.apply(message);
        let ended = batch.into_ended();
        self.ended.0 = ended.or(self.ended.0.take());
    }

    /// How it stands.
    pub fn run(self) -> Option<Run> {
        let live = self.runs.live().values().next();
        live.map(|run| Run::clone(run)).or(self.ended.0)
    }
}
