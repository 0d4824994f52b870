//! An event of the log as it is shown: what it says of itself, and the very bytes that are stored,
//! so that who keeps them can check them. What may be asked for, as a query says it.

use super::error::ApiError;
use crate::app::{EventFilter, EventHead, FeedItem, Position, Start, StoredEvent, TOLD, Told};
use events::subject::Stream;
use events::{Actor, Timestamp};
use schemars::JsonSchema;
use schemas::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::Value;

/// `?stream=&type=&actor=&from_seq=&resume=`, as far as an endpoint has them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ToldQuery {
    /// Names separated by commas; all of them where none is given.
    stream: Option<String>,
    /// Types separated by commas.
    r#type: Option<String>,
    actor: Option<String>,
    /// With this sequence, where one stream is read.
    from_seq: Option<u64>,
    /// After this position, or `now`.
    resume: Option<String>,
}

/// The position that is not kept anywhere: whatever is stored from here on.
const NOW: &str = "now";

/// An event without its bytes.
#[derive(Serialize)]
struct Head<'a> {
    position: Option<String>,
    stream: &'static str,
    seq: u64,
    /// The broker's time.
    at: Timestamp,
    r#type: Option<&'a str>,
    actor: Option<Value>,
    subject: &'a str,
    /// Of the bytes, where the next event of the stream names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// What is written: the head, then the stored bytes as they are.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct EventView {
    /// Of the log, where it is read from a position on.
    position: Option<String>,
    stream: String,
    seq: u64,
    /// The broker's time.
    at: Timestamp,
    /// `null` where the bytes are no event that we know.
    r#type: Option<String>,
    actor: Option<Actor>,
    subject: String,
    /// Of the bytes, where the next event of the stream names it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// What is stored.
    #[schemars(skip_serializing_if = "Option::is_none")]
    event: Option<Value>,
    /// What is stored, where it is no JSON.
    #[schemars(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl ToldQuery {
    /// The same, to go on after this position whatever else it says of the beginning.
    pub fn after(self, position: &str) -> Self {
        Self {
            from_seq: None,
            resume: Some(position.to_owned()),
            ..self
        }
    }

    /// Those that are named, or else those of the position.
    pub fn streams(&self) -> Result<Vec<Stream>, ApiError> {
        let Some(text) = &self.stream else {
            return match &self.resume {
                Some(text) if text != NOW => {
                    let position = position(text)?;
                    let streams = position.streams();
                    Ok(streams.filter(|stream| TOLD.contains(stream)).collect())
                }
                _ => Ok(TOLD.to_vec()),
            };
        };
        let mut streams = Vec::new();
        for word in words(text) {
            let stream = stream(word)?;
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        match streams.is_empty() {
            true => Ok(TOLD.to_vec()),
            false => Ok(streams),
        }
    }

    pub fn filter(&self) -> EventFilter {
        let types = self.r#type.as_deref().unwrap_or_default();
        EventFilter {
            types: words(types).map(str::to_owned).collect(),
            actor: self.actor.clone().filter(|actor| !actor.is_empty()),
        }
    }

    /// Where to begin; `otherwise` where nobody says.
    pub fn start(&self, streams: &[Stream], otherwise: Start) -> Result<Start, ApiError> {
        match (self.from_seq, &self.resume) {
            (Some(_), Some(_)) => Err(ApiError::bad_request(
                "two_beginnings",
                "from_seq and resume say two beginnings; give one of them",
            )),
            (Some(_), None) if streams.len() != 1 => Err(ApiError::bad_request(
                "sequence_without_stream",
                "A sequence belongs to one stream: name it with stream=catalog, runs, history or runners",
            )),
            (Some(sequence), None) => Ok(Start::Sequence(sequence)),
            (None, Some(text)) if text == NOW => Ok(Start::Now),
            (None, Some(text)) => Ok(Start::After(position(text)?)),
            (None, None) => Ok(otherwise),
        }
    }
}

/// A stream that is told of, by its name in any case.
pub fn stream(text: &str) -> Result<Stream, ApiError> {
    let named = Stream::named(text).filter(|stream| TOLD.contains(stream));
    named.ok_or_else(|| {
        let names = TOLD.map(|stream| stream.name().to_ascii_lowercase());
        let (names, text) = (names.join(", "), schemas::shown(text));
        ApiError::bad_request(
            "unknown_stream",
            format!("{text} is no stream whose events are shown; there are {names}"),
        )
    })
}

pub fn position(text: &str) -> Result<Position, ApiError> {
    text.parse().map_err(|error: crate::app::InvalidPosition| {
        ApiError::bad_request("invalid_position", error.to_string())
    })
}

/// One line of JSON, without its end.
pub fn line(item: &FeedItem) -> String {
    let position = item.position.to_string();
    match &item.what {
        Told::Event(event) => of_event(event, Some(position)),
        Told::Dropped { stream, from, to } => serde_json::json!({
            "position": position,
            "stream": stream.name(),
            "dropped": {"from": from, "to": to},
        })
        .to_string(),
    }
}

/// One event as JSON.
pub fn of_event(event: &StoredEvent, position: Option<String>) -> String {
    let StoredEvent {
        stream,
        stored,
        head,
    } = event;
    let actor = head.as_ref().map(|head| &head.actor);
    let shown = Head {
        position,
        stream: stream.name(),
        seq: stored.sequence,
        at: stored.at,
        r#type: head.as_ref().map(EventHead::kind),
        actor: actor.map(|actor| serde_json::json!({"name": actor.name, "via": actor.via})),
        subject: &stored.subject,
        digest: (*stream == Stream::Catalog).then(|| Digest::of(&stored.payload)),
    };
    let mut text = serde_json::to_string(&shown).expect("a head serializes");
    text.pop();
    text.push_str(&content(&stored.payload));
    text
}

/// The stored bytes as they are where they are JSON, so that their digest can be computed again.
fn content(payload: &[u8]) -> String {
    let json = std::str::from_utf8(payload).ok();
    let json = json.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    match json {
        Some(text) if text.contains(['\n', '\r']) => {
            let value = serde_json::from_str::<Value>(text).unwrap_or_default();
            format!(r#","event":{value}}}"#)
        }
        Some(text) => format!(r#","event":{text}}}"#),
        None => {
            let text = schemas::shown(&String::from_utf8_lossy(payload));
            format!(r#","unreadable":{}}}"#, Value::String(text))
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}
