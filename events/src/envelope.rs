//! What stands around every stored event: its id, when, who, and, in the catalogue, the hash of
//! the envelope before it.

use crate::{Actor, EventId};
use jiff::Timestamp;
use schemas::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One stored event of kind `E`. This is its wire form: there is no second set of structs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<E> {
    /// Also the broker's message id, so that a repeated append is recognised.
    pub id: EventId,
    /// The writer's clock. Order is told by the stream's sequence, never by this.
    pub at: Timestamp,
    pub actor: Actor,
    /// Only in `CATALOG`: the digest of the previous envelope's bytes, which makes the stream one
    /// hash chain. Absent in the first event and in all other streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    pub event: E,
}

/// Bytes on one of our subjects that are not the envelope expected there.
#[derive(Debug, thiserror::Error)]
#[error("the message is not a readable event")]
pub struct Unreadable(#[from] serde_json::Error);

impl<E: Serialize> Envelope<E> {
    /// The bytes that are stored.
    pub fn to_bytes(&self) -> bytes::Bytes {
        // Our event types hold no map with non-string keys and no fallible serializer.
        serde_json::to_vec(self)
            .expect("event types serialize")
            .into()
    }
}

impl<E: DeserializeOwned> Envelope<E> {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
