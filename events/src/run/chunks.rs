//! Results that are too large for one event: cut into chunks, and put together again. Pure.
//!
//! Not here: who stores and reads the chunks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemas::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What one chunk carries of the result's JSON text. In base64 it takes a third more, which leaves
/// room for the envelope below the broker's 1 MiB.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// Where a large result is: in this many chunks, which add up to these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultChunks {
    pub count: u32,
    /// Of the result's JSON text.
    pub bytes: u64,
    /// Of the same bytes.
    pub digest: Digest,
}

/// Chunks that do not add up to the result.
#[derive(Debug, thiserror::Error)]
pub enum ResultDamaged {
    #[error("chunk {index} of {count} of the result is missing")]
    Missing { index: u32, count: u32 },
    #[error("chunk {index} of the result is not base64")]
    NotBase64 {
        index: u32,
        #[source]
        source: base64::DecodeError,
    },
    #[error("the chunks of the result have the digest {found}, not {expected}")]
    Changed { expected: Digest, found: Digest },
    #[error("the chunks of the result are not JSON")]
    NotJson(#[source] serde_json::Error),
}

impl ResultChunks {
    /// The reference to a result's JSON text.
    pub fn of(text: &str) -> Self {
        Self {
            // 16 MiB are 32 chunks.
            count: u32::try_from(text.len().div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX),
            bytes: text.len() as u64,
            digest: Digest::of(text.as_bytes()),
        }
    }

    /// A result's JSON text as the `base64` of its chunks, in order.
    pub fn cut(text: &str) -> impl Iterator<Item = String> {
        let chunks = text.as_bytes().chunks(CHUNK_BYTES);
        chunks.map(|chunk| STANDARD.encode(chunk))
    }

    /// The result, from the `base64` of its chunks by index.
    ///
    /// # Errors
    /// When they are not what this refers to.
    pub fn join(&self, chunks: &BTreeMap<u32, String>) -> Result<Value, ResultDamaged> {
        let (count, mut bytes) = (self.count, Vec::new());
        for index in 0..count {
            let missing = ResultDamaged::Missing { index, count };
            let chunk = chunks.get(&index).ok_or(missing)?;
            STANDARD
                .decode_vec(chunk, &mut bytes)
                .map_err(|source| ResultDamaged::NotBase64 { index, source })?;
        }
        let (expected, found) = (self.digest, Digest::of(&bytes));
        if found != expected {
            return Err(ResultDamaged::Changed { expected, found });
        }
        serde_json::from_slice(&bytes).map_err(ResultDamaged::NotJson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> (Value, String) {
        // Wider than a byte, so that chunks are cut within characters.
        let value = Value::from(format!("x{}", "é".repeat(CHUNK_BYTES)));
        let text = value.to_string();
        (value, text)
    }

    #[test]
    fn what_was_cut_joins_to_the_same() {
        let (value, text) = large();
        let reference = ResultChunks::of(&text);
        let chunks: BTreeMap<u32, String> = (0..).zip(ResultChunks::cut(&text)).collect();
        assert_eq!(
            (chunks.len(), reference.count, reference.bytes),
            (3, 3, text.len() as u64)
        );
        assert_eq!(reference.join(&chunks).unwrap(), value);
    }

    #[test]
    fn anything_else_is_told_apart() {
        let (_, text) = large();
        let reference = ResultChunks::of(&text);
        let whole: BTreeMap<u32, String> = (0..).zip(ResultChunks::cut(&text)).collect();
        let refused = |change: &dyn Fn(&mut BTreeMap<u32, String>)| {
            let mut chunks = whole.clone();
            change(&mut chunks);
            reference.join(&chunks).unwrap_err().to_string()
        };
        let missing = refused(&|chunks| drop(chunks.remove(&1)));
        assert!(missing.contains("chunk 1 of 3"), "{missing}");
        let changed = refused(&|chunks| drop(chunks.insert(2, String::new())));
        assert!(changed.contains("digest"), "{changed}");
        let rubbish = refused(&|chunks| drop(chunks.insert(0, "?".to_owned())));
        assert!(rubbish.contains("not base64"), "{rubbish}");
    }
}
