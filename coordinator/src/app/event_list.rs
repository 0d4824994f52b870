//! Events as they are stored: a single one, and the newest of several streams.

use super::stored_event::{EventFilter, StoredEvent};
use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use crate::projections::Before;
use events::Timestamp;
use events::log::Stored;
use events::subject::Stream;

/// Which events, newest first.
#[derive(Clone, Debug)]
pub struct EventQuery {
    pub streams: Vec<Stream>,
    /// The `next` of the page before.
    pub before: Before,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub filter: EventFilter,
    pub limit: usize,
}

#[derive(Debug)]
pub struct EventPage {
    pub events: Vec<StoredEvent>,
    /// Where the next page begins; `None` at the end. A page may be short, or empty, before it.
    pub next: Option<Before>,
}

/// The longest page; each event may have a megabyte.
const PAGE_MAX: usize = 200;
/// Events looked at for one page; where hardly one of them fits, the page ends here.
const LOOKED_AT_MAX: usize = 5_000;
/// Messages of one stream read at once.
const READ_AT_ONCE: u64 = 64;

impl App {
    /// The event with this sequence.
    pub async fn event(&self, stream: Stream, sequence: u64) -> Result<StoredEvent, AppError> {
        let log = &self.0.broker.log;
        let page = log.page(stream, stream.subjects(), sequence, 1).await?;
        let found = page.into_iter().find(|found| found.sequence == sequence);
        if let Some(stored) = found {
            return Ok(StoredEvent::of(stream, stored));
        }
        let bounds = log.bounds(stream).await?;
        Err(Rejection::from(AuditRejection::NoEvent {
            stream,
            sequence,
            first: bounds.first_sequence,
            last: bounds.last_sequence,
        })
        .into())
    }

    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, AppError> {
        let mut walks = Vec::new();
        for stream in &query.streams {
            walks.push(Walk::of(self, *stream, query).await?);
        }
        let (limit, mut events) = (query.limit.clamp(1, PAGE_MAX), Vec::new());
        for _ in 0..LOOKED_AT_MAX {
            for walk in &mut walks {
                walk.fill(self, query).await?;
            }
            let with = walks.iter_mut().filter(|walk| !walk.read.is_empty());
            let Some(walk) = with.max_by_key(|walk| walk.read.last().map(|next| next.at)) else {
                return Ok(EventPage { events, next: None });
            };
            if events.len() == limit {
                break;
            }
            events.extend(walk.step().filter(|event| query.takes(event)));
        }
        let next = walks.iter().map(|walk| (walk.stream, walk.before));
        Ok(EventPage {
            events,
            next: Some(Before(next.collect())),
        })
    }
}

impl EventQuery {
    fn takes(&self, event: &StoredEvent) -> bool {
        let at = event.stored.at;
        let in_time = self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at <= until);
        in_time && self.filter.takes(event)
    }
}

/// One stream, from its end to its beginning.
struct Walk {
    stream: Stream,
    first: u64,
    /// What is left stands before this sequence.
    before: u64,
    /// Oldest first.
    read: Vec<Stored>,
}

impl Walk {
    async fn of(app: &App, stream: Stream, query: &EventQuery) -> Result<Self, AppError> {
        let bounds = app.0.broker.log.bounds(stream).await?;
        let end = bounds.last_sequence + 1;
        let before = query.before.0.get(&stream).copied().unwrap_or(end);
        let mut walk = Self {
            stream,
            first: bounds.first_sequence,
            before: before.min(end),
            read: Vec::new(),
        };
        if let Some(until) = query.until {
            walk.skip_after(app, until).await?;
        }
        Ok(walk)
    }

    /// Leaves out what is later, found by halving: a stream is in the order of the broker's times.
    async fn skip_after(&mut self, app: &App, until: Timestamp) -> Result<(), AppError> {
        // What is later begins after `low`, and at `before` at the latest.
        let mut low = self.first.saturating_sub(1);
        while low + 1 < self.before {
            let middle = low + (self.before - low) / 2;
            let (log, subjects) = (&app.0.broker.log, self.stream.subjects());
            let next = log.page(self.stream, subjects, middle, 1).await?;
            match next.first() {
                Some(next) if next.at <= until && next.sequence < self.before => {
                    low = next.sequence;
                }
                _ => self.before = middle,
            }
        }
        Ok(())
    }

    /// Reads the messages before those that were given.
    async fn fill(&mut self, app: &App, query: &EventQuery) -> Result<(), AppError> {
        while self.read.is_empty() && self.before > self.first {
            let from = self.before.saturating_sub(READ_AT_ONCE).max(self.first);
            let count = usize::try_from(self.before - from).unwrap_or(usize::MAX);
            let log = &app.0.broker.log;
            let subjects = self.stream.subjects();
            let mut page = log.page(self.stream, subjects, from, count).await?;
            page.retain(|stored| stored.sequence < self.before);
            if page.is_empty() {
                // Nothing is stored there, or not any more.
                self.before = from;
            }
            if let (Some(newest), Some(since)) = (page.last(), query.since)
                && newest.at < since
            {
                self.before = self.first;
                return Ok(());
            }
            self.read = page;
        }
        Ok(())
    }

    fn step(&mut self) -> Option<StoredEvent> {
        let stored = self.read.pop()?;
        self.before = stored.sequence;
        Some(StoredEvent::of(self.stream, stored))
    }
}
