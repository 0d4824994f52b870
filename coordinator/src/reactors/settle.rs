//! Settles the runs that nobody works on any more.

use super::Settings;
use crate::app::{App, StepOutcome};
use crate::policy::settle::{Action, Situation, actions};
use events::question::{Answer, Question};
use events::run::{Run, RunEvent};
use events::{Actor, LaneTags, RunnerId};
use futures::StreamExt as _;
use std::collections::BTreeMap;

/// Runners asked at the same time.
const ASKED_AT_ONCE: usize = 16;

pub(super) async fn run(app: App, settings: Settings) {
    let mut looks = tokio::time::interval(settings.settle_every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        look(&app, settings).await;
    }
}

/// One look, with all that follows from it.
pub(super) async fn look(app: &App, settings: Settings) {
    let (runners, hearing) = (app.projections().runners(), app.hearing());
    let nothing = Situation {
        live: &[],
        runners: &runners,
        hearing: &hearing,
        now: app.now(),
    };
    let live = unserved(app, &nothing);
    let situation = Situation {
        live: &live,
        ..nothing
    };
    let actions = actions(&situation, settings.patience);
    let actions = futures::stream::iter(actions);
    actions
        .for_each_concurrent(ASKED_AT_ONCE, |action| perform(app, action))
        .await;
}

/// The runs that policy may have to do with: hardly any, of however many.
fn unserved(app: &App, situation: &Situation<'_>) -> Vec<Run> {
    let mut lanes: BTreeMap<LaneTags, bool> = BTreeMap::new();
    app.projections().of_live_runs(|run| {
        let tags = &run.request.lane_tags;
        let served = match lanes.get(tags) {
            Some(served) => *served,
            None => {
                let served = situation.is_served(tags);
                lanes.insert(tags.clone(), served);
                served
            }
        };
        (!served).then(|| run.clone())
    })
}

async fn perform(app: &App, action: Action) {
    match action {
        Action::Append { run, step } => append(app, &run, step).await,
        Action::AskThenAppend {
            runner,
            run,
            step,
            silent,
        } => match (answer(app, &runner, &run).await, silent) {
            (Some(Answer::No), _) | (None, true) => append(app, &run, step).await,
            (Some(Answer::Yes), _) | (None, false) => {}
        },
    }
}

async fn answer(app: &App, runner: &RunnerId, run: &Run) -> Option<Answer> {
    let question = Question::HoldsRun {
        run_id: run.request.run_id.clone(),
        attempt: run.state.attempt,
    };
    app.broker().wire.ask(runner, &question).await
}

async fn append(app: &App, run: &Run, step: RunEvent) {
    let (run_id, name) = (&run.request.run_id, step.name());
    match app.append_step(&Actor::policy("settle"), run, step).await {
        Ok(StepOutcome::Stored { .. }) => tracing::info!(%run_id, step = name, "settled a run"),
        // Whoever came first knew better.
        Ok(StepOutcome::Overtaken { .. }) => {}
        Err(error) => tracing::warn!(%run_id, %error, "a run could not be settled yet"),
    }
}
