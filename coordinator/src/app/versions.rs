//! Versions of scripts, agents and capabilities, as `CATALOG` has them: a page of them, one of them,
//! and going back to one.
//!
//! Nothing is kept for that. Versions of a name count up by one along its subject, so any of them
//! is found by halving the stream, in as many short reads as its length has binary digits.

use super::catalog::{CatalogOutcome, CatalogWrite};
use super::{App, AppError, Change, Script};
use crate::domain::Rejection;
use crate::domain::versions::{self, Versioned, WhereDeleted};
use events::catalog::{CatalogEvent, Entry, ScriptVersion};
use events::log::{BundleError, Stored};
use events::subject::{self, Stream};
use events::{Actor, Envelope, Timestamp};
use schemas::{Digest, Name};
use std::time::Duration;

/// Versions on a page at most.
pub const VERSIONS_MAX: u32 = 200;
/// Events read at once: each may have a megabyte.
const READ_AT_ONCE: usize = 16;
/// Enough to pass a deletion, which stands between two versions.
const PROBE: usize = 2;
/// How often a page is read again that ends too early: what answers may be a little behind the
/// stream's leader.
const READS: usize = 20;
/// Between two such reads.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// What the log says about one version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionLine {
    pub version: u32,
    /// The broker's time.
    pub at: Timestamp,
    pub actor: Actor,
    /// The first one, or the first after a deletion.
    pub created: bool,
    pub rollback_of: Option<u32>,
    pub digest: Option<Digest>,
    /// Fields and files that are different from those of the version before; none for the first.
    pub changes: Vec<String>,
    pub current: bool,
    /// Where it was the last one when the name was deleted.
    pub deleted: Option<Deletion>,
}

/// Who deleted something, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    pub at: Timestamp,
    pub actor: Actor,
}

/// Some versions of a name, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub lines: Vec<VersionLine>,
    /// There are older ones: those below this version.
    pub next_before: Option<u32>,
}

/// Which versions: below `before`, `limit` of them at most.
#[derive(Clone, Copy, Debug)]
pub struct HistoryQuery {
    pub before: Option<u32>,
    pub limit: u32,
}

/// One version as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Version<V> {
    pub line: VersionLine,
    pub is: V,
}

/// What a rollback came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RolledBack {
    pub change: Change,
    /// The current version.
    pub version: u32,
}

impl App {
    pub async fn history<V: Versioned>(
        &self,
        name: &Name,
        query: HistoryQuery,
    ) -> Result<History, AppError> {
        let trail = Trail::<V>::of(self, name)?;
        let newest = query
            .before
            .map_or(trail.last, |before| before.saturating_sub(1));
        let newest = newest.min(trail.last);
        let limit = query.limit.clamp(1, VERSIONS_MAX);
        let oldest = newest.saturating_sub(limit - 1).max(1);
        let mut lines = match newest {
            0 => Vec::new(),
            _ => trail.read(oldest, newest).await?.lines,
        };
        lines.reverse();
        let next_before = (oldest > 1).then_some(oldest);
        Ok(History { lines, next_before })
    }

    pub async fn version<V: Versioned>(
        &self,
        name: &Name,
        number: u32,
    ) -> Result<Version<V>, AppError> {
        let trail = Trail::<V>::of(self, name)?;
        let unknown = || Rejection::NoVersion {
            kind: V::KIND,
            name: name.clone(),
            version: number,
            last: trail.last,
        };
        if number == 0 || number > trail.last {
            return Err(unknown().into());
        }
        let mut read = trail.read(number, number).await?;
        match (read.lines.pop(), read.newest) {
            (Some(line), Some(is)) => Ok(Version { line, is }),
            _ => Err(unknown().into()),
        }
    }

    /// A version of a script with its files, as if it were the current one.
    pub async fn script_version(
        &self,
        name: &Name,
        number: u32,
    ) -> Result<(VersionLine, Script), AppError> {
        let Version { line, is } = self.version::<ScriptVersion>(name, number).await?;
        let folder = self.stored_folder(&is).await?;
        let entry = Entry {
            current: is,
            created_at: line.at,
            modified_at: line.at,
        };
        Ok((line, Script { entry, folder }))
    }

    /// Makes an older version the next one.
    pub async fn rollback<V: Versioned>(
        &self,
        actor: &Actor,
        name: &Name,
        to: u32,
        where_deleted: WhereDeleted,
    ) -> Result<RolledBack, AppError> {
        let to = self.version::<V>(name, to).await?.is;
        // Runners could not follow without it.
        self.check_stored(&to).await?;
        let rule = move |catalog: &_| versions::rollback(catalog, &to, where_deleted);
        match self.change_catalog(actor, CatalogWrite::new(rule)).await? {
            CatalogOutcome::Done { change, after } => {
                let version = versions::last::<V>(&after, name)?;
                Ok(RolledBack { change, version })
            }
            // No rollback is made for one version.
            CatalogOutcome::Outdated => Err(AppError::Contended { tries: 1 }),
        }
    }

    async fn check_stored<V: Versioned>(&self, version: &V) -> Result<(), AppError> {
        let Some(digest) = version.bundle() else {
            return Ok(());
        };
        match self.0.broker.bundles.get(&digest).await {
            Ok(_) => Ok(()),
            Err(BundleError::Missing(_)) => Err(not_stored(version, digest).into()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn stored_folder(
        &self,
        version: &ScriptVersion,
    ) -> Result<std::sync::Arc<schemas::bundle::Folder>, AppError> {
        self.check_stored(version).await?;
        self.folder(&version.digest).await
    }
}

fn not_stored<V: Versioned>(version: &V, digest: Digest) -> Rejection {
    Rejection::VersionNotStored {
        script: version.name().clone(),
        version: version.number(),
        digest,
    }
}

/// The events of one name, as far as the projection stands: later ones are the next reader's.
struct Trail<'a, V> {
    app: &'a App,
    subject: String,
    /// In `CATALOG`.
    end: u64,
    /// The last version up to there.
    last: u32,
    is_deleted: bool,
    kind: std::marker::PhantomData<V>,
}

/// Versions in the order in which they were made, and the newest of them as a whole.
struct Read<V> {
    lines: Vec<VersionLine>,
    newest: Option<V>,
}

impl<'a, V: Versioned> Trail<'a, V> {
    fn of(app: &'a App, name: &Name) -> Result<Self, Rejection> {
        let state = app.projections().catalog();
        Ok(Self {
            app,
            subject: subject::catalog(V::KIND, name),
            end: state.sequence,
            last: versions::last::<V>(&state.catalog, name)?,
            is_deleted: V::present(&state.catalog, name).is_none(),
            kind: std::marker::PhantomData,
        })
    }

    /// The versions from `oldest` to `newest`.
    async fn read(&self, oldest: u32, newest: u32) -> Result<Read<V>, AppError> {
        // The one before says what the oldest one changed.
        let base = oldest.saturating_sub(1).max(1);
        for _ in 0..READS {
            let from = self.find(base).await?;
            let mut read = self.read_from(from, newest).await?;
            if self.is_whole(&read, newest) {
                read.lines.retain(|line| line.version >= oldest);
                return Ok(read);
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
        Err(AppError::Behind)
    }

    fn is_whole(&self, read: &Read<V>, newest: u32) -> bool {
        read.lines.last().is_some_and(|line| {
            let ends = newest == self.last && self.is_deleted;
            line.version == newest && (line.deleted.is_some() || !ends)
        })
    }

    async fn read_from(&self, from: u64, newest: u32) -> Result<Read<V>, AppError> {
        let mut read = Read {
            lines: Vec::new(),
            newest: None,
        };
        let mut next = from;
        loop {
            let page = self.page(next, READ_AT_ONCE).await?;
            let Some(last) = page.last() else {
                return Ok(read);
            };
            next = last.sequence + 1;
            for stored in &page {
                if !self.take(&mut read, stored, newest) {
                    return Ok(read);
                }
            }
        }
    }

    /// Adds one event; `false` after the last one that is wanted.
    fn take(&self, read: &mut Read<V>, stored: &Stored, newest: u32) -> bool {
        // The projection has counted it as malformed.
        let Ok(envelope) = stored.envelope::<CatalogEvent>() else {
            return true;
        };
        let Envelope {
            at, actor, event, ..
        } = envelope;
        let created = is_created(&event);
        let Some(version) = V::of(event) else {
            if let Some(line) = read.lines.last_mut() {
                line.current = false;
                line.deleted = Some(Deletion { at, actor });
            }
            return true;
        };
        if version.number() > newest {
            return false;
        }
        let before = read.newest.as_ref();
        read.lines.push(VersionLine {
            version: version.number(),
            at,
            actor,
            created,
            rollback_of: version.rollback_of(),
            digest: version.digest(),
            changes: before.map_or_else(Vec::new, |before| version.changes(before)),
            current: version.number() == self.last && !self.is_deleted,
            deleted: None,
        });
        read.newest = Some(version);
        true
    }

    /// The sequence of a version's event, or of one before it.
    async fn find(&self, version: u32) -> Result<u64, AppError> {
        // The wanted one stands at `low` or after it, and before `high`.
        let (mut low, mut high) = (1, self.end + 1);
        if version == 1 {
            return Ok(low);
        }
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match self.first_from(middle).await? {
                Some((sequence, number)) if number < version => low = sequence,
                Some((sequence, number)) if number == version => return Ok(sequence),
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first version at a sequence or after it, and where it stands.
    async fn first_from(&self, from: u64) -> Result<Option<(u64, u32)>, AppError> {
        let mut next = from;
        loop {
            let page = self.page(next, PROBE).await?;
            let Some(last) = page.last() else {
                return Ok(None);
            };
            next = last.sequence + 1;
            let mut versions = page.iter().filter_map(|stored| {
                let event = stored.envelope::<CatalogEvent>().ok()?.event;
                Some((stored.sequence, V::of(event)?.number()))
            });
            if let Some(found) = versions.next() {
                return Ok(Some(found));
            }
        }
    }

    /// Events of the name up to where the projection stands.
    async fn page(&self, from: u64, limit: usize) -> Result<Vec<Stored>, AppError> {
        let log = &self.app.0.broker.log;
        let mut page = log
            .page(Stream::Catalog, &self.subject, from, limit)
            .await?;
        page.retain(|stored| stored.sequence <= self.end);
        Ok(page)
    }
}

fn is_created(event: &CatalogEvent) -> bool {
    matches!(
        event,
        CatalogEvent::ScriptCreated(_)
            | CatalogEvent::AgentCreated(_)
            | CatalogEvent::CapabilityCreated(_)
    )
}
