//! A folder on disk: written so that a crash leaves either all of it or something nobody has named yet,
//! and read as a person keeps it. Works on a directory handle and cannot leave it. Switches no links and
//! deletes nothing.

use std::io::{self, Read, Write};

use cap_std::fs::{Dir, DirEntry, OpenOptions, Permissions, PermissionsExt};

use super::folder::{File, Folder, MAX_UNPACKED_BYTES};
use super::refused::ArchiveRefused;
use crate::file_path::{FilePath, MAX_PATH_DEPTH};
use crate::text::shown;

/// What tools leave in a folder and no script needs: left out when a directory is read.
pub const SKIPPED_NAMES: [&str; 5] = [".git", ".hg", ".svn", "__pycache__", ".DS_Store"];

const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;

/// A directory that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryFailed {
    /// The system refused.
    #[error("{operation} {path} failed")]
    System {
        /// What was tried, as `creating`.
        operation: &'static str,
        /// On what, inside the directory.
        path: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Something that is neither a file nor a folder.
    #[error(
        "{path} is a {kind}; a script's folder holds files and folders only, so copy what it names"
    )]
    Kind {
        /// Where it stands.
        path: String,
        /// What it is, as `symbolic link`.
        kind: &'static str,
    },
    /// What was read does not make a script's folder.
    #[error("the folder is refused")]
    Refused(#[from] ArchiveRefused),
}

impl Folder {
    /// Writes the files into a directory, which should be empty: nothing is ever overwritten or followed.
    /// Returns when the content and every name have reached the disk.
    ///
    /// # Errors
    /// When something is there already or the system refuses; what was written until then stays.
    pub fn write_to(&self, dir: &Dir) -> Result<(), DirectoryFailed> {
        for folder in self.folders() {
            create_folder(dir, folder).map_err(failed("creating", folder))?;
        }
        for (path, file) in self.files() {
            create_file(dir, path, file).map_err(failed("writing", path.as_str()))?;
        }
        // Names are on the disk when the folder they stand in is.
        for folder in self.folders().chain(["."]) {
            dir.open(folder)
                .and_then(|it| it.sync_all())
                .map_err(failed("syncing", folder))?;
        }
        Ok(())
    }

    /// Reads a directory as a person keeps it: files and folders, without [`SKIPPED_NAMES`].
    ///
    /// # Errors
    /// When it holds anything else, as a symbolic link, or more than a script may have.
    pub fn read_from(dir: &Dir) -> Result<Self, DirectoryFailed> {
        let mut folder = Self::default();
        let dir = dir.try_clone().map_err(failed("opening", "."))?;
        let mut open = vec![(dir, String::new())];
        while let Some((dir, prefix)) = open.pop() {
            for entry in dir.entries().map_err(failed("listing", &prefix))? {
                let entry = entry.map_err(failed("listing", &prefix))?;
                let Some(path) = path_of(&entry, &prefix)? else {
                    continue;
                };
                let kind = entry.file_type().map_err(failed("looking at", &path))?;
                if kind.is_dir() && path.split('/').count() < MAX_PATH_DEPTH {
                    let inner = entry.open_dir().map_err(failed("opening", &path))?;
                    open.push((inner, format!("{path}/")));
                } else if kind.is_file() {
                    let place = path.parse().map_err(ArchiveRefused::Path)?;
                    let left = MAX_UNPACKED_BYTES - folder.bytes();
                    folder.insert(
                        place,
                        read_file(&entry, left).map_err(failed("reading", &path))?,
                    )?;
                } else {
                    return Err(DirectoryFailed::Kind {
                        path: shown(&path),
                        kind: kind_name(kind),
                    });
                }
            }
        }
        Ok(folder)
    }
}

fn failed(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> DirectoryFailed {
    let path = shown(if path.is_empty() { "." } else { path });
    move |cause| DirectoryFailed::System {
        operation,
        path,
        cause,
    }
}

fn create_folder(dir: &Dir, path: &str) -> io::Result<()> {
    dir.create_dir(path)?;
    dir.set_permissions(path, Permissions::from_mode(FOLDER_MODE))
}

fn create_file(dir: &Dir, path: &FilePath, file: &File) -> io::Result<()> {
    let mut written = dir.open_with(
        path.as_str(),
        OpenOptions::new().write(true).create_new(true),
    )?;
    written.write_all(&file.bytes)?;
    // Set afterwards, since the process's umask takes its part of a mode given at creation.
    let mode = if file.executable {
        EXECUTABLE_MODE
    } else {
        FILE_MODE
    };
    written.set_permissions(Permissions::from_mode(mode))?;
    written.sync_all()
}

/// Where an entry stands; nothing for what is left out.
fn path_of(entry: &DirEntry, prefix: &str) -> Result<Option<String>, DirectoryFailed> {
    let name = entry.file_name();
    let Some(name) = name.to_str() else {
        let name = shown(&format!("{prefix}{}", name.to_string_lossy()));
        return Err(ArchiveRefused::PathNotUtf8(name).into());
    };
    Ok((!SKIPPED_NAMES.contains(&name)).then(|| format!("{prefix}{name}")))
}

/// Reads one byte more than is left, so that the folder refuses what is too large.
fn read_file(entry: &DirEntry, left: usize) -> io::Result<File> {
    let file = entry.open()?;
    let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
    let mut bytes = Vec::new();
    file.take(left as u64 + 1).read_to_end(&mut bytes)?;
    Ok(File { bytes, executable })
}

fn kind_name(kind: cap_std::fs::FileType) -> &'static str {
    if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_dir() {
        "folder too deep inside others"
    } else {
        "pipe, socket or device"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use cap_std::ambient_authority;
    use tempfile::TempDir;

    use super::*;

    fn open(dir: &TempDir) -> Dir {
        Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap()
    }

    fn folder() -> Folder {
        let mut folder = Folder::default();
        for (path, file) in [
            ("run.sh", File::executable("#!/bin/sh\n")),
            ("lib/deep/data.txt", File::plain(vec![0, 159, 146, 150])),
            ("lib/empty", File::default()),
        ] {
            folder.insert(path.parse().unwrap(), file).unwrap();
        }
        folder
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        folder().write_to(&open(&dir)).unwrap();
        assert_eq!(Folder::read_from(&open(&dir)).unwrap(), folder());
        assert_eq!(mode(&dir.path().join("run.sh")), 0o755);
        assert_eq!(mode(&dir.path().join("lib/empty")), 0o644);
        assert_eq!(mode(&dir.path().join("lib/deep")), 0o755);
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("run.sh"), "mine").unwrap();
        let error = folder().write_to(&open(&dir)).unwrap_err().to_string();
        assert!(error.contains("writing \"run.sh\""), "{error}");
        assert_eq!(std::fs::read(dir.path().join("run.sh")).unwrap(), b"mine");
    }

    #[test]
    fn no_link_leads_outside() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), dir.path().join("lib")).unwrap();
        symlink(outside.path().join("x"), dir.path().join("run.sh")).unwrap();
        assert!(folder().write_to(&open(&dir)).is_err());
        assert_eq!(outside.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_tools_leave_behind_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        folder().write_to(&open(&dir)).unwrap();
        for name in SKIPPED_NAMES {
            std::fs::create_dir(dir.path().join("lib").join(name)).unwrap();
            std::fs::write(dir.path().join("lib").join(name).join("x"), "x").unwrap();
        }
        assert_eq!(Folder::read_from(&open(&dir)).unwrap(), folder());
    }

    #[test]
    fn links_and_sockets_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let error = Folder::read_from(&open(&dir)).unwrap_err().to_string();
        assert!(error.contains("\"link\" is a symbolic link"), "{error}");

        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let error = Folder::read_from(&open(&dir)).unwrap_err().to_string();
        assert!(
            error.contains("\"socket\" is a pipe, socket or device"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_too_deep_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("1/2/3/4/5/6/7/8")).unwrap();
        let error = Folder::read_from(&open(&dir)).unwrap_err().to_string();
        assert!(error.contains("too deep"), "{error}");
    }

    #[test]
    fn a_directory_over_the_limits_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let large = std::fs::File::create(dir.path().join("large")).unwrap();
        large.set_len(MAX_UNPACKED_BYTES as u64 + 1).unwrap();
        let error = Folder::read_from(&open(&dir)).unwrap_err();
        assert!(
            matches!(error, DirectoryFailed::Refused(ArchiveRefused::TooLarge)),
            "{error}"
        );
    }
}
