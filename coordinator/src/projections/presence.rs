//! Who was heard of lately. Heartbeats are no events: what is known here is gone with the process
//! and comes back within one heartbeat.

use events::runner::Presence;
use events::{Cadence, RunnerId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The last heartbeat of a runner.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub presence: Presence,
    /// On our clock.
    pub at: Timestamp,
    /// Since when it says that it takes no new runs.
    pub draining_since: Option<Timestamp>,
}

/// Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presences(Arc<BTreeMap<RunnerId, Heard>>);

/// What heartbeats say, and how far their absence says something.
#[derive(Clone, Debug, PartialEq)]
pub struct Hearing {
    pub presences: Presences,
    /// How fast they follow each other.
    pub cadence: Cadence,
    /// Since when nothing can have been missed; `None` while the link is down.
    pub since: Option<Timestamp>,
}

impl Hearing {
    /// Nothing is heard yet.
    pub fn new(cadence: Cadence) -> Self {
        Self {
            presences: Presences::default(),
            cadence,
            since: None,
        }
    }

    /// Takes a heartbeat in; answers whether it says something new.
    pub fn hear(&mut self, presence: Presence, at: Timestamp) -> bool {
        let id = presence.runner_id.clone();
        let new = self.presences.of(&id).is_none_or(|heard| {
            let (now, then) = (&presence, &heard.presence);
            now.draining != then.draining || now.runs != then.runs
        }) || !self.is_online(&id, at);
        let before = self
            .presences
            .of(&id)
            .and_then(|heard| heard.draining_since);
        let heard = Heard {
            draining_since: presence.draining.then(|| before.unwrap_or(at)),
            presence,
            at,
        };
        Arc::make_mut(&mut self.presences.0).insert(id, heard);
        new
    }

    pub fn is_online(&self, id: &RunnerId, now: Timestamp) -> bool {
        let heard = self.presences.of(id);
        let within = heard.map(|heard| heard.presence.online_within(self.cadence));
        within.is_some_and(|within| self.presences.heard_within(id, within, now))
    }
}

impl Presences {
    pub fn of(&self, id: &RunnerId) -> Option<&Heard> {
        self.0.get(id)
    }

    pub fn heard_within(&self, id: &RunnerId, within: Duration, now: Timestamp) -> bool {
        let silence = self.of(id).map(|heard| now.duration_since(heard.at));
        silence.is_some_and(|silence| silence.unsigned_abs() <= within)
    }
}
