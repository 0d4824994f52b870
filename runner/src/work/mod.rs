//! One run, from its delivery to its end: `claiming` makes it ours, `preparing` finds bundle and
//! interpreter, `performing` executes it, `finishing` tells the log, `output` passes on what the
//! script writes.

mod claiming;
mod finishing;
mod output;
mod performing;
mod preparing;

pub use finishing::deliver;

use crate::station::Station;
use claiming::claim;
use events::RunId;
use events::claim::{Hold, Told, readable};
use events::log::jetstream::{Delivery, Lease};
use events::run::{FailureReason, RunEvent, TraceParent, back_off};
use preparing::{Gathered, Prepared, Refusal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::Instrument as _;

/// The supervisor's handle on a run at work.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub run_id: RunId,
    lease: Arc<Mutex<Lease>>,
    /// Somebody said something about the run; what, stands in the log.
    hint: Arc<Notify>,
    leaving: watch::Receiver<Leaving>,
}

/// Whether the runner is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    No,
    /// Nothing new is begun.
    Draining,
    /// What still runs is ended.
    Now,
}

impl Ticket {
    pub fn new(delivery: &Delivery, leaving: watch::Receiver<Leaving>) -> Self {
        Self {
            run_id: delivery.run_id.clone(),
            lease: Arc::new(Mutex::new(delivery.lease.clone())),
            hint: Arc::default(),
            leaving,
        }
    }

    /// The same run was delivered to us again: from now on this lease counts.
    pub fn renew(&self, lease: Lease) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    pub fn hint(&self) {
        self.hint.notify_one();
    }

    /// Whether the runner leaves at once.
    fn must_end(&self) -> bool {
        *self.leaving.borrow() == Leaving::Now
    }

    fn lease(&self) -> Lease {
        self.lease
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Works on a delivered run until it has ended, or is in other hands.
pub async fn work(station: Arc<Station>, delivery: Delivery, ticket: Ticket) {
    let Some(request) = readable(&delivery) else {
        tracing::warn!(run = %delivery.run_id, "a request is not readable; it is left aside");
        station.queue.ack(&ticket.lease()).await;
        return;
    };
    // While the log answers.
    let (hold, ahead) = tokio::join!(
        claim(&station, &delivery, request.clone(), &ticket),
        preparing::look_ahead(&station, &request)
    );
    let Some(hold) = hold else { return };
    // One that was lost before rests first; meanwhile somebody may touch what was found.
    let ahead = ahead.filter(|_| hold.attempt == 1);
    tracing::info!(run = %ticket.run_id, agent = %hold.request.agent, attempt = hold.attempt, "claimed");
    // For traces only: lines of the log name their run themselves.
    let span = tracing::info_span!(target: "traces", "run", run = %ticket.run_id, agent = %hold.request.agent);
    let parent = hold.request.traceparent.as_ref();
    startup::traces::adopt(&span, parent.map(TraceParent::as_str));
    // Preparing may take longer than a lease, performing does by nature.
    let done = tokio::select! {
        done = carry_through(&station, hold, ahead, &ticket).instrument(span) => done,
        () = keep_lease(&station, &ticket) => unreachable!("a lease is kept for ever"),
    };
    match done {
        Done::Over => station.queue.ack(&ticket.lease()).await,
        Done::HandedBack => {
            station
                .queue
                .hand_back(&ticket.lease(), Duration::ZERO)
                .await;
        }
        Done::Elsewhere => {}
    }
}

/// What is to become of the delivery.
enum Done {
    /// Nothing more: the run has ended.
    Over,
    HandedBack,
    /// Not ours to say; should nobody else settle it, it comes again.
    Elsewhere,
}

impl From<Told> for Done {
    fn from(told: Told) -> Self {
        match told {
            Told::Over => Self::Over,
            Told::Stands | Told::Elsewhere => Self::Elsewhere,
        }
    }
}

async fn carry_through(
    station: &Arc<Station>,
    mut hold: Hold,
    ahead: Option<Gathered>,
    ticket: &Ticket,
) -> Done {
    // The script goes on under our own span, where spans are sent.
    if let Some(Ok(ours)) = startup::traces::current().map(|text| text.parse()) {
        hold.request.traceparent = Some(ours);
    }
    let prepared = tokio::select! {
        prepared = prepare(station, &hold, ahead, ticket) => prepared,
        // A bundle may be long in coming.
        () = performing::stop_asked(station, &hold, ticket) => {
            let stopped = RunEvent::Stopped { outcome: None };
            return finishing::finish(station, hold, stopped.into(), None, ticket).await.into();
        }
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => {
            let event = RunEvent::Failed {
                reason: FailureReason::Rejected,
                error: crate::apply::describe(&refusal),
                outcome: None,
            };
            return finishing::finish(station, hold, event.into(), None, ticket)
                .await
                .into();
        }
    };
    if *ticket.leaving.borrow() != Leaving::No {
        return release(station, hold).await;
    }
    execute(station, hold, prepared, ticket).await
}

/// From `started` to the end.
async fn execute(
    station: &Arc<Station>,
    mut hold: Hold,
    prepared: Prepared,
    ticket: &Ticket,
) -> Done {
    let started = RunEvent::Started {
        runner_id: station.runner_id().clone(),
        attempt: hold.attempt,
    };
    let Prepared {
        spec,
        output_schema,
        kept,
    } = prepared;
    // Stored before the script is spawned: a script that may have run is never taken for one
    // that has not. Its guard makes ready meanwhile what does not start it.
    let (told, poised) = tokio::join!(
        hold.append(station.voice(), started),
        performing::poise(station, spec)
    );
    if told != Told::Stands {
        return told.into();
    }
    let performed = performing::perform(station, &hold, poised, output_schema, ticket).await;
    let (ending, output) = performed;
    let done = if hold.is_repeatable() && ticket.must_end() && was_cut_off(&ending.event) {
        Done::HandedBack
    } else {
        let told = finishing::finish(station, hold, ending, Some(output), ticket).await;
        told.into()
    };
    // Nobody waits for this.
    kept.clear_away(&station.disk, &ticket.run_id);
    done
}

/// Rests first where the run was lost before; a runner that leaves has nothing to rest for.
async fn prepare(
    station: &Station,
    hold: &Hold,
    ahead: Option<Gathered>,
    ticket: &Ticket,
) -> Result<Prepared, Refusal> {
    let rest = back_off(hold.attempt);
    if !rest.is_zero() {
        tracing::info!(run = %ticket.run_id, attempt = hold.attempt, ?rest, "begun again after a rest");
        let mut leaving = ticket.leaving.clone();
        let left = leaving.wait_for(|leaving| *leaving != Leaving::No);
        let _ = tokio::time::timeout(rest, left).await;
    }
    preparing::prepare(station, &hold.request, hold.attempt, ahead).await
}

async fn release(station: &Arc<Station>, mut hold: Hold) -> Done {
    let released = RunEvent::Released {
        runner_id: station.runner_id().clone(),
        attempt: hold.attempt,
    };
    match hold.append(station.voice(), released).await {
        Told::Stands => Done::HandedBack,
        not_ours => not_ours.into(),
    }
}

/// Whether the script ended because its runner left.
fn was_cut_off(event: &RunEvent) -> bool {
    matches!(
        event,
        RunEvent::Failed {
            reason: FailureReason::Lost,
            ..
        }
    )
}

async fn keep_lease(station: &Station, ticket: &Ticket) {
    let mut interval = tokio::time::interval(station.cadence.heartbeat());
    interval.tick().await;
    loop {
        interval.tick().await;
        station.queue.progress(&ticket.lease()).await;
        // A stop whose live copy was lost is found this way.
        ticket.hint();
    }
}
