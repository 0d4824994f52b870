//! The [`Log`] of a connection: reads of one message or a page, and looks for what was appended.

use super::connection::Connection;
use super::pages::number;
use super::patience::{NOT_NOW, Patience, Unread, unread};
use crate::log::{Append, AppendError, Appended, Bounds, Expect, Log, ReadError, Stored};
use crate::subject::{self, Stream};
use crate::{EventId, Timestamp};
use async_nats::header::NATS_MESSAGE_ID;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::{Value, json};

/// How many events of others may stand between our own lost one and what was expected. More
/// writers than that in one round trip have never been seen.
const FIND_WITHIN: usize = 50;
/// The broker's answer to a read that finds nothing.
const NO_MESSAGE: u32 = 10037;

#[derive(Deserialize)]
struct StreamInfo {
    created: Option<String>,
    state: Option<StreamState>,
    ts: Option<Timestamp>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct StreamState {
    first_seq: u64,
    last_seq: u64,
}

#[derive(Deserialize)]
struct GetAnswer {
    message: Option<RawMessage>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// What the broker's API answers: the thing asked for, or an error.
trait Answer: serde::de::DeserializeOwned {
    fn error(&self) -> Option<&ApiError>;

    fn is_not_now(&self) -> bool {
        self.error()
            .is_some_and(|error| NOT_NOW.contains(&error.err_code))
    }
}

impl Answer for StreamInfo {
    fn error(&self) -> Option<&ApiError> {
        self.error.as_ref()
    }
}

impl Answer for GetAnswer {
    fn error(&self) -> Option<&ApiError> {
        self.error.as_ref()
    }
}

/// A message as the leader gives it: payload and headers in base64.
#[derive(Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    time: Timestamp,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
}

#[async_trait]
impl Log for Connection {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        Connection::append(self, append).await
    }

    async fn last(&self, stream: Stream, filter: &str) -> Result<Option<Stored>, ReadError> {
        if self.owns_streams {
            let request = json!({ "last_by_subj": filter });
            let found = self.leader_get(stream, request).await?;
            Ok(found.map(RawMessage::into_stored))
        } else {
            self.direct_last(stream.name(), filter).await
        }
    }

    async fn page(
        &self,
        stream: Stream,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let request = Self::page_request(filter, from, limit);
        let page = self.direct_page(stream.name(), request).await?;
        Ok(page.messages)
    }

    async fn bounds(&self, stream: Stream) -> Result<Bounds, ReadError> {
        let subject = format!("$JS.API.STREAM.INFO.{}", stream.name());
        let info: StreamInfo = match self.owns_streams {
            true => self.api(stream, &subject, &Value::Null).await?,
            false => match self.narrow_info(stream).await? {
                Some(info) => info,
                None => self.api(stream, &subject, &Value::Null).await?,
            },
        };
        match (info.created, info.state, info.ts) {
            (Some(created), Some(state), Some(at)) => Ok(Bounds {
                created,
                first_sequence: state.first_seq,
                last_sequence: state.last_seq,
                at,
            }),
            _ => Err(refused(stream, info.error)),
        }
    }

    fn follow(&self, stream: Stream, from: u64) -> BoxStream<'static, Stored> {
        super::follow::follow(self.clone(), stream, from)
    }

    async fn changes(
        &self,
        stream: Stream,
        filter: &str,
    ) -> Result<BoxStream<'static, ()>, ReadError> {
        let name = stream.name();
        let live = self.client.subscribe(subject::live(filter)).await;
        let live = live.map_err(|_| ReadError::Unavailable { stream: name })?;
        // A subscription is only sure to be in place once the server has answered something.
        self.bounds(stream).await?;
        Ok(live.map(|_| ()).boxed())
    }
}

impl Connection {
    /// Looks for the event of an append that met a conflict.
    pub(super) async fn find(&self, append: &Append) -> Option<u64> {
        let (filter, expected) = match &append.expect {
            Expect::Nothing => return None,
            Expect::Stream { sequence } => (">", *sequence),
            Expect::Subjects { filter, sequence } => (filter.as_str(), *sequence),
        };
        if !self.owns_streams {
            let last = self.last(append.stream, filter).await.ok()??;
            return (envelope_id(&last.payload) == Some(append.id)).then_some(last.sequence);
        }
        let mut next = expected + 1;
        for _ in 0..FIND_WITHIN {
            let request = json!({ "next_by_subj": filter, "seq": next });
            let message = self.leader_get(append.stream, request).await.ok()??;
            if message.id() == Some(append.id) {
                return Some(message.seq);
            }
            next = message.seq + 1;
        }
        None
    }

    /// How far the stream goes, by the narrow door; `None` on a broker that has none, as one
    /// without accounts.
    async fn narrow_info(&self, stream: Stream) -> Result<Option<StreamInfo>, ReadError> {
        let patience = Patience::begin(self, stream.name()).await?;
        loop {
            match self
                .api_once(stream, subject::LANES_INFO, &Value::Null)
                .await
            {
                Ok(info) => return Ok(Some(info)),
                Err(Unread::NotNow) => return Ok(None),
                Err(why) => patience.again(why).await?,
            }
        }
    }

    /// One message, read from the stream's leader: a follower may be behind its own ack.
    async fn leader_get(
        &self,
        stream: Stream,
        request: Value,
    ) -> Result<Option<RawMessage>, ReadError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", stream.name());
        let answer: GetAnswer = self.api(stream, &subject, &request).await?;
        match (answer.message, answer.error) {
            (Some(message), _) => Ok(Some(message)),
            (None, Some(error)) if error.err_code == NO_MESSAGE => Ok(None),
            (None, error) => Err(refused(stream, error)),
        }
    }

    async fn api<T: Answer>(
        &self,
        stream: Stream,
        subject: &str,
        request: &Value,
    ) -> Result<T, ReadError> {
        let patience = Patience::begin(self, stream.name()).await?;
        loop {
            let answer: Result<T, Unread> = self.api_once(stream, subject, request).await;
            let why = match answer {
                Ok(answer) if answer.is_not_now() => Unread::NotNow,
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            patience.again(why).await?;
        }
    }

    async fn api_once<T: serde::de::DeserializeOwned>(
        &self,
        stream: Stream,
        subject: &str,
        request: &Value,
    ) -> Result<T, Unread> {
        let payload = match request {
            Value::Null => bytes::Bytes::new(),
            request => request.to_string().into(),
        };
        let name = stream.name();
        let answer = self.client.request(subject.to_owned(), payload).await;
        let answer = answer.map_err(|error| unread(name, &error))?;
        serde_json::from_slice(&answer.payload).map_err(|error| {
            Unread::Failed(ReadError::Refused {
                stream: name,
                reason: error.to_string(),
            })
        })
    }
}

impl RawMessage {
    fn id(&self) -> Option<EventId> {
        let headers = String::from_utf8(STANDARD.decode(&self.hdrs).ok()?).ok()?;
        let prefix = format!("{NATS_MESSAGE_ID}:");
        let line = headers.lines().find_map(|line| line.strip_prefix(&prefix));
        line?.trim().parse().ok()
    }

    fn into_stored(self) -> Stored {
        Stored {
            payload: STANDARD.decode(&self.data).unwrap_or_default().into(),
            subject: self.subject,
            sequence: self.seq,
            at: self.time,
            follows: None,
        }
    }
}

fn refused(stream: Stream, error: Option<ApiError>) -> ReadError {
    ReadError::Refused {
        stream: stream.name(),
        reason: error.map_or("an empty answer".to_owned(), |error| error.description),
    }
}

fn envelope_id(payload: &[u8]) -> Option<EventId> {
    #[derive(Deserialize)]
    struct Id {
        id: EventId,
    }
    serde_json::from_slice::<Id>(payload).ok().map(|id| id.id)
}

/// The sequence that a republished copy has in `stream`; `None` for a forgery. A runner can make
/// the server deliver a direct get to somebody else's subscription, but such a message carries
/// the headers of a stored message twice.
pub(super) fn republished_sequence(stream: Stream, message: &async_nats::Message) -> Option<u64> {
    let headers = message.headers.as_ref()?;
    let mut origins = headers.get_all("Nats-Stream");
    let genuine = origins.next().map(async_nats::HeaderValue::as_str) == Some(stream.name())
        && origins.next().is_none();
    if !genuine {
        tracing::warn!(subject = %message.subject, "a live copy is not what the broker republishes; skipped");
        return None;
    }
    number(Some(headers), "Nats-Sequence")
}
