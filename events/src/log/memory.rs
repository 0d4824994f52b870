//! The log in memory: the same rules as the real one, for tests of the layers above it.

use super::{
    Append, AppendError, Appended, Bounds, BundleError, Bundles, Expect, Log, ReadError, Stored,
    StoredBundle,
};
use crate::subject::Stream;
use crate::{EventId, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use schemas::Digest;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

/// A log and a bucket that live as long as this value and its clones.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

struct Shared {
    streams: Mutex<HashMap<Stream, Messages>>,
    bundles: Mutex<BTreeMap<Digest, Kept>>,
    /// Counts appends, so that followers wake.
    appended: watch::Sender<u64>,
}

/// A bundle, and when it was last put.
struct Kept {
    bytes: Bytes,
    at: Timestamp,
    record: u64,
}

#[derive(Default)]
struct Messages {
    stored: Vec<Stored>,
    by_id: HashMap<EventId, u64>,
    last_sequence: u64,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self(Arc::new(Shared {
            streams: Mutex::default(),
            bundles: Mutex::default(),
            appended: watch::Sender::new(0),
        }))
    }
}

impl MemoryLog {
    fn streams(&self) -> MutexGuard<'_, HashMap<Stream, Messages>> {
        self.0
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let sequence = self
            .streams()
            .entry(append.stream)
            .or_default()
            .append(append)?;
        self.0.appended.send_modify(|count| *count += 1);
        Ok(Appended { sequence })
    }

    async fn last(&self, stream: Stream, filter: &str) -> Result<Option<Stored>, ReadError> {
        let streams = self.streams();
        let messages = streams.get(&stream).map(|m| m.stored.as_slice());
        let mut newest_first = messages.unwrap_or_default().iter().rev();
        Ok(newest_first.find(|m| matches(filter, &m.subject)).cloned())
    }

    async fn page(
        &self,
        stream: Stream,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let streams = self.streams();
        let messages = streams.get(&stream).map(|m| m.stored.as_slice());
        let wanted = messages
            .unwrap_or_default()
            .iter()
            .filter(|m| m.sequence >= from && matches(filter, &m.subject));
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn bounds(&self, stream: Stream) -> Result<Bounds, ReadError> {
        let streams = self.streams();
        let messages = streams.get(&stream);
        let first = messages.and_then(|m| m.stored.first());
        Ok(Bounds {
            created: "in memory".to_owned(),
            first_sequence: first.map_or(1, |m| m.sequence),
            last_sequence: messages.map_or(0, |m| m.last_sequence),
            at: Timestamp::now(),
        })
    }

    fn follow(&self, stream: Stream, from: u64) -> BoxStream<'static, Stored> {
        let log = self.clone();
        let wakes = WatchStream::new(self.0.appended.subscribe());
        let batches = wakes.scan(from, move |next, _| {
            let new: Vec<Stored> = log
                .streams()
                .get(&stream)
                .map(|m| m.stored.iter().filter(|m| m.sequence >= *next).cloned())
                .map(Iterator::collect)
                .unwrap_or_default();
            *next = new.last().map_or(*next, |m| m.sequence + 1);
            futures::future::ready(Some(futures::stream::iter(new)))
        });
        batches.flatten().boxed()
    }

    async fn changes(
        &self,
        _stream: Stream,
        _filter: &str,
    ) -> Result<BoxStream<'static, ()>, ReadError> {
        let wakes = WatchStream::from_changes(self.0.appended.subscribe());
        Ok(wakes.map(|_| ()).boxed())
    }
}

impl Messages {
    fn append(&mut self, append: Append) -> Result<u64, AppendError> {
        if let Some(&sequence) = self.by_id.get(&append.id) {
            return Ok(sequence);
        }
        let (last, expected) = match &append.expect {
            Expect::Nothing => (0, 0),
            Expect::Stream { sequence } => (self.last_sequence, *sequence),
            Expect::Subjects { filter, sequence } => (self.last_of(filter), *sequence),
        };
        if last != expected {
            return Err(AppendError::Conflict { last });
        }
        self.last_sequence += 1;
        self.by_id.insert(append.id, self.last_sequence);
        if append.stream == Stream::Lanes {
            self.stored.retain(|m| m.subject != append.subject);
        }
        self.stored.push(Stored {
            follows: matches!(append.expect, Expect::Subjects { .. }).then_some(expected),
            subject: append.subject,
            sequence: self.last_sequence,
            at: Timestamp::now(),
            payload: append.payload,
        });
        Ok(self.last_sequence)
    }

    fn last_of(&self, filter: &str) -> u64 {
        let mut newest_first = self.stored.iter().rev();
        newest_first
            .find(|m| matches(filter, &m.subject))
            .map_or(0, |m| m.sequence)
    }
}

#[async_trait]
impl Bundles for MemoryLog {
    async fn put(&self, bytes: Bytes) -> Result<Digest, BundleError> {
        let digest = Digest::of(&bytes);
        let mut bundles = self
            .0
            .bundles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let record = bundles.get(&digest).map_or(1, |kept| kept.record + 1);
        let at = Timestamp::now();
        bundles.insert(digest, Kept { bytes, at, record });
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, BundleError> {
        let bundles = self
            .0
            .bundles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = bundles.get(digest).map(|kept| kept.bytes.clone());
        found.ok_or(BundleError::Missing(*digest))
    }

    async fn listed(&self) -> Result<Vec<StoredBundle>, BundleError> {
        let bundles = self
            .0
            .bundles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let listed = bundles.iter().map(|(digest, kept)| StoredBundle {
            digest: *digest,
            bytes: kept.bytes.len() as u64,
            at: kept.at,
            record: kept.record,
        });
        Ok(listed.collect())
    }

    async fn remove(&self, bundle: &StoredBundle) -> Result<bool, BundleError> {
        let mut bundles = self
            .0
            .bundles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let seen = bundles.get(&bundle.digest).map(|kept| kept.record);
        let unchanged = seen == Some(bundle.record);
        if unchanged {
            bundles.remove(&bundle.digest);
        }
        Ok(unchanged)
    }

    async fn sweep(&self, _before: Timestamp) -> Result<u64, BundleError> {
        // Nothing here is ever half done.
        Ok(0)
    }
}

/// Whether a subject fits a filter with `*` for one token and `>` for all that follow.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::matches;
    use rstest::rstest;

    #[rstest]
    #[case("a.b", "a.b", true)]
    #[case("a.*", "a.b", true)]
    #[case("a.*", "a.b.c", false)]
    #[case("a.>", "a.b.c", true)]
    #[case("a.>", "a", false)]
    #[case("*.b.>", "a.b.c", true)]
    #[case("a.b.c", "a.b", false)]
    fn filters(#[case] filter: &str, #[case] subject: &str, #[case] fits: bool) {
        assert_eq!(matches(filter, subject), fits);
    }
}
