//! The lock on the broker's folder: one coordinator, and through it one server, at a time.
//!
//! Two servers on one store both start and both hand out the same sequence numbers. The lock is
//! `flock`'s, so it belongs to the open file and ends with the last process that has it open.
//! The server inherits it, and that is the point: after a coordinator's `kill -9` the lock is
//! free only when the server is gone too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::files::FileError;

/// A killed coordinator's server was measured to live on for 11 ms; a loaded machine gets more.
const PATIENCE: Duration = Duration::from_secs(3);
/// Short against a start of the server (20 ms).
const RETRY_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{} is in use by another coordinator{}, or by the broker it left behind; stop that one, \
         or give this one another --data-dir",
        path.display(), holder.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Held { path: PathBuf, holder: Option<u32> },
}

/// Holds the folder until it is dropped and no server that inherited it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Waits a little for a server that is just dying; then it is somebody else's.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = open(path).map_err(FileError::on("open", path))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(RETRY_EVERY);
                }
                Err(TryLockError::WouldBlock) => return Err(held(path, &mut file)),
                Err(TryLockError::Error(error)) => Err(FileError::on("lock", path)(error))?,
            }
        }
        sign(&mut file).map_err(FileError::on("write", path))?;
        Ok(Self(file))
    }

    pub fn file(&self) -> &File {
        &self.0
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Leaves our process id for the error message of whoever comes next.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn held(path: &Path, file: &mut File) -> LockError {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    LockError::Held {
        path: path.parent().unwrap_or(path).to_path_buf(),
        holder: read.ok().and_then(|_| text.trim().parse().ok()),
    }
}
