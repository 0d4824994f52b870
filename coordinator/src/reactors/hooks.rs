//! Starts the runs of hooks, and carries out what they say.

use super::Settings;
use crate::app::{App, AppError, Rejection};
use crate::domain::ids::run_of_hook;
use crate::policy::hooks::{Action, Pair, blocked, of_ended, of_live};
use crate::projections::{Debt, StoreError};
use events::Actor;
use events::run::{HookPoint, Run, RunEvent};
use events::subject::Stream;
use futures::StreamExt as _;

/// Actions under way at the same time.
const AT_ONCE: usize = 16;
/// Ended runs looked at in one round; those that are served make room for the rest.
const OWED_AT_ONCE: usize = 1_000;

pub(super) async fn run(app: App, settings: Settings) {
    let mut changes = app.projections().watch(Stream::Runs);
    loop {
        changes.mark_unchanged();
        if let Err(error) = look(&app).await {
            tracing::warn!(%error, "the runs with hooks cannot be read");
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // What did not succeed is tried again.
            () = tokio::time::sleep(settings.settle_every) => {}
        }
    }
}

/// One look, with all that follows from it.
async fn look(app: &App) -> Result<(), StoreError> {
    let mut actions = Vec::new();
    for run in app.projections().hooked_runs() {
        let other = match &run.request.hook_of {
            Some(of) => of.run_id.clone(),
            None => run_of_hook(&run.request.run_id, HookPoint::OnRunStart),
        };
        let other = app.projections().run(&other)?;
        actions.extend(of_live(&Pair { run, other }));
    }
    let owed = app.projections().owed(Debt::Hook, OWED_AT_ONCE)?;
    actions.extend(owed.iter().filter_map(of_ended));
    futures::stream::iter(actions)
        .for_each_concurrent(AT_ONCE, |action| perform(app, action))
        .await;
    Ok(())
}

async fn perform(app: &App, action: Action) {
    let (what, done) = match action {
        Action::Start {
            of,
            point,
            hook,
            parameters,
        } => {
            let started = app.start_hook(&of, point, &hook, parameters).await;
            let not_run = |why: Rejection| RunEvent::HookNotRun {
                point,
                error: why.to_string(),
            };
            ("start a hook", or_append(app, &of, started, not_run).await)
        }
        Action::Release { run, parameters } => {
            let released = app.release_run(&actor(), &run, parameters).await;
            let refused = |why: Rejection| blocked(&format!("its parameters are refused. {why}"));
            (
                "release a run",
                or_append(app, &run, released, refused).await,
            )
        }
        Action::Append { run, step } => ("end a run", append(app, &run, step).await),
        Action::Stop { run_id } => {
            let stopped = app.stop_run(&actor(), &run_id).await;
            ("stop a hook", stopped.map(drop))
        }
    };
    if let Err(error) = done {
        tracing::warn!(what, %error, "hooks: not possible yet; trying again");
    }
}

/// What is refused is refused for good: then `step` says so in the run's own log.
async fn or_append(
    app: &App,
    run: &Run,
    done: Result<(), AppError>,
    step: impl FnOnce(Rejection) -> RunEvent,
) -> Result<(), AppError> {
    match done {
        Err(AppError::Rejected(why)) => append(app, run, step(why)).await,
        done => done,
    }
}

/// Whoever came first knew better.
async fn append(app: &App, run: &Run, step: RunEvent) -> Result<(), AppError> {
    app.append_step(&actor(), run, step).await.map(drop)
}

fn actor() -> Actor {
    Actor::policy("hooks")
}
