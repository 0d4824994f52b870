//! Takes lanes away that nothing needs any more: no agent, no pin, no unfinished run.
//!
//! The lane is told to be retired by an append that loses against any other word to it; then its
//! queue and its messages go. A request that was on its way meanwhile is in the log, and `queues`
//! makes the lane of an unfinished run again, here as in every other coordinator.

use super::distribution::Observed;
use crate::app::{App, AppError, lane_append};
use crate::policy::distribution::ObservedLane;
use events::Lane;
use events::distribution::LaneEvent;
use events::log::AppendError;
use events::subject;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Since when nothing has needed a lane.
#[derive(Default)]
pub(super) struct Idle(HashMap<Lane, Instant>);

impl Idle {
    /// Retires what nothing has needed for so long.
    pub(super) async fn retire(
        &mut self,
        app: &App,
        observed: &mut Observed,
        after: Duration,
    ) -> Result<(), AppError> {
        let overdue = self.overdue(app, observed, after);
        if overdue.is_empty() {
            return Ok(());
        }
        // No request that is stored by now is overlooked.
        app.caught_up().await?;
        let needed = app.lanes_needed();
        for lane in overdue {
            if let Some(known) = observed.get(&lane)
                && !needed.contains_key(&lane)
                && retire(app, &lane, known).await?
            {
                observed.remove(&lane);
                self.0.remove(&lane);
            }
        }
        Ok(())
    }

    fn overdue(&mut self, app: &App, observed: &Observed, after: Duration) -> Vec<Lane> {
        let needed = app.lanes_needed();
        let idle = |lane: &Lane| observed.contains_key(lane) && !needed.contains_key(lane);
        self.0.retain(|lane, _| idle(lane));
        let now = Instant::now();
        for lane in observed.keys().filter(|lane| idle(lane)) {
            self.0.entry(lane.clone()).or_insert(now);
        }
        let overdue = self.0.iter();
        let overdue = overdue.filter(|(_, since)| now.duration_since(**since) >= after);
        overdue.map(|(lane, _)| lane.clone()).collect()
    }
}

/// `false` when somebody else said something to the lane in between.
async fn retire(app: &App, lane: &Lane, known: &ObservedLane) -> Result<bool, AppError> {
    // From here on whoever needs it here looks again.
    app.forget_lane(lane);
    let up_to = match &known.tags {
        // Retired before, by somebody who did not come to the end.
        None => known.last_sequence,
        Some(_) => {
            let subject = subject::lane_tags(lane);
            let append = lane_append(lane, subject, LaneEvent::Retired, known.last_sequence);
            match app.broker().log.append(append).await {
                Ok(appended) => appended.sequence,
                Err(AppendError::Conflict { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    };
    app.broker().wire.drop_lane(lane, up_to).await?;
    // What was seen to in between was taken away with it.
    app.forget_lane(lane);
    tracing::info!(%lane, "retired a lane that nothing needs");
    Ok(true)
}
