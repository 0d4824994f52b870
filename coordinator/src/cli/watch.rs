//! Says when files in a folder have changed, once they have come to rest. It reads none of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::failure::Failure;

/// A checkout or an editor writes many files in a row; a change counts when none came for so long.
const REST: Duration = Duration::from_millis(200);

/// The changes of a folder, from now on.
pub struct Changes {
    changed: mpsc::UnboundedReceiver<()>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: notify::Error| {
            Failure::refused(format!("cannot watch {}", path.display())).because(error)
        };
        let root = path
            .canonicalize()
            .map_err(notify::Error::io)
            .map_err(cannot)?;
        let (tell, changed) = mpsc::unbounded_channel();
        let below = root.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may mean that events were lost; looking again does no harm.
            if event.map_or(true, |event| counts(&below, &event)) {
                let _ = tell.send(());
            }
        })
        .map_err(cannot)?;
        watcher
            .watch(&root, RecursiveMode::Recursive)
            .map_err(cannot)?;
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Waits for the next change, and until what changes has come to rest.
    pub async fn next(&mut self) {
        self.changed.recv().await;
        while let Ok(Some(())) = timeout(REST, self.changed.recv()).await {}
    }
}

/// Reading is no change, and hidden files (`.git`, an editor's own) are never applied.
fn counts(root: &Path, event: &Event) -> bool {
    let hidden = |path: &PathBuf| {
        let below = path.strip_prefix(root).unwrap_or(path);
        below
            .components()
            .any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
    };
    !event.kind.is_access() && !event.paths.iter().all(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_and_what_is_hidden_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        let mut changes = Changes::of(dir.path()).unwrap();
        std::fs::write(dir.path().join(".git/index"), "x").unwrap();
        std::fs::write(dir.path().join(".a.swp"), "x").unwrap();
        std::fs::write(dir.path().join("run.sh"), "true").unwrap();
        changes.next().await;
        let _ = std::fs::read(dir.path().join("run.sh")).unwrap();
        std::fs::write(dir.path().join(".git/index"), "y").unwrap();
        assert!(timeout(REST * 2, changes.next()).await.is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_watched() {
        let failure = Changes::of(Path::new("/nowhere/at/all")).err().unwrap();
        assert!(failure.report().contains("cannot watch /nowhere/at/all"));
    }
}
