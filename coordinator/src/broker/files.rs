//! Where the embedded broker keeps its files, and how they are written.
//!
//! Everything lies in `<data>/broker`, which only its owner may enter. The data folder itself
//! is made if it is missing but never has its mode changed: it may be a folder that somebody
//! else uses too. Does not know what the files contain.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Owner only: the store holds every script, the key files open the broker.
const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// A file or folder of the broker could not be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} {}; check that the data folder belongs to this user and that its disk has space",
    path.display()
)]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FileError {
    /// For `map_err`: what was tried, on what.
    pub(super) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            action,
            path,
            source,
        }
    }
}

/// The paths of one broker.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes what is missing of `<data>/broker`.
    pub fn open(data_dir: &Path) -> Result<Self, FileError> {
        let data_dir = std::path::absolute(data_dir).map_err(FileError::on("find", data_dir))?;
        let folder = Self(data_dir.join("broker"));
        for path in [&data_dir, &folder.0, &folder.store(), &folder.ports()] {
            make_folder(path)?;
        }
        // An older start, or a copy, may have left it open to others.
        fs::set_permissions(&folder.0, Permissions::from_mode(PRIVATE_FOLDER))
            .map_err(FileError::on("protect", &folder.0))?;
        Ok(folder)
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The port that was chosen at the first start.
    pub fn port(&self) -> PathBuf {
        self.0.join("port")
    }

    pub fn app_seed(&self) -> PathBuf {
        self.0.join("app.nk")
    }

    /// The runners that were let in last.
    pub fn roster(&self) -> PathBuf {
        self.0.join("runners.json")
    }

    pub fn main_conf(&self) -> PathBuf {
        self.0.join("nats.conf")
    }

    pub fn local_conf(&self) -> PathBuf {
        self.0.join("local.conf")
    }

    pub fn accounts_conf(&self) -> PathBuf {
        self.0.join("accounts.conf")
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where the server says that it listens, in a file named after its process.
    pub fn ports(&self) -> PathBuf {
        self.0.join("ports")
    }
}

/// Replaces the file as a whole: whoever reads it, and whoever finds it after a crash, sees the
/// old or the new text. Readable by its owner only.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    write_synced(&unfinished, text).map_err(FileError::on("write", &unfinished))?;
    fs::rename(&unfinished, path).map_err(FileError::on("replace", path))
}

/// The text, or nothing where there is no such file.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::on("read", path)(error)),
    }
}

pub(super) fn make_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .map_err(FileError::on("make", path))
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .open(path)?;
    // The mode above counts only for a file that is new.
    file.set_permissions(Permissions::from_mode(PRIVATE_FILE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
