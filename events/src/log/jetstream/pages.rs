//! Raw reads: one message by the leader, pages by direct get. Both work for a client that may
//! not make consumers.

use super::append::EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT;
use super::connection::{Connection, REQUEST_TIMEOUT};
use super::patience::{Patience, Unread, unread};
use crate::Timestamp;
use crate::log::{ReadError, Stored};
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::{HeaderMap, Message};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

/// What a page ended with.
pub(super) struct Page {
    pub messages: Vec<Stored>,
    /// Everything up to this sequence was looked at; `None` where nothing matched.
    pub up_to: Option<u64>,
}

const STATUS_END_OF_BATCH: u16 = 204;
const STATUS_NOT_FOUND: u16 = 404;
const STATUS_NO_RESPONDERS: u16 = 503;

impl Connection {
    /// One page of a stream by direct get: `request` says from where and how much.
    pub(super) async fn direct_page(
        &self,
        stream: &'static str,
        request: Value,
    ) -> Result<Page, ReadError> {
        let payload = bytes::Bytes::from(request.to_string());
        let patience = Patience::begin(self, stream).await?;
        loop {
            match self.direct_page_once(stream, payload.clone()).await {
                Ok(page) => return Ok(page),
                Err(why) => patience.again(why).await?,
            }
        }
    }

    /// What came before a silence is thrown away: the next try has a subscription of its own.
    async fn direct_page_once(
        &self,
        stream: &'static str,
        payload: bytes::Bytes,
    ) -> Result<Page, Unread> {
        let unavailable = || Unread::Failed(ReadError::Unavailable { stream });
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|_| unavailable())?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        self.client
            .publish_with_reply(subject, inbox, payload)
            .await
            .map_err(|_| unavailable())?;
        let mut messages = Vec::new();
        loop {
            let answer = timeout(REQUEST_TIMEOUT, answers.next()).await;
            let Some(message) = answer.map_err(|_| Unread::Silent)? else {
                return Err(unavailable());
            };
            let up_to = match message.status.map(|status| status.as_u16()) {
                None => {
                    messages.extend(stored(&message));
                    continue;
                }
                Some(STATUS_END_OF_BATCH) => number(message.headers.as_ref(), "Nats-UpTo-Sequence")
                    .or_else(|| number(message.headers.as_ref(), "Nats-Last-Sequence")),
                Some(STATUS_NOT_FOUND) => None,
                Some(STATUS_NO_RESPONDERS) => return Err(Unread::NotNow),
                Some(code) => return Err(refused(stream, code, message.description)),
            };
            return Ok(Page { messages, up_to });
        }
    }

    /// The last message under one subject or filter, by direct get in its subject form, which is
    /// what a runner's permissions can be limited to.
    pub(super) async fn direct_last(
        &self,
        stream: &'static str,
        filter: &str,
    ) -> Result<Option<Stored>, ReadError> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}.{filter}");
        let patience = Patience::begin(self, stream).await?;
        loop {
            let answer = self.client.request(subject.clone(), bytes::Bytes::new());
            let why = match answer.await {
                Ok(answer) => match answer.status.map(|status| status.as_u16()) {
                    None => return Ok(stored(&answer)),
                    Some(STATUS_NOT_FOUND) => return Ok(None),
                    Some(code) => refused(stream, code, answer.description),
                },
                Err(error) => unread(stream, &error),
            };
            patience.again(why).await?;
        }
    }

    /// The request for one page of at most `limit` messages that `filter` matches.
    pub(super) fn page_request(filter: &str, from: u64, limit: usize) -> Value {
        json!({ "next_by_subj": filter, "seq": from.max(1), "batch": limit })
    }
}

fn refused(stream: &'static str, code: u16, text: Option<String>) -> Unread {
    let reason = format!("{code} {}", text.unwrap_or_default());
    Unread::Failed(ReadError::Refused { stream, reason })
}

/// A message as direct get answers it: everything about it stands in headers.
fn stored(message: &Message) -> Option<Stored> {
    let headers = message.headers.as_ref()?;
    Some(Stored {
        subject: headers.get("Nats-Subject")?.to_string(),
        sequence: number(Some(headers), "Nats-Sequence")?,
        at: headers
            .get("Nats-Time-Stamp")?
            .as_str()
            .parse::<Timestamp>()
            .ok()?,
        payload: message.payload.clone(),
        follows: follows(headers),
    })
}

/// What the writer expected of its consistency boundary; see [`Stored::follows`].
pub(super) fn follows(headers: &HeaderMap) -> Option<u64> {
    headers.get(EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT)?;
    number(Some(headers), NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.as_ref())
}

pub(super) fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}
