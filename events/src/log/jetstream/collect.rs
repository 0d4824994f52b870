//! What the bucket holds, and taking away what nobody needs. Safe beside uploads and other collectors:
//! whoever puts a bundle again gives its record a new sequence, and a record is taken away only at the
//! sequence it was seen at. Which bundles are needed is not known here.

use super::append::EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT;
use super::bundles::{ObjectInfo, chunks_of, record_of};
use super::connection::Connection;
use super::storage::{PATIENCE, StorageError};
use crate::Timestamp;
use crate::log::{ReadError, Stored, StoredBundle};
use crate::subject::{self, BUNDLES, BUNDLES_STREAM};
use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_ROLLUP};
use bytes::Bytes;
use schemas::Digest;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Records read at once.
const PAGE: usize = 1_000;
/// "wrong last sequence": somebody wrote the record in between.
const CONFLICT: [u32; 2] = [10071, 10164];

impl Connection {
    /// Every bundle of the bucket.
    pub(super) async fn listed_bundles(&self) -> Result<Vec<StoredBundle>, ReadError> {
        let records = self.records().await?;
        let bundles = records.into_iter().filter_map(|(record, info)| {
            Some(StoredBundle {
                digest: subject::parse_bundle(&info.name).filter(|_| !info.deleted)?,
                bytes: info.size,
                at: record.at,
                record: record.sequence,
            })
        });
        Ok(bundles.collect())
    }

    /// Takes a bundle away; `false` where it was put again since it was listed, or is gone.
    pub(super) async fn remove_bundle(&self, bundle: &StoredBundle) -> Result<bool, StorageError> {
        let Some((record, info)) = self.record(&bundle.digest).await? else {
            return Ok(false);
        };
        if record.sequence != bundle.record || info.deleted {
            return Ok(false);
        }
        let gone = json!({
            "name": info.name, "bucket": BUNDLES, "nuid": info.nuid,
            "size": 0, "chunks": 0, "deleted": true,
        });
        let payload = gone.to_string().into();
        let Some(sequence) = self.write_record(&record, payload).await? else {
            return Ok(false);
        };
        self.purge(&chunks_of(&info.nuid), None).await?;
        // The word that it is gone, and nothing that was put since.
        self.purge(&record.subject, Some(sequence + 1)).await?;
        Ok(true)
    }

    /// Takes away what interrupted uploads and removals have left: chunks without a record, and records
    /// that say that a bundle is gone, all from before `before`. Says how many there were.
    pub(super) async fn sweep_bundles(&self, before: Timestamp) -> Result<u64, StorageError> {
        // Chunks first: what is uploaded meanwhile has none among them, or a record afterwards.
        let chunks = self.chunk_subjects().await?;
        let mut kept = HashSet::new();
        let mut swept = 0;
        for (record, info) in self.records().await.map_err(unavailable)? {
            match info.deleted && record.at < before {
                true => {
                    self.purge(&record.subject, Some(record.sequence + 1))
                        .await?;
                    swept += 1;
                }
                false => drop(kept.insert(chunks_of(&info.nuid))),
            }
        }
        for subject in chunks.into_iter().filter(|subject| !kept.contains(subject)) {
            let last = self.direct_last(BUNDLES_STREAM, &subject).await;
            if last
                .map_err(unavailable)?
                .is_some_and(|last| last.at < before)
            {
                self.purge(&subject, None).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// The record again as it is, so that it counts as put now; `false` where it changed meanwhile.
    pub(super) async fn touch_bundle(&self, record: &Stored) -> Result<bool, StorageError> {
        let written = self.write_record(record, record.payload.clone()).await?;
        Ok(written.is_some())
    }

    /// The sequence at which it stands; none where the record is not the one any more that was seen.
    async fn write_record(
        &self,
        seen: &Stored,
        payload: Bytes,
    ) -> Result<Option<u64>, StorageError> {
        #[derive(Deserialize)]
        struct Written {
            seq: u64,
        }
        let what = "change a record of the bucket";
        let mut headers = HeaderMap::new();
        headers.insert(NATS_ROLLUP, "sub");
        let expected = seen.sequence.to_string();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected);
        headers.insert(
            EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
            seen.subject.as_str(),
        );
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(payload)
            .timeout(Some(PATIENCE));
        let answer = self.client.send_request(seen.subject.clone(), request);
        let answer = answer.await.map_err(|_| StorageError::Unavailable {
            what: what.to_owned(),
        })?;
        match super::storage::answered::<Written>(what, &answer.payload) {
            Ok(written) => Ok(Some(written.seq)),
            Err(StorageError::Refused { code, .. }) if CONFLICT.contains(&code) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the bucket says of a bundle.
    pub(super) async fn record(
        &self,
        digest: &Digest,
    ) -> Result<Option<(Stored, ObjectInfo)>, StorageError> {
        let subject = record_of(digest);
        let record = self.direct_last(BUNDLES_STREAM, &subject).await;
        let record = record.map_err(unavailable)?;
        Ok(record.and_then(|record| {
            let info = serde_json::from_slice(&record.payload).ok()?;
            Some((record, info))
        }))
    }

    async fn records(&self) -> Result<Vec<(Stored, ObjectInfo)>, ReadError> {
        let filter = format!("$O.{BUNDLES}.M.>");
        let (mut records, mut from) = (Vec::new(), 1);
        loop {
            let request = Self::page_request(&filter, from, PAGE);
            let page = self.direct_page(BUNDLES_STREAM, request).await?;
            let Some(last) = page.messages.last() else {
                return Ok(records);
            };
            from = last.sequence + 1;
            records.extend(page.messages.into_iter().filter_map(|record| {
                let info = serde_json::from_slice(&record.payload).ok()?;
                Some((record, info))
            }));
        }
    }

    async fn chunk_subjects(&self) -> Result<Vec<String>, StorageError> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: HashMap<String, u64>,
        }
        let mut subjects = Vec::new();
        loop {
            let request = json!({
                "subjects_filter": format!("$O.{BUNDLES}.C.>"), "offset": subjects.len(),
            });
            let subject = format!("$JS.API.STREAM.INFO.{BUNDLES_STREAM}");
            let what = "list what the bucket holds";
            let info: Info = self.ask_api(what, subject, &request, PATIENCE).await?;
            if info.state.subjects.is_empty() {
                return Ok(subjects);
            }
            subjects.extend(info.state.subjects.into_keys());
        }
    }

    /// All of a subject, or what stands before that sequence.
    async fn purge(&self, filter: &str, before: Option<u64>) -> Result<(), StorageError> {
        let mut request = json!({ "filter": filter });
        if let Some(sequence) = before {
            request["seq"] = sequence.into();
        }
        let subject = format!("$JS.API.STREAM.PURGE.{BUNDLES_STREAM}");
        let what = "take away a bundle";
        let purged = self.ask_api::<Value>(what, subject, &request, PATIENCE);
        purged.await.map(drop)
    }
}

fn unavailable(_: ReadError) -> StorageError {
    StorageError::Unavailable {
        what: "read the bucket".to_owned(),
    }
}
