//! Reading and following `LANES` without a consumer, as any number of runners do (BROKER.md:
//! "Read and follow `LANES`").

use super::connection::Connection;
use super::reads::republished_sequence;
use crate::Envelope;
use crate::distribution::LaneEvent;
use crate::log::{Log as _, ReadError};
use crate::subject::{self, LaneSubject, Stream};
use futures::StreamExt as _;
use futures::stream::BoxStream;

/// Messages asked for at once.
const PAGE: usize = 1000;
/// A page read from a replica that is behind is asked for again this often at most.
const STALE_PAGES_MAX: u32 = 100;
const STALE_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The last message under one subject of `LANES`.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneMessage {
    pub subject: LaneSubject,
    pub sequence: u64,
    /// The lane's last sequence before this one: a gap shows as a number that was not seen.
    pub follows: Option<u64>,
    pub event: LaneEvent,
}

/// `LANES` as a runner sees it.
#[derive(Clone)]
pub struct LaneLog {
    connection: Connection,
}

impl LaneLog {
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// What `filter` matches, as of the moment of the call or later.
    pub async fn read(&self, filter: &str) -> Result<Vec<LaneMessage>, ReadError> {
        Ok(self.read_all(filter).await?.0)
    }

    /// The same, and how far `LANES` went at the call: what stood there by then and is not among
    /// the messages is not there any more.
    pub async fn read_all(&self, filter: &str) -> Result<(Vec<LaneMessage>, u64), ReadError> {
        let leader = self.connection.bounds(Stream::Lanes).await?;
        let mut read = Vec::new();
        let mut from = 1;
        let mut stale = 0;
        loop {
            let request = Connection::page_request(filter, from, PAGE);
            let page = self
                .connection
                .direct_page(Stream::Lanes.name(), request)
                .await?;
            let full = page.messages.len() == PAGE;
            from = page
                .messages
                .last()
                .map_or(from, |message| message.sequence + 1);
            read.extend(page.messages.into_iter().filter_map(|message| {
                parse(
                    &message.subject,
                    message.sequence,
                    message.follows,
                    &message.payload,
                )
            }));
            // A replica that is behind the leader says so by how far it looked.
            let behind = page.up_to.is_some_and(|seq| seq < leader.last_sequence);
            if full {
                continue;
            }
            if !behind {
                return Ok((read, leader.last_sequence));
            }
            stale += 1;
            if stale > STALE_PAGES_MAX {
                let stream = Stream::Lanes.name();
                return Err(ReadError::Unavailable { stream });
            }
            tokio::time::sleep(STALE_PAUSE).await;
        }
    }

    /// Follows the republished copies of what `filter` matches. Copies can be lost: read again
    /// after each interruption of the link, and whenever `follows` shows a gap.
    pub async fn follow(&self, filter: &str) -> Result<BoxStream<'static, LaneMessage>, ReadError> {
        let stream = Stream::Lanes.name();
        let live = self
            .connection
            .client
            .subscribe(subject::live(filter))
            .await;
        let live = live.map_err(|_| ReadError::Unavailable { stream })?;
        Ok(live
            .filter_map(|message| {
                let sequence = republished_sequence(Stream::Lanes, &message);
                let follows = message.headers.as_ref().and_then(super::pages::follows);
                let parsed = sequence
                    .and_then(|seq| parse(&message.subject, seq, follows, &message.payload));
                std::future::ready(parsed)
            })
            .boxed())
    }
}

fn parse(
    subject: &str,
    sequence: u64,
    follows: Option<u64>,
    payload: &[u8],
) -> Option<LaneMessage> {
    let parsed_subject = LaneSubject::parse(subject);
    let envelope = Envelope::<LaneEvent>::from_bytes(payload);
    match (parsed_subject, envelope) {
        (Some(subject), Ok(envelope)) => Some(LaneMessage {
            subject,
            sequence,
            follows,
            event: envelope.event,
        }),
        _ => {
            tracing::warn!(
                subject,
                sequence,
                "a message of LANES is not readable; skipped"
            );
            None
        }
    }
}
