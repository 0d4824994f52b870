//! Brings what runners say of their own agents into the catalogue, after each change of either.

use super::Settings;
use crate::app::{App, AppError};
use crate::policy::announcements::{Action, actions};
use events::subject::Stream;
use std::collections::BTreeSet;

pub(super) async fn run(app: App, settings: Settings) {
    let mut runners = app.projections().watch(Stream::Runners);
    let mut catalog = app.projections().watch(Stream::Catalog);
    let mut told = BTreeSet::new();
    loop {
        runners.mark_unchanged();
        catalog.mark_unchanged();
        let done = look(&app, &mut told).await;
        tokio::select! {
            changed = runners.changed() => if changed.is_err() { return },
            // A name may have become free.
            changed = catalog.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(settings.settle_every), if !done => {}
        }
    }
}

/// One look, with all that follows from it; `false` where something has to be tried again. `told`
/// are the refusals that the log has already.
async fn look(app: &App, told: &mut BTreeSet<String>) -> bool {
    let projections = app.projections();
    let read_to = *projections.watch(Stream::Runners).borrow();
    let (catalog, runners) = (projections.catalog().catalog, projections.runners());
    let mut done = true;
    for action in actions(&catalog, &runners, read_to) {
        match perform(app, action).await {
            Ok(()) => {}
            Err(AppError::Rejected(refusal)) => {
                let refusal = refusal.to_string();
                if !told.contains(&refusal) {
                    tracing::warn!("{refusal}");
                    told.insert(refusal);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an agent of a runner: not possible yet; trying again");
                done = false;
            }
        }
    }
    done
}

async fn perform(app: &App, action: Action) -> Result<(), AppError> {
    match action {
        Action::Announce {
            runner_id,
            agent,
            registered_sequence,
        } => {
            app.announce_agent(&runner_id, *agent, registered_sequence)
                .await
        }
        Action::Withdraw {
            runner_id,
            name,
            read_to,
        } => app.withdraw_agent(&runner_id, &name, read_to).await,
    }
}
