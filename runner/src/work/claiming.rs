//! From a delivery to a claim, or to whatever else the run's state calls for.

use super::Ticket;
use super::steps::{Failed, Hold, Standing, append, latest};
use crate::claim::{Holder, Verdict, verdict};
use crate::station::Station;
use events::log::jetstream::Delivery;
use events::question::Question;
use events::run::{RunEvent, RunRequest, RunState};
use events::{EventId, RunnerId};
use std::time::Duration;

/// How long a run rests that another runner holds, or that cannot be judged now.
const HAND_BACK_DELAY: Duration = Duration::from_secs(10);

/// Makes the run ours; `None` when it is settled, or somebody else's.
pub async fn claim(
    station: &Station,
    delivery: &Delivery,
    request: Box<RunRequest>,
    ticket: &Ticket,
) -> Option<Hold> {
    // Most runs are as they were requested: no need to read before the first try.
    let mut standing = Standing {
        state: RunState::requested(),
        sequence: delivery.sequence,
    };
    let mut holder = Holder::Unknown;
    loop {
        let me = station.runner_id();
        let event = match verdict(&standing.state, request.max_attempts, me, holder) {
            Verdict::Claim { attempt } => RunEvent::Claimed {
                runner_id: me.clone(),
                attempt,
            },
            Verdict::Settle(event) => event,
            Verdict::Ask(runner) => {
                holder = ask(station, &runner, &standing.state, delivery).await;
                continue;
            }
            Verdict::Over => {
                station.queue.ack(&ticket.lease()).await;
                return None;
            }
            Verdict::HandBack => return hand_back(station, ticket).await,
        };
        let (lane, run_id) = (&delivery.lane, &delivery.run_id);
        match append(station, lane, run_id, &standing, EventId::fresh(), &event).await {
            Ok(next) => match event {
                RunEvent::Claimed { attempt, .. } => {
                    return Some(Hold {
                        lane: delivery.lane.clone(),
                        request,
                        attempt,
                        standing: next,
                    });
                }
                _ => {
                    tracing::warn!(run = %delivery.run_id, status = %next.state.status, "settled for a runner that is gone");
                    station.queue.ack(&ticket.lease()).await;
                    return None;
                }
            },
            Err(Failed::Conflict) => {
                match latest(station, &delivery.lane, &delivery.run_id).await {
                    Ok(Some(newer)) => {
                        standing = newer;
                        holder = Holder::Unknown;
                    }
                    // Retention has dropped the run: there is nothing to do any more.
                    Ok(None) => {
                        station.queue.ack(&ticket.lease()).await;
                        return None;
                    }
                    Err(_) => return hand_back(station, ticket).await,
                }
            }
            Err(Failed::Away) => return hand_back(station, ticket).await,
            Err(Failed::Full(reason) | Failed::Refused(reason)) => {
                tracing::error!(run = %delivery.run_id, reason, "a claim was refused");
                return hand_back(station, ticket).await;
            }
        }
    }
}

async fn ask(
    station: &Station,
    runner: &RunnerId,
    state: &RunState,
    delivery: &Delivery,
) -> Holder {
    let question = Question::HoldsRun {
        run_id: delivery.run_id.clone(),
        attempt: state.attempt,
    };
    let answer = station.connection.ask(runner, &question).await;
    let listening_for = station.connection.listening_for();
    match answer {
        Some(answer) => Holder::Said(answer),
        None if listening_for >= station.cadence.silence() => Holder::SilentForLong,
        None => Holder::SilentForAMoment,
    }
}

async fn hand_back(station: &Station, ticket: &Ticket) -> Option<Hold> {
    station
        .queue
        .hand_back(&ticket.lease(), HAND_BACK_DELAY)
        .await;
    None
}
