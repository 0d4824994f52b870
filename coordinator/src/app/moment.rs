//! Moments somebody asks about, and which message of a stream was the last one then.

use super::pages::ALL;
use super::{App, AppError};
use crate::domain::Rejection;
use events::Timestamp;
use events::log::Stored;
use events::subject::Stream;
use std::fmt;

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Time(Timestamp),
    /// Right after the message of this sequence; 0 is before the first.
    Sequence(u64),
}

/// The last message of a stream at a moment: what an answer about that moment rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    pub stream: Stream,
    /// 0 where nothing had happened yet.
    pub sequence: u64,
    /// The broker's time of that message.
    pub at: Option<Timestamp>,
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = self.stream.name();
        match (self.sequence, self.at) {
            (0, _) => write!(f, "{stream} 0, before the first event"),
            (sequence, Some(at)) => write!(f, "{stream} {sequence}, {at}"),
            (sequence, None) => write!(f, "{stream} {sequence}"),
        }
    }
}

impl App {
    /// The last message of `CATALOG` at a moment. Its messages are in the order of the broker's time,
    /// so a time is found by halving.
    ///
    /// # Errors
    /// When that moment has not come yet.
    pub async fn as_of(&self, moment: Moment) -> Result<AsOf, AppError> {
        let stream = Stream::Catalog;
        let last = self.come(stream, moment).await?;
        let found = match moment {
            Moment::Sequence(sequence) => self.message(sequence).await?,
            Moment::Time(time) => self.last_until(time, last).await?,
        };
        let sequence = match moment {
            Moment::Sequence(sequence) => sequence,
            Moment::Time(_) => found.as_ref().map_or(0, |message| message.sequence),
        };
        Ok(AsOf {
            stream,
            sequence,
            at: found.map(|message| message.at),
        })
    }

    /// The last sequence of a stream, where the moment is not after it.
    pub(super) async fn come(&self, stream: Stream, moment: Moment) -> Result<u64, AppError> {
        let bounds = self.0.broker.log.bounds(stream).await?;
        let last = bounds.last_sequence;
        match moment {
            Moment::Time(asked) if asked > bounds.at => {
                let now = bounds.at;
                Err(Rejection::InTheFuture { asked, now }.into())
            }
            Moment::Sequence(asked) if asked > last => Err(Rejection::AfterTheLast {
                stream: stream.name(),
                asked,
                last,
            }
            .into()),
            Moment::Time(_) | Moment::Sequence(_) => Ok(last),
        }
    }

    async fn message(&self, sequence: u64) -> Result<Option<Stored>, AppError> {
        if sequence == 0 {
            return Ok(None);
        }
        let next = self.next_message(sequence).await?;
        Ok(next.filter(|message| message.sequence == sequence))
    }

    async fn last_until(&self, time: Timestamp, last: u64) -> Result<Option<Stored>, AppError> {
        // Everything up to `low` is at that time or before it, everything from `high` on after it.
        let (mut low, mut high, mut found) = (0, last + 1, None);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match self.next_message(middle).await? {
                Some(message) if message.sequence < high && message.at <= time => {
                    low = message.sequence;
                    found = Some(message);
                }
                _ => high = middle,
            }
        }
        Ok(found)
    }

    async fn next_message(&self, from: u64) -> Result<Option<Stored>, AppError> {
        let log = &self.0.broker.log;
        let page = log.page(Stream::Catalog, ALL, from, 1).await?;
        Ok(page.into_iter().next())
    }
}
