//! A cheap answer to "has anything in this folder been touched since we last read it?": names,
//! inodes, sizes and change times, which nobody but root can turn back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Everything below a folder, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<Touch>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Touch {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds; changes with every write, rename and change of rights.
    changed: (i64, i64),
}

impl Fingerprint {
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut touches = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(path) = open.pop() {
            let found = fs::symlink_metadata(&path)?;
            if found.is_dir() {
                for entry in fs::read_dir(&path)? {
                    open.push(entry?.path());
                }
            }
            touches.push(Touch {
                path,
                device: found.dev(),
                inode: found.ino(),
                size: found.size(),
                changed: (found.ctime(), found.ctime_nsec()),
            });
        }
        touches.sort_unstable();
        Ok(Self(touches))
    }
}
