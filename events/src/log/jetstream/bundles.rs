//! Bundles in the object store, read without a consumer and checked by our own digest.

use super::connection::Connection;
use super::patience::Moment;
use crate::Timestamp;
use crate::log::{BundleError, Bundles, StoredBundle};
use crate::subject;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::{Bytes, BytesMut};
use schemas::Digest;
use schemas::bundle::MAX_PACKED_BYTES;
use serde::Deserialize;
use std::error::Error;

/// Chunks asked for at once; a chunk is at most 128 KiB.
const CHUNKS_PER_PAGE: usize = 64;

/// A put that meets a collector again and again would be a fault of ours.
const TRIES: u32 = 5;

/// What the bucket says of an object.
#[derive(Deserialize)]
pub(super) struct ObjectInfo {
    pub name: String,
    pub nuid: String,
    pub size: u64,
    #[serde(default)]
    pub deleted: bool,
}

/// Where the bucket keeps what it says of a bundle.
pub(super) fn record_of(digest: &Digest) -> String {
    let name = URL_SAFE.encode(subject::bundle(digest));
    format!("$O.{}.M.{name}", subject::BUNDLES)
}

/// Where the bucket keeps the chunks of one upload.
pub(super) fn chunks_of(nuid: &str) -> String {
    format!("$O.{}.C.{nuid}", subject::BUNDLES)
}

#[async_trait]
impl Bundles for Connection {
    async fn put(&self, bytes: Bytes) -> Result<Digest, BundleError> {
        let digest = Digest::of(&bytes);
        if bytes.len() > MAX_PACKED_BYTES {
            return Err(BundleError::TooLarge(digest, bytes.len() as u64));
        }
        if self.is_there(&digest).await {
            return Ok(digest);
        }
        let not_stored = |reason: String| BundleError::NotStored(digest, reason);
        let moment = Moment::begin();
        loop {
            match self.put_once(&digest, &bytes).await {
                Ok(()) => return Ok(digest),
                Err(error) if moment.passes(&*error).await => {}
                Err(error) => return Err(not_stored(error.to_string())),
            }
        }
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, BundleError> {
        let info = self.object(digest).await?;
        if info.size > MAX_PACKED_BYTES as u64 {
            return Err(BundleError::TooLarge(*digest, info.size));
        }
        let bytes = self.chunks(digest, &info).await?;
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            let expected = *digest;
            Err(BundleError::Changed { expected, found })
        }
    }

    async fn listed(&self) -> Result<Vec<StoredBundle>, BundleError> {
        let listed = self.listed_bundles().await;
        listed.map_err(|error| BundleError::NotCollected(Box::new(error)))
    }

    async fn remove(&self, bundle: &StoredBundle) -> Result<bool, BundleError> {
        let removed = self.remove_bundle(bundle).await;
        removed.map_err(|error| BundleError::NotCollected(Box::new(error)))
    }

    async fn sweep(&self, before: Timestamp) -> Result<u64, BundleError> {
        let swept = self.sweep_bundles(before).await;
        swept.map_err(|error| BundleError::NotCollected(Box::new(error)))
    }
}

impl Connection {
    async fn put_once(
        &self,
        digest: &Digest,
        bytes: &Bytes,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let bucket = self.jetstream().get_object_store(subject::BUNDLES).await?;
        let name = subject::bundle(digest);
        bucket.put(name.as_str(), &mut bytes.as_ref()).await?;
        Ok(())
    }

    /// Whether the bucket has it whole. If so, it counts as put now, and no collector that saw it
    /// before takes it away.
    async fn is_there(&self, digest: &Digest) -> bool {
        for _ in 0..TRIES {
            let Ok(Some((record, info))) = self.record(digest).await else {
                return false;
            };
            if info.deleted || self.get(digest).await.is_err() {
                return false;
            }
            match self.touch_bundle(&record).await {
                Ok(true) => return true,
                // Taken away, or put by somebody else: look again.
                Ok(false) => {}
                Err(_) => return false,
            }
        }
        false
    }

    async fn object(&self, digest: &Digest) -> Result<ObjectInfo, BundleError> {
        let subject = record_of(digest);
        let found = self.direct_last(subject::BUNDLES_STREAM, &subject).await;
        let message = found.map_err(|_| BundleError::Unavailable(*digest))?;
        message
            .and_then(|message| serde_json::from_slice::<ObjectInfo>(&message.payload).ok())
            .filter(|info| !info.deleted)
            .ok_or(BundleError::Missing(*digest))
    }

    async fn chunks(&self, digest: &Digest, info: &ObjectInfo) -> Result<Bytes, BundleError> {
        let filter = chunks_of(&info.nuid);
        let mut bytes = BytesMut::new();
        let mut from = 1;
        while (bytes.len() as u64) < info.size {
            let request = Self::page_request(&filter, from, CHUNKS_PER_PAGE);
            let page = self.direct_page(subject::BUNDLES_STREAM, request).await;
            let page = page.map_err(|_| BundleError::Unavailable(*digest))?;
            let Some(last) = page.messages.last() else {
                return Err(BundleError::Missing(*digest));
            };
            from = last.sequence + 1;
            for chunk in &page.messages {
                bytes.extend_from_slice(&chunk.payload);
            }
            if bytes.len() > MAX_PACKED_BYTES {
                return Err(BundleError::TooLarge(*digest, bytes.len() as u64));
            }
        }
        Ok(bytes.freeze())
    }
}
