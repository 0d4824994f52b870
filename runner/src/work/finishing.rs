//! The end of a run, told to the log whatever happens: kept on disk while the broker is away,
//! and kept as evidence when the run was given up meanwhile.

use super::Ticket;
use super::output::Pump;
use super::performing::Ending;
use crate::spool::Waiting;
use crate::station::Station;
use events::EventId;
use events::claim::{
    AWAY_PAUSE, Failed, Hold, Next, Standing, Told, after_conflict, append, full, latest,
};
use events::run::{FailureReason, ResultChunks, RunEvent};
use tokio::task::block_in_place;

/// Tells the end of a run of ours. Output that is still under way comes first, so that whoever
/// sees the end has seen all of it.
pub async fn finish(
    station: &Station,
    hold: Hold,
    ending: Ending,
    output: Option<Pump>,
    ticket: &Ticket,
) -> Told {
    let waiting = Waiting {
        lane: hold.lane.clone(),
        run_id: hold.request.run_id.clone(),
        attempt: hold.attempt,
        event: ending.event,
        large_result: ending.large_result,
    };
    // Costs a sync to disk; a broker that is there takes the event sooner. A runner that leaves
    // may be gone before the broker has answered.
    if !station.connection.is_connected() || ticket.must_end() {
        keep(station, &waiting);
    }
    if let Some(output) = output {
        output.flushed().await;
    }
    tell(station, &waiting, Some(hold.standing)).await
}

/// Tells the log an end that an earlier life of this runner had kept.
pub async fn deliver(station: &Station, waiting: &Waiting) {
    tell(station, waiting, None).await;
}

/// Chunks of a large result first, and then the end.
async fn tell(station: &Station, waiting: &Waiting, standing: Option<Standing>) -> Told {
    let mut event = waiting.event.clone();
    let mut chunks = chunks(station, waiting).peekable();
    let mut id = EventId::fresh();
    let mut standing = standing;
    loop {
        let Some(known) = standing.take() else {
            match latest(&station.connection, &waiting.lane, &waiting.run_id).await {
                Ok(Some(newer)) => match fitting(station, waiting, &newer, event) {
                    Some(next) => {
                        event = next;
                        id = EventId::fresh();
                        standing = Some(newer);
                    }
                    None => return forget(station, waiting, Told::of(&newer.state)),
                },
                // Retention has dropped the run.
                Ok(None) => return forget(station, waiting, Told::Over),
                Err(_) => tokio::time::sleep(AWAY_PAUSE).await,
            }
            continue;
        };
        let chunk = chunks.peek().filter(|_| refers_to_chunks(&event));
        let next = chunk.unwrap_or(&event);
        match append(
            station.voice(),
            &waiting.lane,
            &waiting.run_id,
            &known,
            id,
            next,
        )
        .await
        {
            Ok(after) if chunk.is_some() => {
                chunks.next();
                id = EventId::fresh();
                standing = Some(after);
            }
            Ok(after) => {
                tracing::info!(run = %waiting.run_id, status = %after.state.status, "told");
                return forget(station, waiting, Told::of(&after.state));
            }
            Err(Failed::Conflict) => {}
            Err(Failed::Away) => {
                keep(station, waiting);
                tokio::time::sleep(AWAY_PAUSE).await;
                standing = Some(known);
            }
            Err(Failed::Full(reason)) => {
                keep(station, waiting);
                full(&waiting.run_id, &reason).await;
                standing = Some(known);
            }
            Err(Failed::Refused(reason)) => {
                tracing::error!(run = %waiting.run_id, reason, "the end of a run was refused");
                let Some(rest) = without_outcome(event, &reason) else {
                    return forget(station, waiting, Told::Elsewhere);
                };
                event = rest;
                id = EventId::fresh();
                standing = Some(known);
            }
        }
    }
}

/// The steps that carry a large result.
fn chunks(station: &Station, waiting: &Waiting) -> impl Iterator<Item = RunEvent> {
    let text = waiting.large_result.as_deref().unwrap_or_default();
    let cut = (0..).zip(ResultChunks::cut(text));
    cut.map(|(index, base64)| RunEvent::ResultChunk {
        runner_id: station.runner_id().clone(),
        attempt: waiting.attempt,
        index,
        base64,
    })
}

/// Whether chunks have to come before this. Evidence refers to its chunks as far as they had come:
/// who does not hold the run may add none.
fn refers_to_chunks(event: &RunEvent) -> bool {
    let outcome = match event {
        RunEvent::Completed { outcome, .. } => Some(outcome),
        RunEvent::Failed { outcome, .. } | RunEvent::Stopped { outcome } => outcome.as_ref(),
        _ => None,
    };
    outcome.is_some_and(|outcome| outcome.result_chunks.is_some())
}

/// The end without what the script left, for a broker that does not take all of it; `None` where
/// nothing is left to leave out.
fn without_outcome(event: RunEvent, refusal: &str) -> Option<RunEvent> {
    let left_out =
        |error: &str| format!("{error}; the broker refused to store what it left: {refusal}");
    let (reason, error) = match event {
        RunEvent::Completed { .. } => (FailureReason::OutputInvalid, left_out("the script ended")),
        RunEvent::Failed {
            reason,
            error,
            outcome: Some(_),
        } => (reason, left_out(&error)),
        RunEvent::Stopped { outcome: Some(_) } => return Some(RunEvent::Stopped { outcome: None }),
        _ => return None,
    };
    Some(RunEvent::Failed {
        reason,
        error,
        outcome: None,
    })
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
        Next::Stands | Next::Nothing => None,
    }
}

fn keep(station: &Station, waiting: &Waiting) {
    if let Err(error) = block_in_place(|| station.spool.keep(waiting)) {
        tracing::error!(run = %waiting.run_id, %error, "a result cannot be kept on disk; it is kept in memory");
    }
}

fn forget(station: &Station, waiting: &Waiting, told: Told) -> Told {
    if let Err(error) = station.spool.remove(&waiting.run_id) {
        tracing::error!(run = %waiting.run_id, %error, "a told result cannot be removed");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::run::Outcome;
    use serde_json::json;

    #[test]
    fn an_end_that_is_refused_is_told_without_what_the_script_left() {
        let completed = RunEvent::Completed {
            runner_id: "me".parse().unwrap(),
            attempt: 1,
            outcome: Outcome {
                exit_code: 0,
                result_data: json!("large"),
                result_chunks: None,
                duration_ms: 1,
            },
        };
        let rest = without_outcome(completed, "too large").unwrap();
        let RunEvent::Failed {
            error,
            outcome: None,
            ..
        } = &rest
        else {
            panic!("{rest:?}");
        };
        assert!(error.contains("too large"), "{error}");
        assert_eq!(without_outcome(rest, "again"), None);
    }
}
