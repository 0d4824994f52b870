//! Keeps the queue of every lane that something needs: one that is gone, by whoever's hand, is made
//! again. The broker tells of it as it happens; what is missed is found by looking.

use super::Settings;
use crate::app::App;
use events::log::jetstream::{AskError, QueueError};
use futures::StreamExt as _;
use std::time::Duration;

/// Before the broker is asked again to tell.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn run(app: App, settings: Settings) {
    loop {
        if let Err(error) = listen(&app, settings).await {
            tracing::warn!(%error, "lost queues are not told of now; asking again");
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Until the broker tells no more.
async fn listen(app: &App, settings: Settings) -> Result<(), AskError> {
    let mut lost = app.broker().wire.lost_queues().await?;
    let mut runs = tokio::time::interval(settings.settle_every);
    let mut lists = tokio::time::interval(settings.reread_lanes_every);
    let mut interruptions = 0;
    loop {
        tokio::select! {
            lane = lost.next() => {
                let Some(lane) = lane else { return Ok(()) };
                app.forget_lane(&lane);
            }
            // A lane may have been retired while a run of it was being requested elsewhere.
            _ = runs.tick() => {
                let now = app.broker().wire.link().borrow().interruptions;
                if now != interruptions {
                    interruptions = now;
                    lists.reset_immediately();
                }
            }
            // What the broker told while nobody listened.
            _ = lists.tick() => forget_missing(app).await,
        }
        see_to_needed(app).await;
    }
}

async fn forget_missing(app: &App) {
    match app.broker().wire.queues().await {
        Ok(there) => app.forget_lanes_except(&there),
        Err(error) => log(&error),
    }
}

async fn see_to_needed(app: &App) {
    for tags in app.lanes_needed().values() {
        if let Err(error) = app.ensure_lane(tags).await {
            // The next look tries again.
            tracing::warn!(%error, lane = %tags.lane(), "a lane cannot be seen to now");
            return;
        }
    }
}

fn log(error: &QueueError) {
    tracing::warn!(%error, "the queues cannot be listed now; trying again");
}
