//! Every projection once more, from the log alone, beside the live ones; and whether both have the same
//! rows, byte for byte. Writes go on meanwhile: a piece of the rows is compared at a time, while both
//! stand at the same sequences for some milliseconds. Nothing here changes what is shown.

use super::follow::Follower;
use super::reading::{BATCH_MAX, Read};
use super::store::{self, Fit, StoreError};
use super::{FOLLOWED, Loaded, OpenError, Projections, Shared, keys, read};
use events::log::{Log, ReadError};
use events::subject::Stream;
use schemas::Digest;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Rows that were compared.
    pub rows: u64,
    /// The first ones, by key.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub more: u64,
    /// Up to where each stream was applied in the end.
    pub cursors: Vec<(Stream, u64)>,
}

/// A row that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub key: String,
    /// From where they differ; none where there is no such row.
    pub live: Option<String>,
    pub rebuilt: Option<String>,
}

/// Rows compared while followers stand still: some milliseconds.
const ROWS_AT_ONCE: usize = 10_000;
/// Differences that are named; the others are counted.
const NAMED_MAX: usize = 100;
/// Bytes shown of a row before it differs, and after.
const CONTEXT_BYTES: usize = 40;
const SHOWN_BYTES: usize = 120;
/// How often a page is read again where what answers is behind the stream's leader.
const READS: usize = 20;
const READ_PAUSE: Duration = Duration::from_millis(100);
/// How a folder in which a projection is rebuilt is called, beside the live one's.
const PREFIX: &str = ".rebuild-";

type Row = Result<(Vec<u8>, Vec<u8>), StoreError>;

impl Projections {
    /// `tell` hears how far which stream was read, and how far it is to be.
    ///
    /// # Errors
    /// When the broker does not answer, or the disk takes no second projection.
    pub async fn compare_with_rebuilt(
        &self,
        log: Arc<dyn Log>,
        tell: impl Fn(Stream, u64, u64) + Send,
    ) -> Result<Comparison, OpenError> {
        sweep(&self.path);
        let mut rebuilt = Rebuilt::beside(&self.path, log).await?;
        for follower in &mut rebuilt.followers {
            let until = self.shared.sequence(follower.stream)?;
            follower.catch_up(until, &tell).await?;
        }
        let mut comparison = Comparison::default();
        let mut from = Some(Vec::new());
        while let Some(start) = from {
            let _standing = self.shared.turn.write().await;
            rebuilt.meet(&self.shared).await?;
            let (live, again) = (&self.shared.store, &rebuilt.shared.store);
            from = comparison.compare(live.rows_from(start.clone()), again.rows_from(start))?;
            if from.is_none() {
                comparison.compare_memory(&self.shared, &rebuilt.shared);
                let cursors = rebuilt.followers.iter();
                comparison.cursors = cursors.map(|f| (f.stream, f.sequence)).collect();
            }
        }
        Ok(comparison)
    }
}

/// Removes what a coordinator left that was killed in the middle.
pub fn sweep(live: &Path) {
    let siblings = live.parent().and_then(|folder| folder.read_dir().ok());
    for entry in siblings.into_iter().flatten().flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_left && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "a rebuilt projection was not removed");
        }
    }
}

/// The projections of the log, without any past.
struct Rebuilt {
    shared: Arc<Shared>,
    followers: Vec<Follower>,
    log: Arc<dyn Log>,
    /// Goes with us.
    _folder: tempfile::TempDir,
}

impl Rebuilt {
    async fn beside(live: &Path, log: Arc<dyn Log>) -> Result<Self, OpenError> {
        let beside = live.parent().unwrap_or(live);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(beside)
            .map_err(|source| StoreError::Folder {
                path: beside.to_owned(),
                source,
            })?;
        let mut fits = Vec::new();
        for stream in FOLLOWED {
            let bounds = log.bounds(stream).await?;
            fits.push(Fit { stream, bounds });
        }
        let (store, loaded) = store::open_fitting(folder.path(), &[], Loaded::from_store).await?;
        let shared = Arc::new(Shared::new(store, loaded, &fits));
        let followers = fits
            .into_iter()
            .map(|fit| Follower::new(shared.clone(), log.clone(), fit))
            .collect();
        Ok(Self {
            shared,
            followers,
            log,
            _folder: folder,
        })
    }

    /// Comes to where the live ones stand, and has both drop what the streams have dropped by now.
    async fn meet(&mut self, live: &Arc<Shared>) -> Result<(), OpenError> {
        for follower in &mut self.followers {
            let stream = follower.stream;
            let until = live.sequence(stream)?;
            follower.catch_up(until, &|_, _, _| ()).await?;
            let first_sequence = self.log.bounds(stream).await?.first_sequence;
            follower.first_sequence = first_sequence;
            let head = live.head(stream)?;
            if first_sequence > until && stream != Stream::Catalog && head.is_some() {
                // Retention has dropped the last message, too: what it was cannot be read any more.
                follower.head = head;
                follower.skip_to(until);
            }
            follower.forget().await;
            let of_live = Follower {
                shared: live.clone(),
                log: self.log.clone(),
                stream,
                created: live.created(stream)?.unwrap_or_default(),
                first_sequence,
                sequence: until,
                head,
            };
            of_live.forget().await;
        }
        Ok(())
    }
}

impl Shared {
    fn sequence(&self, stream: Stream) -> Result<u64, StoreError> {
        let cursor = self.store.cursor(stream)?;
        Ok(cursor.map_or(0, |cursor| cursor.sequence))
    }

    fn head(&self, stream: Stream) -> Result<Option<Digest>, StoreError> {
        let cursor = self.store.cursor(stream)?;
        Ok(cursor.and_then(|cursor| cursor.head))
    }

    fn created(&self, stream: Stream) -> Result<Option<String>, StoreError> {
        let cursor = self.store.cursor(stream)?;
        Ok(cursor.map(|cursor| cursor.created))
    }
}

impl Follower {
    /// Applies all that the stream still has up to a sequence.
    async fn catch_up(
        &mut self,
        until: u64,
        tell: &impl Fn(Stream, u64, u64),
    ) -> Result<(), OpenError> {
        let mut reads = 0;
        while self.sequence < until {
            let page = self
                .log
                .page(self.stream, ">", self.sequence + 1, BATCH_MAX);
            let mut page = page.await?;
            if page.is_empty() && self.has_more().await? {
                reads += 1;
                if reads > READS {
                    let stream = self.stream.name();
                    return Err(ReadError::Unavailable { stream }.into());
                }
                tokio::time::sleep(READ_PAUSE).await;
                continue;
            }
            page.retain(|message| message.sequence <= until);
            if page.is_empty() {
                self.skip_to(until);
                break;
            }
            let stream = self.stream;
            let read = page.into_iter();
            self.apply(read.map(|message| Read::of(stream, message)).collect())
                .await;
            tell(self.stream, self.sequence, until);
        }
        Ok(())
    }

    async fn has_more(&self) -> Result<bool, ReadError> {
        let last = self.log.last(self.stream, ">").await?;
        Ok(last.is_some_and(|last| last.sequence > self.sequence))
    }

    /// What stood up to there the stream has dropped.
    fn skip_to(&mut self, sequence: u64) {
        self.sequence = sequence;
        self.write(&self.cursor(), super::changes::Changes::default());
    }
}

impl Comparison {
    /// Compares some rows of two stores; says where to go on.
    fn compare(
        &mut self,
        live: impl Iterator<Item = Row>,
        rebuilt: impl Iterator<Item = Row>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (mut live, mut rebuilt) = (live.peekable(), rebuilt.peekable());
        for _ in 0..ROWS_AT_ONCE {
            let Some(key) = first_key(&mut live, &mut rebuilt) else {
                return Ok(None);
            };
            let (one, other) = (taken(&mut live, &key)?, taken(&mut rebuilt, &key)?);
            self.rows += 1;
            if one != other {
                self.note(keys::shown(&key), one.as_deref(), other.as_deref());
            }
        }
        Ok(first_key(&mut live, &mut rebuilt))
    }

    /// What is held in memory has to be what the rows say, too.
    fn compare_memory(&mut self, live: &Shared, rebuilt: &Shared) {
        let same = [
            ("catalog", *read(&live.catalog) == *read(&rebuilt.catalog)),
            (
                "runs",
                read(&live.runs).live() == read(&rebuilt.runs).live(),
            ),
            ("runners", {
                let (live, rebuilt) = (read(&live.runners), read(&rebuilt.runners));
                live.all() == rebuilt.all() && live.holdings() == rebuilt.holdings()
            }),
        ];
        for (what, _) in same.into_iter().filter(|(_, same)| !same) {
            let other = "not the same in memory".as_bytes();
            self.note(format!("memory/{what}"), Some(other), None);
        }
    }

    fn note(&mut self, key: String, live: Option<&[u8]>, rebuilt: Option<&[u8]>) {
        if self.differences.len() == NAMED_MAX {
            self.more += 1;
            return;
        }
        let both = live
            .unwrap_or_default()
            .iter()
            .zip(rebuilt.unwrap_or_default());
        let same = both.take_while(|(one, other)| one == other).count();
        let shown = |row: &[u8]| {
            let from = same.saturating_sub(CONTEXT_BYTES).min(row.len());
            let to = (from + SHOWN_BYTES).min(row.len());
            String::from_utf8_lossy(&row[from..to]).into_owned()
        };
        self.differences.push(Difference {
            key,
            live: live.map(shown),
            rebuilt: rebuilt.map(shown),
        });
    }
}

/// The lower one of the next keys; an error has none, and comes to light where its row is taken.
fn first_key(
    live: &mut Peekable<impl Iterator<Item = Row>>,
    rebuilt: &mut Peekable<impl Iterator<Item = Row>>,
) -> Option<Vec<u8>> {
    let key =
        |row: Option<&Row>| row.map(|row| row.as_ref().map_or(Vec::new(), |(k, _)| k.clone()));
    let (one, other) = (key(live.peek()), key(rebuilt.peek()));
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The next row's value, if it is this key's.
fn taken(
    rows: &mut Peekable<impl Iterator<Item = Row>>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let is_next = |row: &Row| row.as_ref().map_or(true, |(next, _)| next == key);
    let row = rows.next_if(is_next).transpose()?;
    Ok(row.map(|(_, value)| value))
}
