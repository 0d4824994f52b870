//! The fold of `HISTORY`: which ends of runs have their summary, and what each says. Of two for one
//! end the first counts. All of it stands on disk only: it grows with every run that ever was.

use super::changes::Changes;
use super::quarantine::Quarantine;
use super::store::{Store, StoreError};
use super::trail_lines::{self, Line};
use super::{Projections, keys, read};
use events::history::{HistoryEvent, RunSummary};
use events::log::Stored;
use events::run::Run;
use events::subject::{self, Stream};
use events::{Envelope, RunId};
use std::collections::HashSet;

/// One batch of messages on its way into the fold.
pub struct HistoryBatch<'a> {
    store: &'a Store,
    fresh: HashSet<Vec<u8>>,
    changes: Changes,
}

/// Ended runs without a summary, in the order of their ends.
#[derive(Debug, PartialEq)]
pub struct Unsummarised {
    pub runs: Vec<Run>,
    /// In `RUNS`: every end up to here has a summary, or is among `runs`.
    pub looked_to: u64,
    pub there_is_more: bool,
}

/// Ends looked at in one go, so that a reader of the rows does not wait for long.
const LOOKED_AT_MAX: usize = 10_000;

impl<'a> HistoryBatch<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            fresh: HashSet::new(),
            changes: Changes::default(),
        }
    }

    /// Applies one message.
    pub fn apply(&mut self, message: &Stored) -> Result<(), Quarantine> {
        let HistoryEvent::RunEnded(summary) =
            Envelope::<HistoryEvent>::from_bytes(&message.payload)?.event;
        let script = summary.script().map(|(name, _)| name);
        if subject::history(script, &summary.agent) != message.subject {
            return Err(Quarantine::Mismatch);
        }
        let end = keys::summary(&summary.run_id, summary.ended_sequence);
        // A row that cannot be read is not there: the store is rebuilt then.
        if self.store.has(&end).unwrap_or_default() || !self.fresh.insert(end.clone()) {
            return Err(Quarantine::SummarisedTwice);
        }
        self.changes.put(end, &message.sequence);
        let line = Line::Run(summary);
        trail_lines::put(Stream::History, message.sequence, &line, &mut self.changes);
        Ok(())
    }

    pub fn finish(self) -> Changes {
        self.changes
    }
}

impl Projections {
    /// Ended runs after the sequence `after` of `RUNS` that have no summary.
    pub fn unsummarised(&self, after: u64, limit: usize) -> Result<Unsummarised, StoreError> {
        // A run and its end are written together.
        let runs = read(&self.shared.runs);
        let store = &self.shared.store;
        let mut found = Unsummarised {
            runs: Vec::new(),
            looked_to: after,
            there_is_more: false,
        };
        let (from, to) = (
            keys::numbered(keys::ENDS, after + 1),
            keys::numbered(keys::ENDS, u64::MAX),
        );
        for (looked_at, row) in store.rows_between::<RunId>(from, to).enumerate() {
            let (key, run_id) = row?;
            if found.runs.len() == limit || looked_at == LOOKED_AT_MAX {
                found.there_is_more = true;
                break;
            }
            found.looked_to = super::shared_rows::number(&key)?;
            if store.has(&keys::summary(&run_id, found.looked_to))? {
                continue;
            }
            if let Some(first) = runs.eras.find(store, &run_id)? {
                found.runs.extend(store.get::<Run>(&keys::run(first))?);
            }
        }
        Ok(found)
    }

    /// The newest summary under a run's id.
    pub fn summary(&self, run_id: &RunId) -> Result<Option<RunSummary>, StoreError> {
        let store = &self.shared.store;
        let Some(newest) = store.keys(&keys::summaries_of(run_id)).next_back() else {
            return Ok(None);
        };
        let Some(sequence) = store.get(&newest?)? else {
            return Ok(None);
        };
        let line = trail_lines::line(store, Stream::History, sequence)?;
        Ok(line.and_then(|line| match line {
            Line::Run(summary) => Some(*summary),
            Line::Event(_) => None,
        }))
    }
}
