//! The end of a run, told to the log whatever happens: kept on disk while the broker is away,
//! and kept as evidence when the run was given up meanwhile.

use super::output::Pump;
use super::steps::{AWAY_PAUSE, Failed, Hold, Standing, append, latest};
use crate::claim::{Next, after_conflict};
use crate::spool::Waiting;
use crate::station::Station;
use events::run::RunEvent;

/// Tells the end of a run of ours. Output that is still under way comes first, so that whoever
/// sees the end has seen all of it.
pub async fn finish(station: &Station, hold: Hold, event: RunEvent, output: Option<Pump>) {
    let waiting = Waiting {
        lane: hold.lane.clone(),
        run_id: hold.request.run_id.clone(),
        attempt: hold.attempt,
        event,
    };
    // Costs a sync to disk; a broker that is there takes the event sooner.
    if !station.connection.is_connected() {
        keep(station, &waiting);
    }
    if let Some(output) = output {
        output.flushed().await;
    }
    // Who was stopped read so in the log: the attempt's own knowledge of the run is older.
    let is_stopped = matches!(waiting.event, RunEvent::Stopped { .. });
    let standing = (!is_stopped).then_some(hold.standing);
    tell(station, &waiting, standing).await;
}

/// Tells the log an end that an earlier life of this runner had kept.
pub async fn deliver(station: &Station, waiting: &Waiting) {
    tell(station, waiting, None).await;
}

async fn tell(station: &Station, waiting: &Waiting, standing: Option<Standing>) {
    let mut event = waiting.event.clone();
    let mut standing = standing;
    loop {
        let Some(known) = standing.take() else {
            match latest(station, &waiting.lane, &waiting.run_id).await {
                Ok(Some(newer)) => match fitting(station, waiting, &newer, event) {
                    Some(next) => {
                        event = next;
                        standing = Some(newer);
                    }
                    None => return forget(station, waiting),
                },
                // Retention has dropped the run.
                Ok(None) => return forget(station, waiting),
                Err(_) => tokio::time::sleep(AWAY_PAUSE).await,
            }
            continue;
        };
        match append(station, &waiting.lane, &waiting.run_id, &known, &event).await {
            Ok(after) => {
                tracing::info!(run = %waiting.run_id, status = %after.state.status, "told");
                return forget(station, waiting);
            }
            Err(Failed::Conflict) => {}
            Err(Failed::Away) => {
                keep(station, waiting);
                tokio::time::sleep(AWAY_PAUSE).await;
                standing = Some(known);
            }
            Err(Failed::Refused(reason)) => {
                tracing::error!(run = %waiting.run_id, reason, "the end of a run was refused");
                return forget(station, waiting);
            }
        }
    }
}

/// What is left to say of an end, now that the run stands elsewhere than thought.
fn fitting(
    station: &Station,
    waiting: &Waiting,
    standing: &Standing,
    event: RunEvent,
) -> Option<RunEvent> {
    if matches!(event, RunEvent::LateResult { .. }) {
        return Some(event);
    }
    match after_conflict(&standing.state, station.runner_id(), waiting.attempt, event) {
        Next::Again(event) => Some(*event),
        Next::Evidence(event) => {
            tracing::warn!(run = %waiting.run_id, "the run was given up meanwhile; its result is kept as evidence");
            Some(*event)
        }
        Next::Nothing => None,
    }
}

fn keep(station: &Station, waiting: &Waiting) {
    if let Err(error) = station.spool.keep(waiting) {
        tracing::error!(run = %waiting.run_id, %error, "a result cannot be kept on disk; it is kept in memory");
    }
}

fn forget(station: &Station, waiting: &Waiting) {
    if let Err(error) = station.spool.remove(&waiting.run_id) {
        tracing::error!(run = %waiting.run_id, %error, "a told result cannot be removed");
    }
}
