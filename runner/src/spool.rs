//! Ends of runs that the broker has not taken yet, one synced file each, so that they outlive the
//! runner too.

use crate::private::{private_folder, write_private};
use events::run::RunEvent;
use events::{Lane, RunId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An end that waits to be appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub lane: Lane,
    pub run_id: RunId,
    pub attempt: u32,
    pub event: RunEvent,
    /// The JSON text of a result that goes to the log in chunks before the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_result: Option<String>,
}

/// The folder they wait in.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("spool");
        private_folder(&folder)?;
        Ok(Self { folder })
    }

    /// On the disk when this returns.
    pub fn keep(&self, waiting: &Waiting) -> io::Result<()> {
        let text = serde_json::to_vec(waiting)?;
        write_private(&self.file(&waiting.run_id), &text)
    }

    pub fn remove(&self, run_id: &RunId) -> io::Result<()> {
        match fs::remove_file(self.file(run_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What an earlier life of this runner left. A file that is not readable is kept aside and
    /// named in the log.
    pub fn all(&self) -> io::Result<Vec<Waiting>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(waiting) => all.push(waiting),
                Err(error) => {
                    tracing::error!(?path, %error, "a kept result is not readable; it stays aside");
                    fs::rename(&path, path.with_extension("unreadable"))?;
                }
            }
        }
        Ok(all)
    }

    fn file(&self, run_id: &RunId) -> PathBuf {
        self.folder.join(format!("{run_id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let waiting = Waiting {
            lane: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            run_id: RunId::from_bits(1),
            attempt: 1,
            event: RunEvent::Stopped { outcome: None },
            large_result: Some("[1]".to_owned()),
        };
        spool.keep(&waiting).unwrap();
        fs::write(state.path().join("spool/run_x.json"), "{").unwrap();
        assert_eq!(spool.all().unwrap(), std::slice::from_ref(&waiting));
        spool.remove(&waiting.run_id).unwrap();
        spool.remove(&waiting.run_id).unwrap();
        assert_eq!(spool.all().unwrap(), []);
    }
}
