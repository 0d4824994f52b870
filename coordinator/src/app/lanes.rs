//! Lanes come to be when something needs them: first the queue, then the message with the tags,
//! so that a runner that learns of a lane finds its queue. Which of them go is the reactors'.
//!
//! What was seen to is remembered, so that a request costs no look at the broker; whoever learns
//! that a lane may be gone says so here, and the next that needs it sees to it again.

use super::{App, AppError, TRIES};
use crate::domain::distribution::distribution;
use events::distribution::LaneEvent;
use events::log::{Append, AppendError, Expect};
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Lane, LaneTags, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lanes we have seen to.
#[derive(Default)]
pub struct KnownLanes(Mutex<Known>);

#[derive(Default)]
struct Known {
    lanes: HashSet<Lane>,
    /// How often something was forgotten. What was seen to meanwhile may be gone already.
    forgotten: u64,
}

impl KnownLanes {
    fn contains(&self, lane: &Lane) -> bool {
        self.lock().lanes.contains(lane)
    }

    fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// Unless something was forgotten since.
    fn insert(&self, lane: Lane, forgotten: u64) {
        let mut known = self.lock();
        if known.forgotten == forgotten {
            known.lanes.insert(lane);
        }
    }

    fn retain(&self, keep: impl Fn(&Lane) -> bool) {
        let mut known = self.lock();
        known.lanes.retain(keep);
        known.forgotten += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Makes sure that a lane's queue and tags are there.
    pub(crate) async fn ensure_lane(&self, tags: &LaneTags) -> Result<(), AppError> {
        let lane = tags.lane();
        if self.0.lanes.contains(&lane) {
            return Ok(());
        }
        let forgotten = self.0.lanes.forgotten();
        let from = self.first_unfinished(tags);
        self.0
            .broker
            .wire
            .ensure_queue(&lane, self.cadence(), from)
            .await?;
        self.ensure_tags(&lane, tags).await?;
        self.0.lanes.insert(lane, forgotten);
        Ok(())
    }

    /// The same after a request was stored: the lane may have been retired while it was on its way.
    /// The request stands either way, and what fails here is tried again by a reactor.
    pub(super) async fn keep_lane(&self, tags: &LaneTags) {
        if let Err(error) = self.ensure_lane(tags).await {
            tracing::warn!(%error, lane = %tags.lane(), "a lane cannot be seen to now");
        }
    }

    /// A lane may not be there any more.
    pub(crate) fn forget_lane(&self, gone: &Lane) {
        self.0.lanes.retain(|lane| lane != gone);
    }

    /// These lanes have a queue, and no others.
    pub(crate) fn forget_lanes_except(&self, there: &BTreeSet<Lane>) {
        self.0.lanes.retain(|lane| there.contains(lane));
    }

    /// The lanes that agents, pins or unfinished runs need.
    pub(crate) fn lanes_needed(&self) -> BTreeMap<Lane, LaneTags> {
        let desired = distribution(&self.projections().catalog().catalog);
        let desired = desired.into_values().map(|desired| desired.tags);
        let mut tags: BTreeSet<LaneTags> = desired.collect();
        let _: Vec<()> = self.projections().of_live_runs(|run| {
            if !tags.contains(&run.request.lane_tags) {
                tags.insert(run.request.lane_tags.clone());
            }
            None
        });
        tags.into_iter().map(|tags| (tags.lane(), tags)).collect()
    }

    /// Waits until our own view has all that is stored of what needs lanes.
    pub(crate) async fn caught_up(&self) -> Result<(), AppError> {
        for stream in [Stream::Catalog, Stream::Runs] {
            let last = self.0.broker.log.last(stream, stream.subjects()).await?;
            let last = last.map_or(0, |message| message.sequence);
            self.visible(stream, last).await?;
        }
        Ok(())
    }

    /// In `RUNS`: whatever waits in the lane, or is on its way to it, comes here or later.
    fn first_unfinished(&self, tags: &LaneTags) -> u64 {
        // Read first: what is applied in between only makes us begin earlier than need be.
        let next = *self.projections().watch(Stream::Runs).borrow() + 1;
        let of_lane = self
            .projections()
            .of_live_runs(|run| (run.request.lane_tags == *tags).then_some(run.first_sequence));
        of_lane.into_iter().fold(next, u64::min)
    }

    async fn ensure_tags(&self, lane: &Lane, tags: &LaneTags) -> Result<(), AppError> {
        let log = &self.0.broker.log;
        let (own, all) = (subject::lane_tags(lane), subject::lane_all(lane));
        for _ in 0..TRIES {
            let told = log.last(Stream::Lanes, &own).await?;
            let told = told.and_then(|m| Envelope::<LaneEvent>::from_bytes(&m.payload).ok());
            if told.is_some_and(|told| matches!(told.event, LaneEvent::Tags { .. })) {
                return Ok(());
            }
            let last = log.last(Stream::Lanes, &all).await?;
            let event = LaneEvent::Tags { tags: tags.clone() };
            let expected = last.map_or(0, |message| message.sequence);
            let append = lane_append(lane, own.clone(), event, expected);
            match log.append(append).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }
}

/// A message of a lane, expecting the lane's last sequence.
pub(crate) fn lane_append(lane: &Lane, subject: String, event: LaneEvent, expected: u64) -> Append {
    let envelope = Envelope {
        id: EventId::fresh(),
        at: Timestamp::now(),
        actor: Actor::policy("distribution"),
        previous: None,
        event,
    };
    Append {
        stream: Stream::Lanes,
        subject,
        id: envelope.id,
        payload: envelope.to_bytes(),
        expect: Expect::Subjects {
            filter: subject::lane_all(lane),
            sequence: expected,
        },
    }
}
