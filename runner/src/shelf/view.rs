//! What was last seen of the folder, and whether it still holds.
//!
//! A whole look costs some system calls per script, and wishes may change many times a second. So
//! runners count in the lock file how often one of them changed something, and the change times of
//! the folders tell of everybody else. What is edited inside a bundle only a whole look finds.

use super::{Shelf, ShelfLock};
use crate::plan::{Observed, Step};
use schemas::Name;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::PoisonError;
use std::time::SystemTime;

/// The folder, and since when names point to what they point to.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub observed: Observed,
    pub since: BTreeMap<Name, SystemTime>,
}

/// A view that nobody has made untrue as long as the mark is the same.
#[derive(Debug)]
pub(super) struct Remembered {
    mark: Mark,
    view: View,
}

#[derive(Debug, PartialEq, Eq)]
struct Mark {
    changes: u64,
    /// Change times in seconds and nanoseconds.
    folders: [(i64, i64); 3],
}

impl ShelfLock {
    /// Before the first change, so that a crash after it is not missed.
    pub fn count_change(&self) -> io::Result<()> {
        let next = self.changes()?.wrapping_add(1);
        self.0.write_all_at(&next.to_le_bytes(), 0)
    }

    /// A file that is new, or cut short, counts as zero.
    fn changes(&self) -> io::Result<u64> {
        let mut bytes = [0; size_of::<u64>()];
        match self.0.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(u64::from_le_bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl Shelf {
    /// Everything, looked at anew.
    pub fn view(&self) -> io::Result<View> {
        let observed = self.observe()?;
        let names = observed.entries.keys();
        let since = names.filter_map(|name| Some((name.clone(), self.linked_since(name)?)));
        let since = since.collect();
        Ok(View { observed, since })
    }

    /// As it was last seen, where nobody changed it since.
    pub fn recall(&self, lock: &ShelfLock) -> Option<View> {
        let mark = self.mark(lock).ok()?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_ref().filter(|seen| seen.mark == mark)?;
        Some(seen.view.clone())
    }

    pub fn remember(&self, lock: &ShelfLock, view: View) {
        let seen = self.mark(lock).ok();
        let seen = seen.map(|mark| Remembered { mark, view });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// The folder once these steps are done.
    pub fn after(&self, mut view: View, done: &[Step]) -> View {
        for step in done {
            match step {
                // A run still holds it.
                Step::Collect(digest) if self.bundle(digest).exists() => continue,
                Step::Link { name, .. } => {
                    let since = self.linked_since(name);
                    view.since.extend(since.map(|since| (name.clone(), since)));
                }
                _ => {}
            }
            view.observed.apply(step);
        }
        view
    }

    fn mark(&self, lock: &ShelfLock) -> io::Result<Mark> {
        let changed = |folder| {
            let found = fs::metadata(folder)?;
            Ok::<_, io::Error>((found.ctime(), found.ctime_nsec()))
        };
        Ok(Mark {
            changes: lock.changes()?,
            folders: [
                changed(self.folder.clone())?,
                changed(self.bundles())?,
                changed(self.owners())?,
            ],
        })
    }
}
