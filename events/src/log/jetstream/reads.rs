//! The [`Log`] of a connection: reads by pages, and following by an ordered consumer.

use super::connection::Connection;
use super::pages::number;
use super::patience::{NOT_NOW, Patience, Unread, unread};
use crate::log::{Append, AppendError, Appended, Bounds, Expect, Log, ReadError, Stored};
use crate::subject::{self, Stream};
use crate::{EventId, Timestamp};
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Between two tries to follow a stream again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// Messages read ahead of who follows.
const FOLLOW_AHEAD: usize = 1024;
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
        let (sender, receiver) = mpsc::channel(FOLLOW_AHEAD);
        tokio::spawn(follow(self.clone(), stream, from, sender));
        ReceiverStream::new(receiver).boxed()
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

/// Keeps an ordered consumer going until nobody listens any more.
async fn follow(
    connection: Connection,
    stream: Stream,
    mut next: u64,
    sender: mpsc::Sender<Stored>,
) {
    while !sender.is_closed() {
        if connection.connected_within(FOLLOW_PAUSE).await
            && let Err(error) = follow_once(&connection, stream, &mut next, &sender).await
        {
            tracing::debug!(stream = stream.name(), %error, "following again");
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

async fn follow_once(
    connection: &Connection,
    stream: Stream,
    next: &mut u64,
    sender: &mpsc::Sender<Stored>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: (*next).max(1),
        },
        ..Default::default()
    };
    let consumer = connection
        .jetstream()
        .get_stream_no_info(stream.name())
        .await?
        .create_consumer(config)
        .await?;
    let mut messages = consumer.messages().await?;
    let mut link = connection.link();
    link.mark_unchanged();
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return Ok(()) };
                let message = message?;
                if let Some(stored) = from_consumer(&message) {
                    *next = stored.sequence + 1;
                    if sender.send(stored).await.is_err() {
                        return Ok(());
                    }
                }
            }
            // After an interruption a fresh consumer is quicker than finding out by time-outs.
            changed = link.changed() => {
                let connected = link.borrow_and_update().connected;
                if changed.is_err() || connected {
                    return Ok(());
                }
            }
            () = sender.closed() => return Ok(()),
        }
    }
}

fn from_consumer(message: &async_nats::jetstream::Message) -> Option<Stored> {
    let info = message.info().ok()?;
    let at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).ok()?;
    Some(Stored {
        subject: message.subject.to_string(),
        sequence: info.stream_sequence,
        at,
        payload: message.payload.clone(),
        follows: message.headers.as_ref().and_then(super::pages::follows),
    })
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
