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

/// Runs looked for at once.
const AT_ONCE: usize = 500;

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
async fn store(app: &App, runs: &[Run], mut last: u64) -> Result<bool, AppError> {
    for run in runs {
        let hostname = app.hostname_of(run);
        let Some(summary) = summary(run, hostname.as_deref()) else {
            continue;
        };
        match app.summarise(summary, last).await? {
            Summarised::Stored { sequence } => last = sequence,
            Summarised::Overtaken => return Ok(false),
        }
    }
    Ok(true)
}
