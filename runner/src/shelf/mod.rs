//! The scripts folder on disk, which runners may share:
//!
//! ```text
//! scripts/<name>              link to .bundles/<digest>
//! scripts/.bundles/<digest>/  an unpacked bundle, never changed
//! scripts/.owners/<runner>    what that runner needs (its ledger)
//! scripts/.lock               held while links, ledgers and bundles change; counts the changes
//! ```
//!
//! `observe` says what is there, `view` whether that still holds, `change` carries out single steps, `hold` keeps a bundle in
//! place while a run uses it. Which steps are needed is `plan`'s to say.

mod change;
mod fingerprint;
mod hold;
mod observe;
mod view;

pub use change::InstallError;
pub use hold::Held;
pub use view::View;

use events::RunnerId;
use fingerprint::Fingerprint;
use schemas::Digest;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use view::Remembered;

/// One scripts folder, seen by one runner.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    runner_id: RunnerId,
    /// Numbers what is in the making, so that two tasks never write to the same place.
    made: Arc<AtomicU64>,
    /// How bundles looked when they were last found whole.
    known: Arc<Mutex<HashMap<Digest, Fingerprint>>>,
    seen: Arc<Mutex<Option<Remembered>>>,
}

/// Nobody else changes the folder while this lives.
#[derive(Debug)]
pub struct ShelfLock(File);

impl Shelf {
    /// Makes the folder where it is missing.
    pub fn open(folder: &Path, runner_id: &RunnerId) -> io::Result<Self> {
        let shelf = Self::look(folder, runner_id);
        shelf.make()?;
        shelf.clear_unfinished()?;
        Ok(shelf)
    }

    /// The folder as somebody else on this host sees it who changes nothing.
    pub fn look(folder: &Path, runner_id: &RunnerId) -> Self {
        Self {
            folder: folder.to_owned(),
            runner_id: runner_id.clone(),
            made: Arc::default(),
            known: Arc::default(),
            seen: Arc::default(),
        }
    }

    fn make(&self) -> io::Result<()> {
        std::fs::create_dir_all(self.bundles())?;
        std::fs::create_dir_all(self.owners())
    }

    /// Waits for other runners on this folder to finish their changes. Blocks. Somebody may have
    /// deleted the folder meanwhile; then it is made again.
    pub fn lock(&self) -> io::Result<ShelfLock> {
        self.make()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.folder.join(".lock"))?;
        file.lock()?;
        Ok(ShelfLock(file))
    }

    /// Removes what an earlier life of this runner had in the making.
    fn clear_unfinished(&self) -> io::Result<()> {
        let ours = format!(".{}{UNFINISHED}", self.runner_id);
        for entry in std::fs::read_dir(self.bundles())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(&ours) {
                change::remove_all(&entry.path())?;
            }
        }
        Ok(())
    }

    /// A place beside the bundles for something in the making.
    fn unfinished(&self, what: &str) -> PathBuf {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.bundles()
            .join(format!("{what}.{number}.{}{UNFINISHED}", self.runner_id))
    }

    fn bundles(&self) -> PathBuf {
        self.folder.join(BUNDLES)
    }

    fn owners(&self) -> PathBuf {
        self.folder.join(".owners")
    }

    /// Where the bundle with this digest is unpacked.
    fn bundle(&self, digest: &Digest) -> PathBuf {
        self.bundles().join(digest.hex())
    }
}

/// Also the beginning of what our links point to.
const BUNDLES: &str = ".bundles";

/// What the names of things in the making end with.
const UNFINISHED: &str = ".tmp";

#[cfg(test)]
mod tests;
