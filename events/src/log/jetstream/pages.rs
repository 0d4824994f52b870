//! Raw reads: one message by the leader, pages by direct get. Both work for a client that may
//! not make consumers.

use super::append::EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT;
use super::connection::{Connection, REQUEST_TIMEOUT};
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

impl Connection {
    /// One page of a stream by direct get: `request` says from where and how much.
    pub(super) async fn direct_page(
        &self,
        stream: &'static str,
        request: Value,
    ) -> Result<Page, ReadError> {
        let unavailable = || ReadError::Unavailable { stream };
        if !self.can_send().await {
            return Err(unavailable());
        }
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|_| unavailable())?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = request.to_string().into();
        self.client
            .publish_with_reply(subject, inbox, payload)
            .await
            .map_err(|_| unavailable())?;
        let mut messages = Vec::new();
        loop {
            let answer = timeout(REQUEST_TIMEOUT, answers.next()).await;
            let Ok(Some(message)) = answer else {
                return Err(unavailable());
            };
            match message.status.map(|status| status.as_u16()) {
                None => messages.extend(stored(&message)),
                Some(STATUS_END_OF_BATCH) => {
                    let up_to = number(message.headers.as_ref(), "Nats-UpTo-Sequence")
                        .or_else(|| number(message.headers.as_ref(), "Nats-Last-Sequence"));
                    return Ok(Page { messages, up_to });
                }
                Some(STATUS_NOT_FOUND) => {
                    return Ok(Page {
                        messages,
                        up_to: None,
                    });
                }
                Some(code) => {
                    let text = message.description.unwrap_or_default();
                    return Err(ReadError::Refused {
                        stream,
                        reason: format!("{code} {text}"),
                    });
                }
            }
        }
    }

    /// The last message under one subject or filter, by direct get in its subject form, which is
    /// what a runner's permissions can be limited to.
    pub(super) async fn direct_last(
        &self,
        stream: &'static str,
        filter: &str,
    ) -> Result<Option<Stored>, ReadError> {
        if !self.can_send().await {
            return Err(ReadError::Unavailable { stream });
        }
        let subject = format!("$JS.API.DIRECT.GET.{stream}.{filter}");
        let answer = self
            .client
            .request(subject, bytes::Bytes::new())
            .await
            .map_err(|_| ReadError::Unavailable { stream })?;
        match answer.status.map(|status| status.as_u16()) {
            None => Ok(stored(&answer)),
            Some(STATUS_NOT_FOUND) => Ok(None),
            Some(code) => Err(ReadError::Refused {
                stream,
                reason: format!("{code} {}", answer.description.unwrap_or_default()),
            }),
        }
    }

    /// The request for one page of at most `limit` messages that `filter` matches.
    pub(super) fn page_request(filter: &str, from: u64, limit: usize) -> Value {
        json!({ "next_by_subj": filter, "seq": from.max(1), "batch": limit })
    }
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
