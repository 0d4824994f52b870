//! Several streams as one, from a position on, in the order of their times: for exports that are taken
//! up again and for whoever listens. Each event is given once, with the position after it.
//!
//! Nothing is kept here but one page of each stream.

use super::position::{Mark, Position};
use super::stored_event::{EventFilter, StoredEvent};
use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use events::log::Stored;
use events::subject::Stream;
use futures::FutureExt as _;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;

/// What is told of: all but what is derived from it (`LANES`) or goes after a week (`OUTPUT`).
pub const TOLD: [Stream; 4] = [
    Stream::Catalog,
    Stream::Runs,
    Stream::History,
    Stream::Runners,
];

/// Messages of one stream read at once; one may have a megabyte.
const PAGE: usize = 64;
/// How often a page is read again that ends too early: what answers may be a little behind the
/// stream's leader.
const READS: u32 = 50;
/// Between two such reads.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// What to read.
#[derive(Clone, Debug)]
pub struct FeedQuery {
    pub streams: Vec<Stream>,
    pub start: Start,
    pub filter: EventFilter,
    /// Whether it goes on with what is stored later.
    pub follow: bool,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest that there is.
    Oldest,
    /// With this sequence, in every stream that is read.
    Sequence(u64),
    /// After what was read before.
    After(Position),
    /// With what is stored from now on.
    Now,
}

/// One item, and where to go on after it.
#[derive(Clone, Debug)]
pub struct FeedItem {
    pub what: Told,
    pub position: Position,
}

#[derive(Clone, Debug)]
pub enum Told {
    Event(Box<StoredEvent>),
    /// The stream does not have these any more, or never had.
    Dropped {
        stream: Stream,
        from: u64,
        to: u64,
    },
}

/// A reading under way.
pub struct Feed {
    app: App,
    sources: Vec<Source>,
    filter: EventFilter,
    follow: bool,
    position: Position,
}

/// One of the streams.
struct Source {
    stream: Stream,
    /// Read and not yet given.
    buffer: VecDeque<Stored>,
    /// The last sequence that was read.
    read: u64,
    /// How far to read.
    until: u64,
    applied: watch::Receiver<u64>,
}

impl App {
    /// # Errors
    /// When the position belongs to other streams, or the broker does not answer.
    pub async fn feed(&self, query: FeedQuery) -> Result<Feed, AppError> {
        let mut position = Position::default();
        let mut sources = Vec::new();
        for stream in query.streams {
            let bounds = self.0.broker.log.bounds(stream).await?;
            let (oldest, last) = (
                bounds.first_sequence.saturating_sub(1),
                bounds.last_sequence,
            );
            let read = match &query.start {
                Start::Oldest => oldest.min(last),
                Start::Sequence(from) => from.saturating_sub(1),
                Start::Now => last,
                Start::After(given) => match given.of(stream) {
                    // It was not read before.
                    None => oldest.min(last),
                    Some(mark) if !mark.is_of(&bounds) => {
                        return Err(rejected(AuditRejection::OtherStream { stream }));
                    }
                    Some(mark) => mark.sequence,
                },
            };
            if read > last && query.start != Start::Sequence(read + 1) {
                let (sequence, last) = (read, last);
                return Err(rejected(AuditRejection::Ahead {
                    stream,
                    sequence,
                    last,
                }));
            }
            position.set(stream, Mark::new(read, &bounds));
            sources.push(Source {
                stream,
                buffer: VecDeque::new(),
                read,
                until: last,
                applied: self.projections().watch(stream),
            });
        }
        Ok(Feed {
            app: self.clone(),
            sources,
            filter: query.filter,
            follow: query.follow,
            position,
        })
    }
}

fn rejected(why: AuditRejection) -> AppError {
    Rejection::from(why).into()
}

impl Feed {
    /// Where to go on after what was given.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The next item; `None` at the end, which one that follows never reaches.
    pub async fn next(&mut self) -> Result<Option<FeedItem>, AppError> {
        loop {
            for index in 0..self.sources.len() {
                self.fill(index).await?;
            }
            if let Some((stream, from, to)) = self.gap() {
                let what = Told::Dropped { stream, from, to };
                return Ok(Some(self.told(stream, to, what)));
            }
            match self.oldest() {
                Some(event) if self.filter.takes(&event) => {
                    let (stream, sequence) = (event.stream, event.stored.sequence);
                    return Ok(Some(self.told(
                        stream,
                        sequence,
                        Told::Event(Box::new(event)),
                    )));
                }
                Some(event) => self.position.advance(event.stream, event.stored.sequence),
                None if self.follow => self.wait().await,
                None => return Ok(None),
            }
        }
    }

    fn told(&mut self, stream: Stream, sequence: u64, what: Told) -> FeedItem {
        self.position.advance(stream, sequence);
        FeedItem {
            what,
            position: self.position.clone(),
        }
    }

    /// Reads on in a stream of which nothing is left.
    async fn fill(&mut self, index: usize) -> Result<(), AppError> {
        let source = &mut self.sources[index];
        if !source.buffer.is_empty() || source.read >= source.until {
            return Ok(());
        }
        let page = self
            .app
            .page_after(source.stream, source.read, source.until)
            .await?;
        source.read = page.last().map_or(source.until, |last| last.sequence);
        source.buffer.extend(page);
        Ok(())
    }

    /// The sequences that are missing before what a stream gives next.
    fn gap(&self) -> Option<(Stream, u64, u64)> {
        self.sources.iter().find_map(|source| {
            let from = self.position.of(source.stream)?.sequence + 1;
            let next = source.buffer.front();
            let next = next.map_or(source.read + 1, |next| next.sequence);
            (next > from).then(|| (source.stream, from, next - 1))
        })
    }

    /// The oldest of what was read and not yet given.
    fn oldest(&mut self) -> Option<StoredEvent> {
        let with = self.sources.iter_mut().filter(|s| !s.buffer.is_empty());
        let source = with.min_by_key(|source| source.buffer.front().map(|next| next.at))?;
        let stored = source.buffer.pop_front()?;
        Some(StoredEvent::of(source.stream, stored))
    }

    /// Until a stream has more.
    async fn wait(&mut self) {
        for source in &mut self.sources {
            source.until = source.until.max(*source.applied.borrow_and_update());
        }
        if self.sources.iter().any(|source| source.read < source.until) {
            return;
        }
        let changes = self.sources.iter_mut();
        let changes = changes.map(|source| source.applied.changed().boxed());
        let _ = futures::future::select_all(changes).await;
    }
}

impl App {
    /// Messages of a stream after `read`, up to `until`. None where the stream says itself that it
    /// has none of them.
    pub(super) async fn page_after(
        &self,
        stream: Stream,
        read: u64,
        until: u64,
    ) -> Result<Vec<Stored>, AppError> {
        let log = &self.0.broker.log;
        for _ in 0..READS {
            let mut page = log.page(stream, stream.subjects(), read + 1, PAGE).await?;
            let is_beyond = page.first().is_some_and(|first| first.sequence > until);
            page.retain(|message| message.sequence <= until);
            if is_beyond || !page.is_empty() {
                return Ok(page);
            }
            if log.bounds(stream).await?.first_sequence > until {
                return Ok(page);
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
        Err(AppError::Behind)
    }
}
