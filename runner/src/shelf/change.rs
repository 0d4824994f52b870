//! Single steps on the shelf. Each leaves the folder readable, whenever it is interrupted.

use super::{BUNDLES, Shelf};
use crate::plan::Ledger;
use crate::private::write_private;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use schemas::bundle::Folder;
use schemas::{Digest, Name};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A bundle that cannot be put on the shelf.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("bundle {digest} is refused: {reason}")]
    Refused { digest: Digest, reason: String },
    #[error("bundle {digest} cannot be written to the scripts folder")]
    Disk {
        digest: Digest,
        #[source]
        source: io::Error,
    },
}

impl Shelf {
    /// Unpacks a bundle beside the others: fresh folder, everything on disk, then one rename, which is
    /// for good with [`Self::sync_bundles`].
    pub fn install(&self, digest: &Digest, packed: &[u8]) -> Result<(), InstallError> {
        let refused = |reason: String| InstallError::Refused {
            digest: *digest,
            reason,
        };
        if Digest::of(packed) != *digest {
            return Err(refused("its content has another digest".to_owned()));
        }
        let folder = Folder::unpack(packed, None).map_err(|error| refused(error.to_string()))?;
        // What is unpacked is checked before every run by packing it again, so what does not pack
        // to the same bytes would be there and never run.
        if folder.pack().map(|bundle| bundle.digest) != Ok(*digest) {
            return Err(refused(
                "its files pack to another digest, so no coordinator of this version made it"
                    .to_owned(),
            ));
        }
        self.unpack(digest, &folder)
            .map_err(|source| InstallError::Disk {
                digest: *digest,
                source,
            })
    }

    /// What could not be finished is taken away again: on a full disk it would be in its own way.
    fn unpack(&self, digest: &Digest, folder: &Folder) -> io::Result<()> {
        let fresh = self.unfinished(&digest.hex());
        let unpacked = self.unpack_in(&fresh, digest, folder);
        if unpacked.is_err() {
            remove_all(&fresh)?;
        }
        unpacked
    }

    fn unpack_in(&self, fresh: &Path, digest: &Digest, folder: &Folder) -> io::Result<()> {
        fs::create_dir(fresh)?;
        let dir = Dir::open_ambient_dir(fresh, ambient_authority())?;
        folder.write_to(&dir).map_err(io::Error::other)?;
        let place = self.bundle(digest);
        if place.exists() {
            if self.is_whole(digest) {
                return remove_all(fresh);
            }
            tracing::warn!(%digest, "a script's folder was changed on disk; it is replaced");
            self.take_away(&place)?;
        }
        match fs::rename(fresh, &place) {
            // Another task or runner was quicker with the same bytes.
            Err(_) if self.is_whole(digest) => remove_all(fresh),
            moved => moved,
        }
    }

    pub fn sync_bundles(&self) -> io::Result<()> {
        File::open(self.bundles())?.sync_all()
    }

    /// Says what this runner needs.
    pub fn record(&self, ledger: &Ledger) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(ledger)?;
        write_private(&self.owners().join(self.runner_id.as_str()), &text)
    }

    /// Lets a script's name point to a bundle, in one move; on the disk it is for good with
    /// [`Self::sync_links`]. The caller has seen that nothing foreign stands there.
    pub fn link(&self, name: &Name, digest: &Digest) -> io::Result<()> {
        let fresh = self.unfinished(name.as_str());
        symlink(format!("{BUNDLES}/{}", digest.hex()), &fresh)?;
        fs::rename(&fresh, self.folder.join(name.as_str()))
    }

    pub fn sync_links(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    pub fn unlink(&self, name: &Name) -> io::Result<()> {
        let link = self.folder.join(name.as_str());
        match fs::symlink_metadata(&link) {
            Ok(found) if found.is_symlink() => fs::remove_file(link),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a bundle, unless a run holds it; then the next plan tries again.
    pub fn collect(&self, digest: &Digest) -> io::Result<()> {
        let place = self.bundle(digest);
        let folder = match File::open(&place) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if folder.try_lock().is_err() {
            return Ok(());
        }
        self.take_away(&place)
    }

    /// Out of sight in one move, then deleted.
    fn take_away(&self, place: &Path) -> io::Result<()> {
        let away = self.unfinished("old");
        fs::rename(place, &away)?;
        remove_all(&away)
    }
}

pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
