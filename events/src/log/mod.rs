//! The log: append with an expected sequence, read, follow; bundles by digest; and the plain
//! messages beside it. The only place that names async-nats.
//!
//! [`Log`] and [`Bundles`] are what the rest of the system is written against. [`jetstream`] is
//! the real one; [`memory`] accepts and refuses exactly the same things (one contract test for
//! both) and serves tests of the layers above.

pub mod jetstream;
pub mod memory;

use crate::envelope::Unreadable;
use crate::subject::Stream;
use crate::{Envelope, EventId, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use schemas::Digest;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// One event on its way into a stream.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: Stream,
    pub subject: String,
    /// The envelope's id; the same append sent twice is stored once.
    pub id: EventId,
    pub payload: Bytes,
    pub expect: Expect,
}

/// What the decision behind an append was based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The whole stream's last sequence.
    Stream { sequence: u64 },
    /// The last sequence of what `filter` matches; 0 where nothing does.
    Subjects { filter: String, sequence: u64 },
    /// Nothing: an observation that no decision rests on.
    Nothing,
}

/// An append that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub sequence: u64,
}

/// Why an append is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else was first: read again, decide again.
    #[error("another change came first (the last sequence is {last})")]
    Conflict { last: u64 },
    /// The broker will not store it, whoever asks how often.
    #[error("the broker refuses to store this in {stream}: {reason}")]
    Refused {
        stream: &'static str,
        reason: String,
    },
    /// There is no room now; the same append again may be stored once there is.
    #[error(
        "{stream} is full, so nothing was stored ({reason}); make room on the broker's disk, or raise its limits"
    )]
    Full {
        stream: &'static str,
        reason: String,
    },
    /// It may be stored or not; the same append again is safe.
    #[error("the broker did not answer within {waited:?}; nothing is known to be stored")]
    Unavailable { waited: Duration },
}

/// A message as it stands in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub subject: String,
    pub sequence: u64,
    /// The broker's clock.
    pub at: Timestamp,
    pub payload: Bytes,
    /// The last sequence of its consistency boundary that its writer expected, where the writer
    /// expected one by subject.
    pub follows: Option<u64>,
}

impl Stored {
    /// The event in it, at the time of the broker: the clock of the host that wrote it may be off.
    pub fn envelope<E: DeserializeOwned>(&self) -> Result<Envelope<E>, Unreadable> {
        let written = Envelope::from_bytes(&self.payload)?;
        Ok(Envelope {
            at: self.at,
            ..written
        })
    }
}

/// What a stream holds now, and which stream it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Told apart by its creation: a stream that was deleted and made again is another one.
    pub created: String,
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// The broker's clock when it answered.
    pub at: Timestamp,
}

/// A read that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the broker did not answer a read of {stream}")]
    Unavailable { stream: &'static str },
    #[error("the broker refuses a read of {stream}: {reason}")]
    Refused {
        stream: &'static str,
        reason: String,
    },
}

/// An append-only log of several streams.
#[async_trait]
pub trait Log: Send + Sync {
    /// Stores one event if nothing else came first. Waits out short absences of the broker.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// The last message that `filter` matches.
    async fn last(&self, stream: Stream, filter: &str) -> Result<Option<Stored>, ReadError>;

    /// Up to `limit` messages that `filter` matches, from the sequence `from` on, in order. Fewer
    /// than `limit` does not mean the end; none does.
    async fn page(
        &self,
        stream: Stream,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError>;

    async fn bounds(&self, stream: Stream) -> Result<Bounds, ReadError>;

    /// Every message from the sequence `from` on, in order, without end. Reconnects by itself.
    fn follow(&self, stream: Stream, from: u64) -> BoxStream<'static, Stored>;

    /// Says that something `filter` matches may have been stored since the last item; the items
    /// carry nothing. Ends when the connection does.
    async fn changes(
        &self,
        stream: Stream,
        filter: &str,
    ) -> Result<BoxStream<'static, ()>, ReadError>;
}

/// Packed script folders by the digest of their content.
#[async_trait]
pub trait Bundles: Send + Sync {
    /// Stores the bytes under their own digest; what is there already stays untouched.
    async fn put(&self, bytes: Bytes) -> Result<Digest, BundleError>;

    /// The bytes with that digest, checked.
    async fn get(&self, digest: &Digest) -> Result<Bytes, BundleError>;

    /// All that are stored.
    async fn listed(&self) -> Result<Vec<StoredBundle>, BundleError>;

    /// Takes one away; `false` where it was put again since it was listed, or is gone.
    async fn remove(&self, bundle: &StoredBundle) -> Result<bool, BundleError>;

    /// Takes away what uploads and removals that were interrupted before that time have left; says how
    /// much.
    async fn sweep(&self, before: Timestamp) -> Result<u64, BundleError>;
}

/// A bundle in the bucket, as it was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBundle {
    pub digest: Digest,
    pub bytes: u64,
    /// When it was last put, by the broker's clock.
    pub at: Timestamp,
    /// Another one whenever it is put again.
    pub record: u64,
}

/// A bundle that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("bundle {0} is not in the bucket")]
    Missing(Digest),
    #[error("bundle {expected} was changed in the bucket: its content is {found}; refused")]
    Changed { expected: Digest, found: Digest },
    #[error("bundle {0} is {1} bytes, more than the {limit} a bundle may have; refused", limit = schemas::bundle::MAX_PACKED_BYTES)]
    TooLarge(Digest, u64),
    #[error("the broker did not deliver bundle {0}")]
    Unavailable(Digest),
    #[error("the broker did not store bundle {0}: {1}")]
    NotStored(Digest, String),
    #[error("bundles that nobody needs could not be taken away")]
    NotCollected(#[source] Box<dyn std::error::Error + Send + Sync>),
}
