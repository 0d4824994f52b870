//! Leaves a summary of every run that has ended, exactly one, whoever else does the same.
//!
//! Each summary is stored on the condition that `HISTORY` ends where we have read it to, and only for
//! a run that has none up to there. What is missing is found by comparing, not by remembering: a
//! coordinator that was killed in between, or was away for a week, leaves nothing out.

use super::Settings;
use crate::app::{App, AppError, Summarised};
use crate::policy::history::summary;
use events::run::Run;
use events::subject::Stream;
use futures::{StreamExt as _, TryStreamExt as _};

/// Runs looked for at once.
const AT_ONCE: usize = 500;
/// Summaries that are sent before the first one is answered.
const ON_THEIR_WAY: usize = 32;

pub(super) async fn run(app: App, settings: Settings) {
    let mut changes = app.projections().watch(Stream::Runs);
    // All ends in `RUNS` up to here have their summary.
    let mut complete_to = 0;
    loop {
        changes.mark_unchanged();
        if let Err(error) = look(&app, &mut complete_to).await {
            tracing::warn!(%error, "a run cannot be summarised yet; trying again");
            tokio::time::sleep(settings.settle_every).await;
            continue;
        }
        // Nobody waits for a summary, and many at once cost less than one by one.
        tokio::time::sleep(settings.summarise_every).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// One look, with all that follows from it.
async fn look(app: &App, complete_to: &mut u64) -> Result<(), AppError> {
    loop {
        // In this order: what is missing after this was read is missing up to there.
        let last = *app.projections().watch(Stream::History).borrow();
        let missing = app.projections().unsummarised(*complete_to, AT_ONCE)?;
        if !store(app, &missing.runs, last).await? {
            continue;
        }
        *complete_to = missing.looked_to;
        if !missing.there_is_more {
            return Ok(());
        }
    }
}

/// `false` where somebody else summarised in between: some of these may have been among it.
async fn store(app: &App, runs: &[Run], last: u64) -> Result<bool, AppError> {
    let summaries = runs.iter().filter_map(|run| {
        let hostname = app.hostname_of(run);
        summary(run, hostname.as_deref())
    });
    // Each expects the one before it: where one is not stored, none behind it is.
    let summaries: Vec<_> = summaries.zip(last..).collect();
    let stored = summaries
        .into_iter()
        .map(|(summary, last)| app.summarise(summary, last));
    let mut stored = futures::stream::iter(stored).buffered(ON_THEIR_WAY);
    while let Some(stored) = stored.try_next().await? {
        if stored == Summarised::Overtaken {
            return Ok(false);
        }
    }
    Ok(true)
}
