//! What a broker of one's own is started with: a folder of settings and keys, written once and completed later.
//! It starts nothing.

use super::accounts::{Permissions, RunnerUser, render};
use super::credentials::{Credential, CredentialError};
use super::files::{FileError, make_folder, write_private};
use super::{MAIN_CONF, local_conf_of};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A folder that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

/// Writes `nats.conf`, `local.conf`, `accounts.conf` and the keys of coordinators and runners into a folder, and
/// gives the files. Keys that are there stay, so that it can be written again.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_folder(
    folder: &Path,
    listen: SocketAddr,
    store: &Path,
) -> Result<Vec<PathBuf>, FolderError> {
    make_folder(folder)?;
    let file = |name: &str| folder.join(name);
    let app = Credential::load_or_create(&file("coordinator.nk"))?;
    let runners = Credential::load_or_create(&file("runners.nk"))?;
    let runners = RunnerUser {
        key: runners.key,
        permissions: Permissions::of_any_runner(),
    };
    let texts = [
        ("nats.conf", MAIN_CONF.to_owned()),
        ("local.conf", local_conf_of(listen, store)),
        ("accounts.conf", render(&app.key, &[runners])),
    ];
    for (name, text) in &texts {
        write_private(&file(name), text)?;
    }
    let names = texts.iter().map(|(name, _)| *name);
    Ok(names
        .chain(["coordinator.nk", "runners.nk"])
        .map(file)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_again_keeps_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("broker");
        let write = || {
            write_folder(
                &folder,
                "127.0.0.1:4222".parse().unwrap(),
                Path::new("/data"),
            )
        };
        let files = write().unwrap();
        let read = || -> Vec<String> {
            files
                .iter()
                .map(|file| std::fs::read_to_string(file).unwrap())
                .collect()
        };
        let before = read();
        write().unwrap();
        assert_eq!(read(), before);
        assert!(before[1].contains("store_dir: \"/data\""), "{}", before[1]);
    }
}
