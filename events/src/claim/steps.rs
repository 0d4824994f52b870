//! Appending a run's steps: each expects the last one it was decided on.

use super::verdict::{Next, after_conflict};
use crate::log::{Append, AppendError, Expect, Log, ReadError};
use crate::run::{RunEvent, RunRequest, RunState, RunStatus, RunStep};
use crate::subject::{self, RunSubject, Stream, Writer};
use crate::{Actor, Envelope, EventId, Lane, RunId, RunnerId, Timestamp};
use std::time::Duration;

/// In whose name steps are appended, and to what.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
    pub log: &'a dyn Log,
    pub runner_id: &'a RunnerId,
}

/// Between two tries while the broker is away.
pub const AWAY_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries while the broker has no room: somebody has to make some.
const FULL_PAUSE: Duration = Duration::from_secs(2);

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

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It stands in the log.
    Stands,
    /// The run has ended: it is never to be delivered again.
    Over,
    /// The run is in other hands, or nobody knows: its delivery is theirs to settle, and ending it
    /// here would leave it with nobody once they die.
    Elsewhere,
}

impl Told {
    /// Of a step that is not the run's newest.
    pub fn of(state: &RunState) -> Self {
        match state.status.is_final() {
            true => Self::Over,
            false => Self::Elsewhere,
        }
    }
}

impl Hold {
    /// Appends a step, waiting out an absence of the broker.
    pub async fn append(&mut self, me: Voice<'_>, event: RunEvent) -> Told {
        let mut event = event;
        let mut id = EventId::fresh();
        loop {
            let (run_id, standing) = (&self.request.run_id, &self.standing);
            match append(me, &self.lane, run_id, standing, id, &event).await {
                Ok(standing) => {
                    self.standing = standing;
                    // A stop came first, and the step became its end.
                    return match self.standing.state.status {
                        RunStatus::Stopped => Told::Over,
                        _ => Told::Stands,
                    };
                }
                Err(Failed::Conflict) => {
                    let Some(standing) = self.reload(me).await else {
                        return Told::Over;
                    };
                    match after_conflict(&standing.state, me.runner_id, self.attempt, event) {
                        Next::Again(again) => event = *again,
                        Next::Stands => {
                            self.standing = standing;
                            return Told::Stands;
                        }
                        Next::Evidence(_) | Next::Nothing => return Told::of(&standing.state),
                    }
                    self.standing = standing;
                    id = EventId::fresh();
                }
                Err(Failed::Away) => tokio::time::sleep(AWAY_PAUSE).await,
                Err(Failed::Full(reason)) => full(run_id, &reason).await,
                Err(Failed::Refused(reason)) => {
                    tracing::error!(run = %self.request.run_id, reason, "a step was refused");
                    return Told::Elsewhere;
                }
            }
        }
    }

    /// Whether another attempt may follow when this one is cut off.
    pub fn is_repeatable(&self) -> bool {
        self.attempt < self.request.max_attempts
    }

    async fn reload(&self, me: Voice<'_>) -> Option<Standing> {
        loop {
            match latest(me.log, &self.lane, &self.request.run_id).await {
                Ok(standing) => return standing,
                Err(_) => tokio::time::sleep(AWAY_PAUSE).await,
            }
        }
    }
}

/// Says that the broker has no room, and gives it time.
pub async fn full(run_id: &RunId, reason: &str) {
    tracing::error!(run = %run_id, reason, "the broker has no room for a step; trying again");
    tokio::time::sleep(FULL_PAUSE).await;
}

/// Why a step is not stored.
#[derive(Debug)]
pub enum Failed {
    /// Somebody else was first: read again.
    Conflict,
    /// The broker is away; nothing is known.
    Away,
    /// The broker has no room; nothing is stored.
    Full(String),
    /// It will never be stored.
    Refused(String),
}

/// Appends one step after `standing`. A repeated try has to come under the same `id`: the first
/// may have been stored and its acknowledgement lost.
pub async fn append(
    me: Voice<'_>,
    lane: &Lane,
    run_id: &RunId,
    standing: &Standing,
    id: EventId,
    event: &RunEvent,
) -> Result<Standing, Failed> {
    // A step that cannot follow what we know answers to something newer, as an end by a stop does.
    let step = event
        .clone()
        .after(&standing.state)
        .map_err(|_| Failed::Conflict)?;
    let state = step.state.clone();
    let envelope = Envelope {
        id,
        at: Timestamp::now(),
        actor: Actor::runner(me.runner_id),
        previous: None,
        event: step,
    };
    let subject = RunSubject {
        lane: lane.clone(),
        run_id: run_id.clone(),
        writer: Writer::Runner(me.runner_id.clone()),
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
    match me.log.append(append).await {
        Ok(appended) => Ok(Standing {
            state,
            sequence: appended.sequence,
        }),
        Err(AppendError::Conflict { .. }) => Err(Failed::Conflict),
        Err(AppendError::Unavailable { .. }) => Err(Failed::Away),
        Err(AppendError::Full { reason, .. }) => Err(Failed::Full(reason)),
        Err(AppendError::Refused { reason, .. }) => Err(Failed::Refused(reason)),
    }
}

/// Where the run stands now; `None` when the log no longer has it.
pub async fn latest(
    log: &dyn Log,
    lane: &Lane,
    run_id: &RunId,
) -> Result<Option<Standing>, ReadError> {
    let filter = subject::run_all(lane, run_id);
    let last = log.last(Stream::Runs, &filter).await?;
    Ok(last.and_then(|stored| {
        let envelope = Envelope::<RunStep>::from_bytes(&stored.payload).ok()?;
        Some(Standing {
            state: envelope.event.state,
            sequence: stored.sequence,
        })
    }))
}
