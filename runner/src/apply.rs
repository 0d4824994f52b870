//! Brings the shelf to what the lanes want: observe, plan, carry out, and say what holds now.

use crate::lanes::{Want, Wanted};
use crate::plan::{Entry, Observed, Plan, Step, plan};
use crate::shelf::{InstallError, Shelf};
use events::Timestamp;
use events::log::{BundleError, Bundles};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

/// What this host holds after a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Every wanted script.
    pub scripts: BTreeMap<Name, Shelved>,
    /// What went wrong and belongs to no script.
    pub faults: Vec<String>,
    /// How many steps changed something on the disk.
    pub changes: u32,
}

/// How a wanted script stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    pub wanted: Want,
    /// What its name points to, whole, and since when.
    pub held: Option<(Digest, Timestamp)>,
    /// Why that is not what is wanted.
    pub error: Option<String>,
}

impl Synced {
    /// Everything is as it should be; else the round is to be repeated.
    pub fn is_done(&self) -> bool {
        self.faults.is_empty() && self.scripts.values().all(Shelved::is_current)
    }

    /// Nothing could be looked at.
    pub fn failed(wanted: &Wanted, error: &ApplyError) -> Self {
        let error = one_line(error);
        let shelved = |want: &Want| Shelved {
            wanted: *want,
            held: None,
            error: Some(error.clone()),
        };
        Self {
            scripts: wanted
                .iter()
                .map(|(name, want)| (name.clone(), shelved(want)))
                .collect(),
            faults: vec![error.clone()],
            changes: 0,
        }
    }

    /// Every fault once, with the script it keeps from its place.
    pub fn told(&self) -> impl Iterator<Item = String> {
        let of_script = |(name, shelved): (&Name, &Shelved)| {
            let error = shelved.error.as_ref()?;
            Some(format!("script {name}: {error}"))
        };
        self.faults
            .iter()
            .cloned()
            .chain(self.scripts.iter().filter_map(of_script))
    }
}

impl Shelved {
    pub fn is_current(&self) -> bool {
        self.held
            .is_some_and(|(digest, _)| digest == self.wanted.digest)
    }
}

/// A step, or the look before it, that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the scripts folder cannot be read or changed")]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Fetch(#[from] BundleError),
    #[error(transparent)]
    Install(#[from] InstallError),
}

/// One round. Runners that share the folder take turns.
pub async fn converge(
    shelf: &Shelf,
    bundles: &dyn Bundles,
    wanted: &Wanted,
) -> Result<Synced, ApplyError> {
    let _turn = blocking(shelf, Shelf::lock).await?;
    let observed = blocking(shelf, Shelf::observe).await?;
    let Plan { steps, foreign } = plan(wanted, &observed);
    let mut round = Round::default();
    for name in foreign {
        round.scripts.insert(name.clone(), format!(
            "scripts/{name} is not ours and stays untouched; move it away so that the script can be placed there"
        ));
    }
    for step in steps {
        if round.absent.forbid(&step, &observed) {
            continue;
        }
        match carry_out(shelf, bundles, &step).await {
            Ok(()) => round.changes += u32::from(!matches!(step, Step::Record(_))),
            Err(error) => round.note(&step, &error),
        }
    }
    let after = blocking(shelf, Shelf::observe).await?;
    let names: Vec<Name> = wanted.keys().cloned().collect();
    let since = blocking(shelf, move |shelf| {
        let since = |name: Name| Some((name.clone(), shelf.linked_since(&name)?));
        Ok(names.into_iter().filter_map(since).collect())
    });
    Ok(round.finish(wanted, &after, &since.await?))
}

/// What a round comes to, while it lasts.
#[derive(Default)]
struct Round {
    absent: Absent,
    /// Why a bundle, or a name, is not as it should be.
    bundles: BTreeMap<Digest, String>,
    scripts: BTreeMap<Name, String>,
    faults: Vec<String>,
    changes: u32,
}

impl Round {
    fn note(&mut self, step: &Step, error: &ApplyError) {
        self.absent.note(step);
        let error = one_line(error);
        match step {
            Step::Install(digest) => {
                self.bundles.insert(*digest, error);
            }
            Step::Link { name, .. } => {
                self.scripts.insert(name.clone(), error);
            }
            Step::Record(_) | Step::Unlink { .. } | Step::Collect(_) => self.faults.push(error),
        }
    }

    fn finish(
        self,
        wanted: &Wanted,
        after: &Observed,
        since: &BTreeMap<Name, SystemTime>,
    ) -> Synced {
        let shelved = |(name, want): (&Name, &Want)| {
            let held = match after.entries.get(name) {
                Some(Entry::Link(digest)) if after.bundles.contains(digest) => Some(*digest),
                _ => None,
            };
            let at = since.get(name).and_then(|at| Timestamp::try_from(*at).ok());
            let held = held.map(|digest| (digest, at.unwrap_or(Timestamp::UNIX_EPOCH)));
            let own = self
                .scripts
                .get(name)
                .or_else(|| self.bundles.get(&want.digest));
            let shelved = Shelved {
                wanted: *want,
                held,
                error: None,
            };
            // Another runner's newer version of the same folder is no fault of ours.
            let error = match shelved.is_current() {
                true => None,
                false => own.or(self.faults.first()).cloned(),
            };
            (name.clone(), Shelved { error, ..shelved })
        };
        Synced {
            scripts: wanted.iter().map(shelved).collect(),
            faults: self.faults.clone(),
            changes: self.changes,
        }
    }
}

/// Fetches a bundle and puts it on the shelf.
pub async fn install(
    shelf: &Shelf,
    bundles: &dyn Bundles,
    digest: &Digest,
) -> Result<(), ApplyError> {
    let packed = bundles.get(digest).await?;
    let (shelf, digest) = (shelf.clone(), *digest);
    let installed = tokio::task::spawn_blocking(move || shelf.install(&digest, &packed)).await;
    Ok(installed.map_err(io::Error::other)??)
}

/// What could not be put on the shelf in this round. Until it can, its script stays as it is: an
/// older version that works is better than a link to nothing.
#[derive(Default)]
struct Absent {
    bundles: BTreeSet<Digest>,
    /// What names still point to because they could not move on.
    kept: BTreeSet<Digest>,
}

impl Absent {
    fn note(&mut self, failed: &Step) {
        if let Step::Install(digest) = failed {
            self.bundles.insert(*digest);
        }
    }

    fn forbid(&mut self, step: &Step, observed: &Observed) -> bool {
        match step {
            Step::Link { name, digest } if self.bundles.contains(digest) => {
                if let Some(Entry::Link(older)) = observed.entries.get(name) {
                    self.kept.insert(*older);
                }
                true
            }
            Step::Collect(digest) => self.kept.contains(digest),
            _ => false,
        }
    }
}

async fn carry_out(shelf: &Shelf, bundles: &dyn Bundles, step: &Step) -> Result<(), ApplyError> {
    match step.clone() {
        Step::Install(digest) => install(shelf, bundles, &digest).await?,
        Step::Record(ledger) => blocking(shelf, move |s| s.record(&ledger)).await?,
        Step::Link { name, digest } => blocking(shelf, move |s| s.link(&name, &digest)).await?,
        Step::Unlink { name } => blocking(shelf, move |s| s.unlink(&name)).await?,
        Step::Collect(digest) => blocking(shelf, move |s| s.collect(&digest)).await?,
    }
    Ok(())
}

/// File work off the async threads.
async fn blocking<T: Send + 'static>(
    shelf: &Shelf,
    work: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let shelf = Arc::new(shelf.clone());
    let done = tokio::task::spawn_blocking(move || work(&shelf)).await;
    done.map_err(io::Error::other)?
}

/// An error for people: a disk without room is what they look for, so it stands first.
fn one_line(error: &ApplyError) -> String {
    let text = describe(error);
    match is_full(error) {
        true => format!("disk full: {text}"),
        false => text,
    }
}

/// No room on the disk, in the quota, or below the limit for files.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            )
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with its causes, in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_first() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let source = io::Error::other(InstallError::Disk {
            digest: Digest::of(b""),
            source: full,
        });
        assert!(one_line(&ApplyError::Disk(source)).starts_with("disk full: "));
        let other = ApplyError::Disk(io::ErrorKind::PermissionDenied.into());
        assert!(!one_line(&other).starts_with("disk full"));
    }
}
