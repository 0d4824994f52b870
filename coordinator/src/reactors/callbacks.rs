//! Resumes the sessions that wait for the end of a run.

use super::Settings;
use crate::app::{App, AppError};
use crate::policy::callbacks::{Action, not_made, of_ended};
use crate::projections::Debt;
use events::Actor;
use events::run::{Run, RunEvent};
use events::subject::Stream;

/// Ended runs looked at in one round; those that are served make room for the rest.
const OWED_AT_ONCE: usize = 1_000;

pub(super) async fn run(app: App, settings: Settings) {
    let mut changes = app.projections().watch(Stream::Runs);
    loop {
        changes.mark_unchanged();
        if let Err(error) = look(&app).await {
            tracing::warn!(%error, "a callback is not possible yet; trying again");
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // What did not succeed is tried again.
            () = tokio::time::sleep(settings.settle_every) => {}
        }
    }
}

/// One look, with all that follows from it.
async fn look(app: &App) -> Result<(), AppError> {
    for child in app.projections().owed(Debt::Callback, OWED_AT_ONCE)? {
        let parent = match child.calls_back() {
            Some(session_id) => app.run_of_session(session_id)?,
            None => None,
        };
        match of_ended(&child, parent.as_ref()) {
            Some(Action::Resume { child, session_id }) => {
                match app.call_back(&child, &session_id).await {
                    // What is refused is refused for good.
                    Err(AppError::Rejected(why)) => {
                        append(app, &child, not_made(&why.to_string())).await?;
                    }
                    done => done?,
                }
            }
            Some(Action::Append { run, step }) => append(app, &run, step).await?,
            None => {}
        }
    }
    Ok(())
}

/// Whoever came first knew better.
async fn append(app: &App, run: &Run, step: RunEvent) -> Result<(), AppError> {
    let actor = Actor::policy("callbacks");
    app.append_step(&actor, run, step).await.map(drop)
}
