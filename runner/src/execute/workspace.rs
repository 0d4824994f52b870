//! The folder of one run: its parameters, its `HOME` and its `TMPDIR`. Gone with the run.
//!
//! Not here: the project folder the script works in, and uv's cache, which outlives runs.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// For the owner only: parameters may hold secrets.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// An existing folder of one run. Removed when dropped; use [`remove`](Self::remove) to learn of failures.
///
/// To be kept until the run's last process is gone, which could otherwise put something back.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    removed: bool,
}

impl Workspace {
    /// Makes the folder `name` in `parent`. What an earlier, killed runner left there by that name goes.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create(parent: &Path, name: &str, parameters: &[u8]) -> io::Result<Self> {
        let root = parent.join(name);
        remove_tree(&root)?;
        let mut folder = DirBuilder::new();
        folder.mode(FOLDER_MODE).recursive(true).create(parent)?;
        folder.recursive(false).create(&root)?;
        let workspace = Self {
            root,
            removed: false,
        };
        folder.create(workspace.home())?;
        folder.create(workspace.tmpdir())?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(workspace.params_file())?
            .write_all(parameters)?;
        Ok(workspace)
    }

    #[must_use]
    pub fn params_file(&self) -> PathBuf {
        self.root.join("params.json")
    }

    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    #[must_use]
    pub fn tmpdir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Removes everything, also what the script made unwritable.
    ///
    /// # Errors
    /// When something cannot be removed even so: a mount, or a file of another user.
    pub fn remove(mut self) -> io::Result<()> {
        self.removed = true;
        remove_tree(&self.root)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        if let Err(error) = remove_tree(&self.root) {
            tracing::warn!(folder = %self.root.display(), %error, "the folder of a run could not be removed");
        }
    }
}

fn remove_tree(root: &Path) -> io::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_folders(root)?;
            ignore_missing(fs::remove_dir_all(root))
        }
        done => ignore_missing(done),
    }
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes every folder of the tree ours to change. Links are not followed; nobody is left who could put one in
/// the place of a folder meanwhile.
fn open_folders(root: &Path) -> io::Result<()> {
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(FOLDER_MODE))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_holds_parameters_home_and_tmp_for_the_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path().join("made/on/demand");
        let workspace = Workspace::create(&parent, "run_1-1", b"{\"a\":1}").unwrap();
        assert_eq!(fs::read(workspace.params_file()).unwrap(), b"{\"a\":1}");
        assert_eq!(mode(&workspace.params_file()), 0o600);
        for folder in [
            &parent.join("run_1-1"),
            &workspace.home(),
            &workspace.tmpdir(),
        ] {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
        drop(workspace);
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_runner_left_is_not_seen_by_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let first = Workspace::create(parent.path(), "run_1-1", b"1").unwrap();
        fs::write(first.home().join("left"), "").unwrap();
        std::mem::forget(first);
        let second = Workspace::create(parent.path(), "run_1-1", b"2").unwrap();
        assert!(!second.home().join("left").exists());
        assert_eq!(fs::read(second.params_file()).unwrap(), b"2");
        second.remove().unwrap();
    }

    #[test]
    fn removal_opens_closed_folders_and_follows_no_link() {
        let parent = tempfile::tempdir().unwrap();
        let outside = parent.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        let workspace = Workspace::create(parent.path(), "run_1-1", b"").unwrap();
        let closed = workspace.tmpdir().join("a/b");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("file"), "").unwrap();
        symlink(&outside, closed.join("link")).unwrap();
        for folder in [closed.as_path(), closed.parent().unwrap()] {
            fs::set_permissions(folder, Permissions::from_mode(0o000)).unwrap();
        }
        // Root is not stopped by permissions, so what an ordinary user needs is looked at by itself.
        open_folders(&workspace.tmpdir()).unwrap();
        assert_eq!((mode(&closed), mode(&outside)), (0o700, 0o500));
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        workspace.remove().unwrap();
        assert!(!parent.path().join("run_1-1").exists());
        assert!(outside.exists());
    }
}
