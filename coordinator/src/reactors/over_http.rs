//! Looks after what runners over HTTP hold: keeps the leases that are here, ends them, and settles what
//! is left by a runner that is gone.

use super::Settings;
use crate::app::{App, AppError, StepOutcome};
use crate::policy::over_http::{Step, steps};
use events::run::Run;
use events::subject::Stream;
use events::{RunId, RunnerId};
use std::time::Duration;

pub(super) async fn run(app: App, settings: Settings) {
    let mut looks = tokio::time::interval(settings.settle_every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        keep_leases(&app).await;
        for run in app.projections().held_over_http() {
            if let Err(error) = settle(&app, run).await {
                tracing::warn!(%error, "a run of a runner over HTTP could not be settled yet");
            }
        }
    }
}

async fn keep_leases(app: &App) {
    let desk = app.desk();
    for (run_id, lease) in desk.leases() {
        match standing(app, &run_id) {
            Standing::AtWork => desk.progress(&lease).await,
            Standing::Over => desk.ack(&run_id).await,
            Standing::Waits => desk.hand_back(&run_id, Duration::ZERO).await,
        }
    }
}

enum Standing {
    AtWork,
    Waits,
    Over,
}

fn standing(app: &App, run_id: &RunId) -> Standing {
    match app.projections().run(run_id) {
        Ok(Some(run)) if run.state.status.is_final() => Standing::Over,
        Ok(Some(run))
            if run
                .state
                .runner_id
                .as_ref()
                .is_some_and(RunnerId::is_over_http) =>
        {
            Standing::AtWork
        }
        Ok(Some(_)) => Standing::Waits,
        // Retention has dropped it.
        Ok(None) => Standing::Over,
        Err(_) => Standing::AtWork,
    }
}

async fn settle(app: &App, run: Run) -> Result<(), AppError> {
    let steps = steps(
        &run,
        &app.projections().runners(),
        &app.hearing(),
        app.now(),
    );
    let Some(holder) = run.state.runner_id.clone() else {
        return Ok(());
    };
    let (mut run, run_id) = (run.clone(), run.request.run_id);
    for step in steps {
        let name = match &step {
            Step::AsRunner(event) | Step::AsCoordinator(_, event) => event.name(),
        };
        let stored = match step {
            Step::AsRunner(event) => app.append_as(&holder, &run, event).await?,
            Step::AsCoordinator(actor, event) => app.append_step(&actor, &run, event).await?,
        };
        // Whoever came first knew better.
        let StepOutcome::Stored { sequence } = stored else {
            return Ok(());
        };
        tracing::info!(%run_id, runner = %holder, step = name, "settled for a runner over HTTP");
        app.projections().applied(Stream::Runs, sequence).await;
        run = app.run(&run_id)?;
    }
    Ok(())
}
