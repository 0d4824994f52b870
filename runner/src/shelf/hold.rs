//! Keeping a bundle in place while a run uses it, and knowing that it is still what was unpacked.

use super::{Fingerprint, Shelf};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use schemas::Digest;
use schemas::bundle::Folder;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// A bundle that is not deleted while this lives: a shared lock on its folder, which goes with
/// the process.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    #[allow(dead_code, reason = "the lock goes with the file")]
    lock: File,
}

impl Held {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Shelf {
    /// Holds the bundle where it is there and whole. Blocks as long as reading it takes.
    pub fn hold(&self, digest: &Digest) -> io::Result<Option<Held>> {
        self.hold_where(digest, |shelf| shelf.is_whole(digest))
    }

    /// Holds the bundle where it is known to be whole: a handful of system calls.
    pub fn hold_known(&self, digest: &Digest) -> io::Result<Option<Held>> {
        self.hold_where(digest, |shelf| shelf.is_known(digest))
    }

    fn hold_where(
        &self,
        digest: &Digest,
        is_whole: impl FnOnce(&Self) -> bool,
    ) -> io::Result<Option<Held>> {
        let path = self.bundle(digest);
        let lock = match File::open(&path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        lock.lock_shared()?;
        // Between opening and locking it may have been collected and installed anew.
        let still_there = std::fs::metadata(&path).is_ok_and(|now| {
            lock.metadata()
                .is_ok_and(|held| (held.dev(), held.ino()) == (now.dev(), now.ino()))
        });
        Ok((still_there && is_whole(self)).then_some(Held { path, lock }))
    }

    /// Whether nothing has been touched since the bundle was last found whole.
    fn is_known(&self, digest: &Digest) -> bool {
        let now = Fingerprint::of(&self.bundle(digest));
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        now.is_ok_and(|now| known.get(digest) == Some(&now))
    }

    /// Whether the unpacked files still have the digest: reads and packs them again, unless
    /// nothing has been touched since that was last done.
    pub(super) fn is_whole(&self, digest: &Digest) -> bool {
        let place = self.bundle(digest);
        let Ok(now) = Fingerprint::of(&place) else {
            return false;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(digest) == Some(&now) {
            return true;
        }
        let whole = has_digest(&place, digest);
        if whole {
            known.insert(*digest, now);
        } else {
            known.remove(digest);
        }
        whole
    }
}

fn has_digest(place: &Path, digest: &Digest) -> bool {
    let packed = Dir::open_ambient_dir(place, ambient_authority())
        .ok()
        .and_then(|dir| Folder::read_from(&dir).ok())
        .and_then(|folder| folder.pack().ok());
    packed.is_some_and(|bundle| bundle.digest == *digest)
}
