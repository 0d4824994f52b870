//! The rows: what a step of a stream changes goes in with the stream's cursor, and counts at once. On
//! the disk it is some time later: what a crash takes is read again from the log. Here is the only
//! place that names sled.

mod behind;
mod disk;
mod pages;
mod scan;

use super::changes::Changes;
use super::keys;
use disk::Disk;
use events::log::Bounds;
use events::subject::Stream;
use schemas::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the projection {0} is in use by another process. Stop the other coordinator, or use another --data-dir"
    )]
    InUse(PathBuf),
    #[error("the projection {path} cannot be made")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the projection cannot be read or written")]
    Disk(#[from] sled::Error),
    #[error("the projection is damaged: {0}")]
    Damaged(String),
}

/// How far a stream has been applied, and which stream that was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// [`Bounds::created`]
    pub created: String,
    pub sequence: u64,
    /// The digest of the message at `sequence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Digest>,
}

/// A stream as the broker has it, which the store has to fit.
#[derive(Clone, Debug)]
pub struct Fit {
    pub stream: Stream,
    pub bounds: Bounds,
}

/// Rows by keys.
pub struct Store(Disk);

/// Rows held in memory, whatever their number: enough for what is asked about again and again. Left to
/// itself it would be a gigabyte.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How long the lock of a coordinator that is just ending is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Opens the store and loads from it. Whatever is wrong with its content, it is deleted and the
/// answer is an empty one; only a store in use, or a disk that takes nothing, is an error.
pub async fn open_fitting<T>(
    path: &Path,
    fits: &[Fit],
    load: impl Fn(&Store) -> Result<T, StoreError>,
) -> Result<(Store, T), StoreError> {
    let opened = open_unlocked(path).await.and_then(|store| {
        store.check(fits)?;
        let loaded = load(&store)?;
        Ok((store, loaded))
    });
    let reason = match opened {
        Ok(opened) => return Ok(opened),
        Err(error @ StoreError::InUse(_)) => return Err(error),
        Err(reason) => reason,
    };
    tracing::warn!(
        path = %path.display(),
        reason = %reason,
        "the projection does not fit the streams; it is deleted and rebuilt from them"
    );
    let store = open_empty(path, fits).await?;
    let loaded = load(&store)?;
    Ok((store, loaded))
}

/// Deletes what is there and begins anew. Nobody may have it open.
pub async fn open_empty(path: &Path, fits: &[Fit]) -> Result<Store, StoreError> {
    let failed = |source| StoreError::Folder {
        path: path.to_owned(),
        source,
    };
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        _ => {}
    }
    let store = open_unlocked(path).await?;
    store.check(fits)?;
    Ok(store)
}

/// Up to where a store at `path` has read `CATALOG`; 0 where there is none that can be read.
pub async fn remembered(path: &Path) -> u64 {
    if !path.exists() {
        return 0;
    }
    let Ok(store) = open_unlocked(path).await else {
        return 0;
    };
    let cursor = store.cursor(Stream::Catalog).ok().flatten();
    cursor.map_or(0, |cursor| cursor.sequence)
}

async fn open_unlocked(path: &Path) -> Result<Store, StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        match Store::open(path) {
            Err(StoreError::InUse(_)) if waited < LOCK_PATIENCE => {
                tokio::time::sleep(LOCK_PAUSE).await;
                waited += LOCK_PAUSE;
            }
            opened => return opened,
        }
    }
}

impl Store {
    fn open(path: &Path) -> Result<Self, StoreError> {
        // Some damage makes sled panic where it reads its own files.
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES);
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        match opened {
            Ok(Ok(db)) => Disk::new(db)
                .map(Self)
                .map_err(|source| StoreError::Folder {
                    path: path.to_owned(),
                    source,
                }),
            Ok(Err(error)) if error.to_string().contains("could not acquire lock") => {
                Err(StoreError::InUse(path.to_owned()))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StoreError::Damaged("opening it broke down".to_owned())),
        }
    }

    /// Whether layout and cursors are those of these streams; a store without rows fits any.
    fn check(&self, fits: &[Fit]) -> Result<(), StoreError> {
        match self.get::<u32>(keys::LAYOUT_KEY)? {
            Some(keys::LAYOUT) => {}
            None if self.rows_from(Vec::new()).next().is_none() => {
                let mut changes = Changes::default();
                changes.put(keys::LAYOUT_KEY.to_vec(), &keys::LAYOUT);
                self.0.add(changes);
            }
            _ => return Err(StoreError::Damaged("its layout is another one".to_owned())),
        }
        for Fit { stream, bounds } in fits {
            let Some(cursor) = self.cursor(*stream)? else {
                continue;
            };
            let name = stream.name();
            if cursor.created != bounds.created {
                let what = format!("it was built from another stream {name}");
                return Err(StoreError::Damaged(what));
            }
            if cursor.sequence > bounds.last_sequence {
                let what = format!("it is ahead of the stream {name}");
                return Err(StoreError::Damaged(what));
            }
        }
        Ok(())
    }

    pub fn cursor(&self, stream: Stream) -> Result<Option<Cursor>, StoreError> {
        self.get(&keys::cursor(stream))
    }

    /// Takes a step: its rows and the stream's cursor, all or nothing.
    pub fn write(&self, stream: Stream, cursor: &Cursor, mut changes: Changes) {
        changes.put(keys::cursor(stream), cursor);
        self.0.add(changes);
    }

    /// Has the disk take rows where too many wait for it. Who takes steps asks for it after each.
    ///
    /// # Errors
    /// When the disk takes none; nothing is lost, and the next call tries again.
    pub fn relieve(&self) -> Result<(), StoreError> {
        self.0.relieve()
    }

    pub fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.0.get(key, |row| parsed(key, row))
    }

    pub fn has(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.0.get(key, |_| Ok(()))?.is_some())
    }

    /// The rows whose key begins with `prefix`, in order.
    pub fn rows<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, T), StoreError>> + use<T> {
        read(self.0.scan(beginning_with(prefix)))
    }

    /// The keys that begin with `prefix`, in order, from either end.
    pub fn keys(
        &self,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<Vec<u8>, StoreError>> + use<> {
        let rows = self.0.scan(beginning_with(prefix));
        rows.map(|row| Ok(row?.0))
    }

    /// The keys from `from` up to, but without, `to`, in order, from either end.
    pub fn keys_between(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> impl DoubleEndedIterator<Item = Result<Vec<u8>, StoreError>> + use<> {
        let rows = self.0.scan((Bound::Included(from), Bound::Excluded(to)));
        rows.map(|row| Ok(row?.0))
    }

    /// The rows from `from` up to, but without, `to`, in order.
    pub fn rows_between<T: DeserializeOwned>(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, T), StoreError>> + use<T> {
        read(self.0.scan((Bound::Included(from), Bound::Excluded(to))))
    }

    /// All rows from a key on, in order, as they are.
    pub fn rows_from(
        &self,
        key: Vec<u8>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + use<> {
        self.0.scan((Bound::Included(key), Bound::Unbounded))
    }

    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }

    /// Every row, for comparing stores.
    #[cfg(test)]
    pub fn dump(&self) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        self.rows_from(Vec::new()).map(Result::unwrap).collect()
    }
}

impl Fit {
    /// How far the store has applied the stream. A stream that has dropped its beginning starts
    /// there.
    pub fn sequence_in(&self, store: &Store) -> u64 {
        let cursor = store.cursor(self.stream).ok().flatten();
        cursor.map_or(0, |cursor| cursor.sequence)
    }
}

impl Fit {
    /// The digest of the last message that the store has applied.
    pub fn head_in(&self, store: &Store) -> Option<Digest> {
        store.cursor(self.stream).ok().flatten()?.head
    }
}

/// All keys that begin like this.
fn beginning_with(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut behind = prefix.to_vec();
    while behind.pop_if(|byte| *byte == u8::MAX).is_some() {}
    let to = match behind.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(behind)
        }
        None => Bound::Unbounded,
    };
    (Bound::Included(prefix.to_vec()), to)
}

fn read<T: DeserializeOwned>(
    rows: impl Iterator<Item = scan::Row>,
) -> impl Iterator<Item = Result<(Vec<u8>, T), StoreError>> {
    rows.map(|row| {
        let (key, value) = row?;
        let value = parsed(&key, &value)?;
        Ok((key, value))
    })
}

fn parsed<T: DeserializeOwned>(key: &[u8], row: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(row).map_err(|error| {
        let key = String::from_utf8_lossy(key).into_owned();
        StoreError::Damaged(format!("the row {key:?} is not readable: {error}"))
    })
}
