//! From a delivery to a claim, or to whatever else the run's state calls for.

use super::steps::{Failed, Hold, Standing, Voice, append, latest};
use super::verdict::{Holder, Verdict, verdict};
use crate::log::jetstream::Delivery;
use crate::question::Question;
use crate::run::{RunEvent, RunRequest, RunState, RunStep};
use crate::{Envelope, EventId, RunnerId};
use async_trait::async_trait;
use std::time::Duration;

/// How long a run rests that another runner holds, or that cannot be judged now.
pub const HAND_BACK_DELAY: Duration = Duration::from_secs(10);

/// What came of a delivery.
pub enum Claimed {
    Ours(Hold),
    /// It has ended, or there is nothing of it any more: it is never to be delivered again.
    Over,
    /// It is somebody else's, or nobody can say now: to be delivered again after
    /// [`HAND_BACK_DELAY`].
    NotNow,
}

/// Finds out whether the runner that has a run lives.
#[async_trait]
pub trait Ask: Send + Sync {
    async fn ask(&self, runner: &RunnerId, question: Question) -> Holder;
}

/// What a delivery asks for; `None` where that cannot be read.
pub fn readable(delivery: &Delivery) -> Option<Box<RunRequest>> {
    let envelope = Envelope::<RunStep>::from_bytes(&delivery.payload).ok()?;
    match envelope.event.step {
        RunEvent::Requested(request) if request.run_id == delivery.run_id => Some(request),
        _ => None,
    }
}

/// Makes the run ours, or settles it.
pub async fn claim(
    me: Voice<'_>,
    delivery: &Delivery,
    request: Box<RunRequest>,
    others: &dyn Ask,
) -> Claimed {
    // Most runs are as they were requested: no need to read before the first try.
    let mut standing = Standing {
        state: RunState::requested(),
        sequence: delivery.sequence,
    };
    let mut holder = Holder::Unknown;
    loop {
        let event = match verdict(&standing.state, request.max_attempts, me.runner_id, holder) {
            Verdict::Claim { attempt } => RunEvent::Claimed {
                runner_id: me.runner_id.clone(),
                attempt,
            },
            Verdict::Settle(event) => event,
            Verdict::Ask(runner) => {
                let question = Question::HoldsRun {
                    run_id: delivery.run_id.clone(),
                    attempt: standing.state.attempt,
                };
                holder = others.ask(&runner, question).await;
                continue;
            }
            Verdict::Over => return Claimed::Over,
            Verdict::HandBack => return Claimed::NotNow,
        };
        let (lane, run_id) = (&delivery.lane, &delivery.run_id);
        match append(me, lane, run_id, &standing, EventId::fresh(), &event).await {
            Ok(next) => match event {
                RunEvent::Claimed { attempt, .. } => {
                    return Claimed::Ours(Hold {
                        lane: delivery.lane.clone(),
                        request,
                        attempt,
                        standing: next,
                    });
                }
                _ => {
                    tracing::warn!(run = %delivery.run_id, status = %next.state.status, "settled for a runner that is gone");
                    return Claimed::Over;
                }
            },
            Err(Failed::Conflict) => {
                match latest(me.log, &delivery.lane, &delivery.run_id).await {
                    Ok(Some(newer)) => {
                        standing = newer;
                        holder = Holder::Unknown;
                    }
                    // Retention has dropped the run: there is nothing to do any more.
                    Ok(None) => return Claimed::Over,
                    Err(_) => return Claimed::NotNow,
                }
            }
            Err(Failed::Away) => return Claimed::NotNow,
            Err(Failed::Full(reason) | Failed::Refused(reason)) => {
                tracing::error!(run = %delivery.run_id, reason, "a claim was refused");
                return Claimed::NotNow;
            }
        }
    }
}
