//! Lanes come to be when something needs them: first the queue, then the message with the tags,
//! so that a runner that learns of a lane finds its queue. Nothing here retires a lane.

use super::{App, AppError, TRIES};
use events::distribution::LaneEvent;
use events::log::{Append, AppendError, Expect};
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Lane, LaneTags, Timestamp};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The lanes we have seen to.
#[derive(Default)]
pub struct KnownLanes(Mutex<HashSet<Lane>>);

impl KnownLanes {
    fn contains(&self, lane: &Lane) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(lane)
    }

    fn insert(&self, lane: Lane) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(lane);
    }
}

impl App {
    /// Makes sure that a lane's queue and tags are there.
    pub(crate) async fn ensure_lane(&self, tags: &LaneTags) -> Result<(), AppError> {
        let lane = tags.lane();
        if self.0.lanes.contains(&lane) {
            return Ok(());
        }
        let wire = &self.0.broker.wire;
        wire.ensure_queue(&lane, self.cadence()).await?;
        self.ensure_tags(&lane, tags).await?;
        self.0.lanes.insert(lane);
        Ok(())
    }

    async fn ensure_tags(&self, lane: &Lane, tags: &LaneTags) -> Result<(), AppError> {
        let log = &self.0.broker.log;
        let (own, all) = (subject::lane_tags(lane), subject::lane_all(lane));
        for _ in 0..TRIES {
            if log.last(Stream::Lanes, &own).await?.is_some() {
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
