//! The folder of one run: its parameters, its `HOME` and its `TMPDIR`. Gone with the run.
//!
//! Not here: the project folder the script works in, and uv's cache, which outlives runs.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For the owner only: parameters may hold secrets.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Spare folders that are kept. More than run at once are never needed, and few runners have more slots.
const SPARE_MAX: usize = 64;
const PARAMS_FILE: &str = "params.json";
const HOME: &str = "home";
const TMP: &str = "tmp";

/// Where the folders of runs are made. An emptied one is used again under the next run's name: on ext4 a new
/// folder right after a removal is dear, because inodes freed a moment ago are passed over one by one.
#[derive(Clone, Debug)]
pub struct Workspaces(Arc<Place>);

#[derive(Debug)]
struct Place {
    parent: PathBuf,
    spare: Mutex<Vec<PathBuf>>,
    emptied: AtomicU64,
}

/// An existing folder of one run. Removed when dropped; use [`remove`](Self::remove) to learn of failures.
///
/// To be kept until the run's last process is gone, which could otherwise put something back.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    removed: bool,
    place: Arc<Place>,
}

impl Workspaces {
    /// Folders below `parent`. What an earlier, killed runner left there goes.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(parent: &Path) -> io::Result<Self> {
        remove_tree(parent)?;
        let mut folder = DirBuilder::new();
        folder.mode(FOLDER_MODE).recursive(true).create(parent)?;
        Ok(Self(Arc::new(Place {
            parent: parent.to_owned(),
            spare: Mutex::default(),
            emptied: AtomicU64::default(),
        })))
    }

    /// A folder named after the run, with its parameters in it and nothing else.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn take(&self, name: &str, parameters: &[u8]) -> io::Result<Workspace> {
        let root = self.0.parent.join(name);
        remove_tree(&root)?;
        let spare = self.0.spare().pop();
        // A spare that somebody took away is made anew.
        if spare.is_none_or(|spare| fs::rename(spare, &root).is_err()) {
            fresh(&root)?;
        }
        let workspace = Workspace {
            root,
            removed: false,
            place: self.0.clone(),
        };
        fill(&workspace.params_file(), parameters)?;
        Ok(workspace)
    }
}

/// Writes a file that is empty, and sees to it that it was. To cut it first would be dear: ext4 sends what is
/// written after that to the disk at once, and most runs are over before it would have gone there.
fn fill(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(content)?;
    let written = content.len() as u64;
    if file.metadata()?.len() != written {
        file.set_len(written)?;
    }
    Ok(())
}

fn fresh(root: &Path) -> io::Result<()> {
    let mut folder = DirBuilder::new();
    folder.mode(FOLDER_MODE).create(root)?;
    folder.create(root.join(HOME))?;
    folder.create(root.join(TMP))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(root.join(PARAMS_FILE))?;
    Ok(())
}

impl Place {
    fn spare(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the folder for another run where it is as new; `false` where it has to go.
    fn keep(&self, root: &Path) -> bool {
        if self.spare().len() >= SPARE_MAX || !matches!(is_as_new(root), Ok(true)) {
            return false;
        }
        let number = self.emptied.fetch_add(1, Ordering::Relaxed);
        let spare = self.parent.join(format!(".spare-{number}"));
        let kept = fs::rename(root, &spare).is_ok();
        if kept {
            self.spare().push(spare);
        }
        kept
    }
}

/// Whether the script left nothing behind: just our three entries, of our kind and ours alone, the folders
/// empty. The parameters go from the disk.
fn is_as_new(root: &Path) -> io::Result<bool> {
    let folder = |path: &Path| -> io::Result<bool> {
        let found = fs::symlink_metadata(path)?;
        Ok(found.is_dir() && found.permissions().mode() & 0o7777 == FOLDER_MODE)
    };
    let empty = |path: &Path| -> io::Result<bool> { Ok(fs::read_dir(path)?.next().is_none()) };
    let (home, tmp, params) = (root.join(HOME), root.join(TMP), root.join(PARAMS_FILE));
    let found = fs::symlink_metadata(&params)?;
    let file =
        found.is_file() && found.nlink() == 1 && found.permissions().mode() & 0o7777 == FILE_MODE;
    let kinds = file && folder(root)? && folder(&home)? && folder(&tmp)?;
    if !kinds || !empty(&home)? || !empty(&tmp)? || fs::read_dir(root)?.count() != 3 {
        return Ok(false);
    }
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&params)?;
    Ok(true)
}

impl Workspace {
    /// The folder that holds all of them.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn params_file(&self) -> PathBuf {
        self.root.join(PARAMS_FILE)
    }

    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join(HOME)
    }

    #[must_use]
    pub fn tmpdir(&self) -> PathBuf {
        self.root.join(TMP)
    }

    /// Leaves it to another run, where the script has left nothing in it. A few system calls.
    ///
    /// # Errors
    /// Gives it back, to be removed, where the script has.
    pub fn put_back(mut self) -> Result<(), Self> {
        self.removed = self.place.keep(&self.root);
        if self.removed { Ok(()) } else { Err(self) }
    }

    /// Removes everything, also what the script made unwritable. Takes as long as there are files.
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

    fn names(parent: &Path) -> Vec<String> {
        let entries = fs::read_dir(parent).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn it_holds_parameters_home_and_tmp_for_the_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path().join("made/on/demand");
        let workspaces = Workspaces::open(&parent).unwrap();
        let workspace = workspaces.take("run_1", b"{\"a\":1}").unwrap();
        assert_eq!(fs::read(workspace.params_file()).unwrap(), b"{\"a\":1}");
        assert_eq!(mode(&workspace.params_file()), 0o600);
        for folder in [
            &parent.join("run_1"),
            &workspace.home(),
            &workspace.tmpdir(),
        ] {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
        drop(workspace);
        assert_eq!(names(&parent), Vec::<String>::new());
    }

    #[test]
    fn an_untouched_folder_serves_the_next_run_and_says_nothing_of_the_last() {
        let parent = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::open(&parent.path().join("runs")).unwrap();
        let first = workspaces.take("run_1", b"a long secret").unwrap();
        let inode = fs::metadata(first.home()).unwrap().ino();
        first.put_back().unwrap();
        let spare = parent.path().join("runs/.spare-0/params.json");
        assert_eq!(fs::read(spare).unwrap(), b"");
        let second = workspaces.take("run_2", b"short").unwrap();
        assert_eq!(fs::metadata(second.home()).unwrap().ino(), inode);
        assert_eq!(fs::read(second.params_file()).unwrap(), b"short");
    }

    /// What a script may do to its folder; the next run must find none of it.
    type Harm = fn(&Workspace);

    #[test]
    fn a_touched_folder_is_never_used_again() {
        let harms: [Harm; 7] = [
            |w| fs::write(w.home().join("left"), "").unwrap(),
            |w| fs::write(w.root.join("left"), "").unwrap(),
            |w| fs::set_permissions(w.tmpdir(), Permissions::from_mode(0o755)).unwrap(),
            |w| fs::set_permissions(w.params_file(), Permissions::from_mode(0o644)).unwrap(),
            |w| fs::hard_link(w.params_file(), w.root.join("../linked")).unwrap(),
            |w| {
                fs::remove_dir(w.home()).unwrap();
                symlink("/etc", w.home()).unwrap();
            },
            |w| fs::remove_file(w.params_file()).unwrap(),
        ];
        for harm in harms {
            let parent = tempfile::tempdir().unwrap();
            let workspaces = Workspaces::open(&parent.path().join("runs")).unwrap();
            let first = workspaces.take("run_1", b"1").unwrap();
            harm(&first);
            first.put_back().unwrap_err().remove().unwrap();
            assert!(workspaces.0.spare().is_empty());
            let second = workspaces.take("run_2", b"2").unwrap();
            assert_eq!(fs::read_dir(second.home()).unwrap().count(), 0);
            assert_eq!(fs::read(second.params_file()).unwrap(), b"2");
        }
    }

    #[test]
    fn what_a_killed_runner_left_is_not_seen_by_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let runs = parent.path().join("runs");
        let first = Workspaces::open(&runs)
            .unwrap()
            .take("run_1", b"1")
            .unwrap();
        fs::write(first.home().join("left"), "").unwrap();
        std::mem::forget(first);
        let second = Workspaces::open(&runs)
            .unwrap()
            .take("run_1", b"2")
            .unwrap();
        assert!(!second.home().join("left").exists());
        assert_eq!(fs::read(second.params_file()).unwrap(), b"2");
    }

    #[test]
    fn removal_opens_closed_folders_and_follows_no_link() {
        let parent = tempfile::tempdir().unwrap();
        let outside = parent.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        let workspaces = Workspaces::open(&parent.path().join("runs")).unwrap();
        let workspace = workspaces.take("run_1", b"").unwrap();
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
        assert!(!parent.path().join("runs/run_1").exists());
        assert!(outside.exists());
    }
}
