//! One message of a stream as it is shown to whoever audits: what it says of itself, beside the very
//! bytes that are stored.

use events::log::Stored;
use events::subject::Stream;
use serde::Deserialize;

/// A stored message, readable or not.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub stream: Stream,
    pub stored: Stored,
    /// `None` where the message is no event.
    pub head: Option<EventHead>,
}

/// What every event says of itself, also one of a kind that only a newer coordinator knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventHead {
    pub id: String,
    pub actor: ActorHead,
    event: Typed,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ActorHead {
    pub name: String,
    pub via: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Typed {
    r#type: Option<String>,
    /// Of a run: the event stands beside the state it led to.
    step: Option<TypedStep>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct TypedStep {
    r#type: String,
}

/// Which events; one that is not readable passes only where nothing is asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// None: of every type.
    pub types: Vec<String>,
    pub actor: Option<String>,
}

impl StoredEvent {
    pub fn of(stream: Stream, stored: Stored) -> Self {
        Self {
            head: serde_json::from_slice(&stored.payload).ok(),
            stream,
            stored,
        }
    }
}

impl EventHead {
    /// The event's `type` on the wire.
    pub fn kind(&self) -> &str {
        let step = self.event.step.as_ref().map(|step| step.r#type.as_str());
        step.or(self.event.r#type.as_deref()).unwrap_or("unknown")
    }
}

impl EventFilter {
    pub fn takes(&self, event: &StoredEvent) -> bool {
        if self == &Self::default() {
            return true;
        }
        event.head.as_ref().is_some_and(|head| {
            let by = self.actor.as_ref();
            let typed = self.types.is_empty() || self.types.iter().any(|t| t == head.kind());
            typed && by.is_none_or(|actor| *actor == head.actor.name)
        })
    }
}
