//! The data folder: made if it is missing, and held by one coordinator at a time. What lies in it is
//! known to those who put it there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const OWNER_ONLY: u32 = 0o700;
const LOCK_FILE: &str = "coordinator.lock";

/// The folder, ours until this value is dropped or the process is gone, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot {action} {}; choose a folder of this user with --data-dir", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Two would delete each other's read model.
    #[error("the data folder {} is in use by another coordinator; stop that one, or give this one another --data-dir", .0.display())]
    InUse(PathBuf),
}

impl DataDir {
    /// Makes the folder where it is missing (for its owner only; one that is there keeps its mode)
    /// and takes it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let path = std::path::absolute(path).map_err(failed("find", path))?;
        DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY)
            .create(&path)
            .map_err(failed("make", &path))?;
        // Links resolved, so that what we tell others means the same from anywhere.
        let path = fs::canonicalize(&path).map_err(failed("find", &path))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(failed("lock", &lock_path)(source)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_path_buf();
    move |source| DataDirError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_coordinator_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/data");
        let held = DataDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("in use by another coordinator"), "{error}");
        drop(held);
        DataDir::open(&path).unwrap();
    }
}
