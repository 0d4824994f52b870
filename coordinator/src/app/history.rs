//! The summaries of ended runs: storing one, once, and what is left of a run whose steps are gone.

use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use events::history::{HistoryEvent, RunSummary};
use events::log::{Append, AppendError, Expect};
use events::run::Run;
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, RunId};

/// What became of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summarised {
    /// In `HISTORY`.
    Stored,
    /// Something else was stored first, perhaps this very summary; our own view has it.
    Overtaken,
}

impl App {
    /// Stores a summary while `HISTORY` ends at `last`, so that none is stored by two.
    pub(crate) async fn summarise(
        &self,
        summary: RunSummary,
        last: u64,
    ) -> Result<Summarised, AppError> {
        let script = summary.script().map(|(name, _)| name);
        let subject = subject::history(script, &summary.agent);
        let envelope = Envelope {
            id: EventId::fresh(),
            at: self.now(),
            actor: Actor::policy("history"),
            previous: None,
            event: HistoryEvent::RunEnded(Box::new(summary)),
        };
        let append = Append {
            stream: Stream::History,
            subject,
            id: envelope.id,
            payload: envelope.to_bytes(),
            expect: Expect::Stream { sequence: last },
        };
        match self.0.broker.log.append(append).await {
            Ok(_) => Ok(Summarised::Stored),
            Err(AppendError::Conflict { last }) => {
                self.visible(Stream::History, last).await?;
                Ok(Summarised::Overtaken)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is left of a run whose steps are gone.
    pub fn past_run(&self, run_id: &RunId) -> Result<Option<RunSummary>, AppError> {
        Ok(self.projections().summary(run_id)?)
    }

    /// How a question about a run ends that `RUNS` does not have.
    pub(super) fn no_run(&self, run_id: &RunId) -> Result<Rejection, AppError> {
        let run_id = run_id.clone();
        Ok(match self.past_run(&run_id)? {
            Some(summary) => Rejection::from(AuditRejection::RunGone {
                run_id,
                ended_at: summary.ended_at,
            }),
            None => Rejection::RunNotFound { run_id },
        })
    }

    /// The name of the runner's host, if it is known.
    pub(crate) fn hostname_of(&self, run: &Run) -> Option<String> {
        let runners = self.projections().runners();
        let runner = runners.get(run.state.runner_id.as_ref()?)?;
        Some(runner.registration.hostname.clone())
    }
}
