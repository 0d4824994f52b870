//! Tells the lanes what they have to hold, after each change of the catalogue, and lets go of those
//! that nothing needs.

use super::Settings;
use super::retire::Idle;
use crate::app::{App, AppError, lane_append};
use crate::domain::distribution::{DesiredLane, distribution};
use crate::policy::distribution::{ObservedLane, differences};
use events::distribution::LaneEvent;
use events::log::AppendError;
use events::subject::{self, LaneSubject, Stream};
use events::{Envelope, Lane};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Messages read at once.
const PAGE: usize = 1_000;
/// How often a lane that others write to as well is looked at again in one round.
const TRIES: u32 = 20;
/// Before a round that failed is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// However soon lanes are to go, looking for them costs a read of all.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);

/// All lanes as their stream has them.
pub(super) type Observed = BTreeMap<Lane, ObservedLane>;

pub(super) async fn run(app: App, settings: Settings) {
    let mut changes = app.projections().watch(Stream::Catalog);
    let (mut observed, mut idle) = (None, Idle::default());
    let look_every = settings.reread_lanes_every.min(settings.retire_lanes_after);
    let look_every = look_every.max(LOOK_EVERY_MIN);
    loop {
        changes.mark_unchanged();
        let done = round(&app, &mut observed, &mut idle, settings.retire_lanes_after);
        if let Err(error) = done.await {
            tracing::warn!(%error, "the lanes could not be told what to hold; trying again");
            observed = None;
            tokio::time::sleep(RETRY_AFTER).await;
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(look_every) => observed = None,
        }
    }
}

/// Brings every lane to what the catalogue wants now.
async fn round(
    app: &App,
    observed: &mut Option<Observed>,
    idle: &mut Idle,
    retire_after: Duration,
) -> Result<(), AppError> {
    let state = app.projections().catalog();
    if state.newer.is_some() {
        // What the lanes should hold is known to newer coordinators only.
        return Ok(());
    }
    let desired = distribution(&state.catalog);
    let observed = match observed {
        Some(observed) => observed,
        none => none.insert(read(app, Stream::Lanes.subjects()).await?),
    };
    for lane in desired.values() {
        app.ensure_lane(&lane.tags).await?;
    }
    let lanes: BTreeSet<Lane> = desired.keys().chain(observed.keys()).cloned().collect();
    for lane in lanes {
        let known = observed.entry(lane.clone()).or_default();
        tell(app, &lane, desired.get(&lane), known, state.sequence).await?;
    }
    idle.retire(app, observed, retire_after).await
}

/// Brings one lane to what is desired of it.
async fn tell(
    app: &App,
    lane: &Lane,
    desired: Option<&DesiredLane>,
    observed: &mut ObservedLane,
    catalog_sequence: u64,
) -> Result<(), AppError> {
    for _ in 0..TRIES {
        let events = differences(desired, observed, catalog_sequence);
        if publish(app, lane, events, observed).await? {
            return Ok(());
        }
        let filter = subject::lane_all(lane);
        *observed = read(app, &filter).await?.remove(lane).unwrap_or_default();
    }
    Err(AppError::Contended { tries: TRIES })
}

/// `false` when somebody else wrote to the lane in between.
async fn publish(
    app: &App,
    lane: &Lane,
    events: Vec<LaneEvent>,
    observed: &mut ObservedLane,
) -> Result<bool, AppError> {
    for event in events {
        let subject = match &event {
            LaneEvent::Tags { .. } | LaneEvent::Retired => subject::lane_tags(lane),
            LaneEvent::Sync { script, .. } | LaneEvent::Remove { script, .. } => {
                subject::lane_script(lane, script)
            }
        };
        let append = lane_append(lane, subject, event.clone(), observed.last_sequence);
        match app.broker().log.append(append).await {
            Ok(appended) => observed.observe(appended.sequence, event),
            Err(AppendError::Conflict { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// What is stored under `filter`, lane by lane.
async fn read(app: &App, filter: &str) -> Result<Observed, AppError> {
    let log = &app.broker().log;
    let last = log.bounds(Stream::Lanes).await?.last_sequence;
    let (mut lanes, mut from) = (Observed::new(), 1);
    while from <= last {
        let page = log.page(Stream::Lanes, filter, from, PAGE).await?;
        let Some(newest) = page.last().map(|message| message.sequence) else {
            break;
        };
        from = newest + 1;
        for message in page {
            let subject = LaneSubject::parse(&message.subject);
            let envelope = Envelope::<LaneEvent>::from_bytes(&message.payload);
            let Some(subject) = subject else { continue };
            let lane = lanes.entry(subject.lane().clone()).or_default();
            match envelope {
                Ok(envelope) => lane.observe(message.sequence, envelope.event),
                // It counts for what the next message has to expect.
                Err(_) => lane.last_sequence = message.sequence,
            }
        }
    }
    Ok(lanes)
}
