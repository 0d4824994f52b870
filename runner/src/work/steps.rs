//! Appending a run's steps: each expects the last one it was decided on.

use crate::claim::{Next, after_conflict};
use crate::station::Station;
use events::log::{Append, AppendError, Expect, Log as _, ReadError};
use events::run::{RunEvent, RunRequest, RunState, RunStatus, RunStep};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Actor, Envelope, EventId, Lane, RunId, Timestamp};
use std::time::Duration;

/// Between two tries while the broker is away.
pub const AWAY_PAUSE: Duration = Duration::from_millis(200);

/// Where a run stands in the log.
#[derive(Clone, Debug)]
pub struct Standing {
    pub state: RunState,
    pub sequence: u64,
}

/// A run that is ours.
pub struct Hold {
    pub lane: Lane,
    pub request: Box<RunRequest>,
    pub attempt: u32,
    pub standing: Standing,
}

impl Hold {
    /// Appends a step, waiting out an absence of the broker. `false` when the run is no longer
    /// ours, or ended because a stop had come first.
    pub async fn append(&mut self, station: &Station, event: RunEvent) -> bool {
        let mut event = event;
        loop {
            match append(
                station,
                &self.lane,
                &self.request.run_id,
                &self.standing,
                &event,
            )
            .await
            {
                Ok(standing) => {
                    self.standing = standing;
                    return self.standing.state.status != RunStatus::Stopped;
                }
                Err(Failed::Conflict) => {
                    let Some(standing) = self.reload(station).await else {
                        return false;
                    };
                    let me = station.runner_id();
                    match after_conflict(&standing.state, me, self.attempt, event) {
                        Next::Again(again) => event = *again,
                        Next::Evidence(_) | Next::Nothing => return false,
                    }
                    self.standing = standing;
                }
                Err(Failed::Away) => tokio::time::sleep(AWAY_PAUSE).await,
                Err(Failed::Refused(reason)) => {
                    tracing::error!(run = %self.request.run_id, reason, "a step was refused");
                    return false;
                }
            }
        }
    }

    /// Whether another attempt may follow when this one is cut off.
    pub fn is_repeatable(&self) -> bool {
        self.attempt < self.request.max_attempts
    }

    async fn reload(&self, station: &Station) -> Option<Standing> {
        loop {
            match latest(station, &self.lane, &self.request.run_id).await {
                Ok(standing) => return standing,
                Err(_) => tokio::time::sleep(AWAY_PAUSE).await,
            }
        }
    }
}

/// Why a step is not stored.
#[derive(Debug)]
pub enum Failed {
    /// Somebody else was first: read again.
    Conflict,
    /// The broker is away; nothing is known.
    Away,
    /// It will never be stored.
    Refused(String),
}

/// Appends one step after `standing`.
pub async fn append(
    station: &Station,
    lane: &Lane,
    run_id: &RunId,
    standing: &Standing,
    event: &RunEvent,
) -> Result<Standing, Failed> {
    let step = event
        .clone()
        .after(&standing.state)
        .map_err(|illegal| Failed::Refused(illegal.to_string()))?;
    let state = step.state.clone();
    let envelope = Envelope {
        id: EventId::fresh(),
        at: Timestamp::now(),
        actor: Actor::runner(station.runner_id()),
        previous: None,
        event: step,
    };
    let subject = RunSubject {
        lane: lane.clone(),
        run_id: run_id.clone(),
        writer: Writer::Runner(station.runner_id().clone()),
    };
    let append = Append {
        stream: Stream::Runs,
        subject: subject.as_string(),
        id: envelope.id,
        payload: envelope.to_bytes(),
        expect: Expect::Subjects {
            filter: subject::run_all(lane, run_id),
            sequence: standing.sequence,
        },
    };
    match events::log::Log::append(&station.connection, append).await {
        Ok(appended) => Ok(Standing {
            state,
            sequence: appended.sequence,
        }),
        Err(AppendError::Conflict { .. }) => Err(Failed::Conflict),
        Err(AppendError::Unavailable { .. }) => Err(Failed::Away),
        Err(AppendError::Refused { reason, .. }) => Err(Failed::Refused(reason)),
    }
}

/// Where the run stands now; `None` when the log no longer has it.
pub async fn latest(
    station: &Station,
    lane: &Lane,
    run_id: &RunId,
) -> Result<Option<Standing>, ReadError> {
    let filter = subject::run_all(lane, run_id);
    let last = station.connection.last(Stream::Runs, &filter).await?;
    Ok(last.and_then(|stored| {
        let envelope = Envelope::<RunStep>::from_bytes(&stored.payload).ok()?;
        Some(Standing {
            state: envelope.event.state,
            sequence: stored.sequence,
        })
    }))
}
