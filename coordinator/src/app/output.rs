//! The output of a run, as far as it is stored: one page of it.

use super::{App, AppError};
use events::log::Stored;
use events::output::OutputBatch;
use events::run::Run;
use events::subject::{self, Stream};
use events::{Envelope, RunId, RunnerId};

/// Batches in one page; each has up to 64 KiB.
pub(super) const PAGE_MAX: usize = 100;

/// One batch of output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputItem {
    /// Its sequence in `OUTPUT`: the id to go on after.
    pub sequence: u64,
    pub runner_id: RunnerId,
    pub batch: OutputBatch,
}

/// Which part of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputQuery {
    /// Only what comes after this sequence; 0 is everything.
    pub after: u64,
    /// At most this many batches.
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutputPage {
    pub items: Vec<OutputItem>,
    /// The `after` of the next page.
    pub next: u64,
    /// The run has ended and nothing is left after this page.
    pub ended: bool,
}

impl App {
    pub async fn output(&self, run_id: &RunId, query: OutputQuery) -> Result<OutputPage, AppError> {
        // Looked at before the page is read: what is written after that is not missed.
        let run = self.run(run_id)?;
        let limit = query.limit.clamp(1, PAGE_MAX);
        let page = self.read_output(&run, query.after, limit).await?;
        let rest = self.read_output(&run, page.next, 1);
        let ended = run.state.status.is_final() && rest.await?.items.is_empty();
        Ok(OutputPage { ended, ..page })
    }

    /// One page, `ended` left open.
    pub(super) async fn read_output(
        &self,
        run: &Run,
        after: u64,
        limit: usize,
    ) -> Result<OutputPage, AppError> {
        let filter = filter(run);
        let log = &self.0.broker.log;
        let stored = log.page(Stream::Output, &filter, after + 1, limit).await?;
        Ok(OutputPage {
            next: stored.last().map_or(after, |message| message.sequence),
            items: stored.iter().filter_map(item).collect(),
            ended: false,
        })
    }
}

/// The output of a run, by whichever runner.
pub(super) fn filter(run: &Run) -> String {
    subject::output_all(&run.request.lane_tags.lane(), &run.request.run_id)
}

fn item(message: &Stored) -> Option<OutputItem> {
    let runner_id = subject::output_runner(&message.subject);
    let envelope = Envelope::<OutputBatch>::from_bytes(&message.payload);
    match (runner_id, envelope) {
        (Some(runner_id), Ok(envelope)) => Some(OutputItem {
            sequence: message.sequence,
            runner_id,
            batch: envelope.event,
        }),
        _ => {
            let (subject, sequence) = (&message.subject, message.sequence);
            tracing::warn!(
                subject,
                sequence,
                "a message of OUTPUT is not readable; skipped"
            );
            None
        }
    }
}
