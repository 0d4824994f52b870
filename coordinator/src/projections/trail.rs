//! What is known about a topic, newest first, page by page: the lines of several streams put together
//! in the order of their times, without reading what is about something else.

use super::shared_rows::number;
use super::store::{Store, StoreError};
use super::trail_lines::{Line, NOTED, Topic, line};
use super::{Projections, keys};
use events::Timestamp;
use events::subject::Stream;
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// Which lines.
#[derive(Clone, Debug, PartialEq)]
pub struct TrailQuery {
    pub topic: Topic,
    /// The `next` of the page before.
    pub before: Before,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: usize,
}

/// Only lines before these sequences, stream by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before(pub BTreeMap<Stream, u64>);

/// A line, and the message it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct TrailEntry {
    pub stream: Stream,
    pub sequence: u64,
    pub line: Line,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TrailPage {
    pub entries: Vec<TrailEntry>,
    /// Where the next page begins; `None` at the end. A page may be short, or empty, before it.
    pub next: Option<Before>,
}

/// The longest page.
const PAGE_MAX: usize = 1_000;
/// Lines looked at for one page; where hardly one of them fits, the page ends here.
const LOOKED_AT_MAX: usize = 10_000;
/// How far the times in a stream may go back: the broker's clock may be set, and runs that ended
/// while no coordinator was there are summarised later.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(1);

impl Projections {
    /// A page of the lines about a topic that `takes` takes.
    pub fn trail(
        &self,
        query: &TrailQuery,
        takes: impl Fn(&Line) -> bool,
    ) -> Result<TrailPage, StoreError> {
        let store = &self.shared.store;
        let mut walks = Vec::new();
        for stream in NOTED {
            walks.push(Walk::of(store, stream, query)?);
        }
        let (limit, mut entries) = (query.limit.clamp(1, PAGE_MAX), Vec::new());
        for _ in 0..LOOKED_AT_MAX {
            let with = walks.iter_mut().filter(|walk| walk.next.is_some());
            let newest = with.max_by_key(|walk| walk.next.as_ref().map(|next| next.line.at()));
            let Some(walk) = newest else {
                return Ok(TrailPage {
                    entries,
                    next: None,
                });
            };
            if entries.len() == limit {
                break;
            }
            let entry = walk.step(store, query.since)?;
            entries.extend(entry.filter(|entry| query.is_in_time(entry) && takes(&entry.line)));
        }
        let next = walks.iter().map(|walk| (walk.stream, walk.before));
        Ok(TrailPage {
            entries,
            next: Some(Before(next.collect())),
        })
    }

    /// Whether there is a line about the topic.
    pub fn is_known(&self, topic: &Topic) -> Result<bool, StoreError> {
        for stream in NOTED {
            let about = keys::lines_about(&topic.to_string(), stream);
            if let Some(key) = self.shared.store.keys(&about).next() {
                return key.map(|_| true);
            }
        }
        Ok(false)
    }

    /// The topics that begin like this, as far as there are one or two: one is meant, two are not.
    pub fn topics_like(&self, beginning: &str) -> Result<Vec<String>, StoreError> {
        let mut keys = self.shared.store.keys(&keys::topics(beginning));
        let ends = [keys.next(), keys.next_back()];
        let mut found = Vec::new();
        for key in ends.into_iter().flatten() {
            let topic = keys::topic_of(&key?);
            found.extend(topic.filter(|topic| !found.contains(topic)));
        }
        Ok(found)
    }
}

impl TrailQuery {
    fn is_in_time(&self, entry: &TrailEntry) -> bool {
        let at = entry.line.at();
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }
}

/// One stream's lines about the topic, from the newest on.
struct Walk {
    stream: Stream,
    keys: Box<dyn Iterator<Item = Result<Vec<u8>, StoreError>>>,
    next: Option<TrailEntry>,
    /// What is left stands before this sequence.
    before: u64,
}

impl Walk {
    fn of(store: &Store, stream: Stream, query: &TrailQuery) -> Result<Self, StoreError> {
        let mut before = query.before.0.get(&stream).copied().unwrap_or(u64::MAX);
        if let Some(until) = query
            .until
            .and_then(|until| until.checked_add(CLOCK_SLACK).ok())
        {
            before = before.min(first_after(store, stream, until)?);
        }
        let about = keys::lines_about(&query.topic.to_string(), stream);
        let to = keys::numbered(&about, before);
        let mut walk = Self {
            stream,
            keys: Box::new(store.keys_between(about, to).rev()),
            next: None,
            before,
        };
        walk.read(store, query.since)?;
        Ok(walk)
    }

    /// Gives the next line, and reads the one before it.
    fn step(
        &mut self,
        store: &Store,
        since: Option<Timestamp>,
    ) -> Result<Option<TrailEntry>, StoreError> {
        let given = self.next.take();
        if let Some(entry) = &given {
            self.before = entry.sequence;
            self.read(store, since)?;
        }
        Ok(given)
    }

    fn read(&mut self, store: &Store, since: Option<Timestamp>) -> Result<(), StoreError> {
        let since = since.and_then(|since| since.checked_sub(CLOCK_SLACK).ok());
        for key in self.keys.by_ref() {
            let (stream, sequence) = (self.stream, number(&key?)?);
            // Retention may have taken it meanwhile.
            let Some(line) = line(store, stream, sequence)? else {
                continue;
            };
            if since.is_none_or(|since| line.at() >= since) {
                self.next = Some(TrailEntry {
                    stream,
                    sequence,
                    line,
                });
            }
            return Ok(());
        }
        Ok(())
    }
}

/// The first sequence of a stream's lines that is later than `at`, found by halving: times go up with
/// sequences but for the slack that the caller has added.
fn first_after(store: &Store, stream: Stream, at: Timestamp) -> Result<u64, StoreError> {
    let lines = keys::lines_of(stream);
    let end = keys::numbered(&lines, u64::MAX);
    let Some(newest) = store.keys(&lines).next_back() else {
        return Ok(u64::MAX);
    };
    // What is later begins after `low` and at `high` at the latest.
    let (mut low, mut high) = (0, number(&newest?)?.saturating_add(1));
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        let from = keys::numbered(&lines, middle);
        match store.rows_between::<Line>(from, end.clone()).next() {
            Some(row) if row.as_ref().is_ok_and(|(_, line)| line.at() <= at) => low = middle,
            Some(Err(error)) => return Err(error),
            _ => high = middle,
        }
    }
    Ok(high)
}

#[cfg(test)]
mod tests;
