//! Starts the runs of hooks, and carries out what they say.

use super::Settings;
use crate::app::{App, AppError, Rejection};
use crate::domain::ids::run_of_hook;
use crate::policy::hooks::{Action, Pair, blocked, of_ended, of_live};
use crate::projections::{Debt, HookNews, StoreError};
use events::run::{HookPoint, Run, RunEvent};
use events::subject::Stream;
use events::{Actor, RunId};
use futures::StreamExt as _;
use std::collections::BTreeMap;

/// Actions under way at the same time.
const AT_ONCE: usize = 16;
/// Ended runs looked at in one round; those that are served make room for the rest.
const OWED_AT_ONCE: usize = 1_000;

pub(super) async fn run(app: App, settings: Settings) {
    let mut changes = app.projections().watch(Stream::Runs);
    // What did not succeed is tried again.
    let mut looks = tokio::time::interval(settings.settle_every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let whole = tokio::select! {
            _ = looks.tick() => true,
            changed = changes.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
        };
        changes.mark_unchanged();
        if let Err(error) = look(&app, whole).await {
            tracing::warn!(%error, "the runs with hooks cannot be read");
        }
    }
}

/// One look, at all live runs that hooks have to do with or at those that have changed, with all that
/// follows from it.
async fn look(app: &App, whole: bool) -> Result<(), StoreError> {
    let mut actions = Vec::new();
    for pair in pairs(app, whole)? {
        actions.extend(of_live(&pair));
    }
    let owed = app.projections().owed(Debt::Hook, OWED_AT_ONCE)?;
    actions.extend(owed.iter().filter_map(of_ended));
    futures::stream::iter(actions)
        .for_each_concurrent(AT_ONCE, |action| perform(app, action))
        .await;
    Ok(())
}

fn pairs(app: &App, whole: bool) -> Result<Vec<Pair>, StoreError> {
    let news = app.projections().take_hook_news();
    let changed = match news {
        HookNews::Of(changed) if !whole => changed,
        HookNews::Of(_) | HookNews::All => {
            let runs = app.projections().hooked_runs().into_iter();
            return runs.map(|run| pair(app, run)).collect();
        }
    };
    // What one of two has become may concern the other.
    let mut concerned = BTreeMap::new();
    for run_id in changed {
        let Some(run) = app.projections().run(&run_id)? else {
            continue;
        };
        let other = app.projections().run(&counterpart(&run))?;
        concerned.extend(other.map(|other| (other.first_sequence, other)));
        concerned.insert(run.first_sequence, run);
    }
    let live = concerned.into_values();
    let live = live.filter(|run| !run.state.status.is_final());
    live.map(|run| pair(app, run)).collect()
}

fn pair(app: &App, run: Run) -> Result<Pair, StoreError> {
    let other = app.projections().run(&counterpart(&run))?;
    Ok(Pair { run, other })
}

/// The run of a run's `on_run_start` hook; of such a hook, the run it is for.
fn counterpart(run: &Run) -> RunId {
    match &run.request.hook_of {
        Some(of) => of.run_id.clone(),
        None => run_of_hook(&run.request.run_id, HookPoint::OnRunStart),
    }
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
