//! Brings the shelf to what the lanes want: observe, plan, carry out, and say what holds now.

use crate::lanes::{Want, Wanted};
use crate::plan::{Entry, Observed, Plan, Step, plan};
use crate::shelf::{InstallError, Shelf, View};
use events::Timestamp;
use events::log::{BundleError, Bundles};
use futures::{StreamExt as _, stream};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::discriminant;
use std::sync::Arc;

/// Bundles that are fetched and unpacked at the same time. Each may take 60 MiB of memory meanwhile.
const STEPS_AT_ONCE: usize = 8;

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

/// How closely the folder is looked at before a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At everything, down to the bytes of bundles that were touched.
    Whole,
    /// Only where somebody was there since the last round.
    Changes,
}

/// One round. Runners that share the folder take turns.
pub async fn converge(
    shelf: &Shelf,
    bundles: &dyn Bundles,
    wanted: &Wanted,
    look: Look,
) -> Result<Synced, ApplyError> {
    let lock = Arc::new(blocking(shelf, Shelf::lock).await?);
    let seen = lock.clone();
    let before = blocking(shelf, move |shelf| match look {
        Look::Whole => shelf.view(),
        Look::Changes => shelf.recall(&seen).map_or_else(|| shelf.view(), Ok),
    });
    let before = before.await?;
    let Plan { steps, foreign } = plan(wanted, &before.observed);
    let mut round = Round::default();
    for name in foreign {
        round.scripts.insert(name.clone(), format!(
            "scripts/{name} is not ours and stays untouched; move it away so that the script can be placed there"
        ));
    }
    if !steps.is_empty()
        && let Err(error) = lock.count_change()
    {
        // On a full disk the steps may be what makes room; others see the folders' change times.
        tracing::debug!(%error, "a change of the scripts folder is not counted");
    }
    let failed = round.carry_out(shelf, bundles, &steps, &before.observed);
    let failed = failed.await;
    let done = round.done.clone();
    let after = blocking(shelf, move |shelf| {
        let after = match failed {
            true => shelf.view()?,
            false => shelf.after(before, &done),
        };
        shelf.remember(&lock, after.clone());
        Ok(after)
    });
    Ok(round.finish(wanted, &after.await?))
}

/// What a round comes to, while it lasts.
#[derive(Default)]
struct Round {
    absent: Absent,
    /// Why a bundle, or a name, is not as it should be.
    bundles: BTreeMap<Digest, String>,
    scripts: BTreeMap<Name, String>,
    faults: Vec<String>,
    done: Vec<Step>,
}

impl Round {
    /// Carries the steps out in their order, those of one kind side by side: most of their time is
    /// waiting for the broker and the disk. New names are on the disk before what relies on them is
    /// done. Says whether anything failed.
    async fn carry_out(
        &mut self,
        shelf: &Shelf,
        bundles: &dyn Bundles,
        steps: &[Step],
        observed: &Observed,
    ) -> bool {
        let mut failed = false;
        for group in steps.chunk_by(|a, b| discriminant(a) == discriminant(b)) {
            let allowed = group
                .iter()
                .filter(|step| !self.absent.forbid(step, observed));
            let tries: Vec<_> = allowed
                .map(|step| carry_out(shelf, bundles, step))
                .collect();
            let mut tries = stream::iter(tries).buffer_unordered(STEPS_AT_ONCE);
            while let Some((step, done)) = tries.next().await {
                match done {
                    Ok(()) => self.done.push(step.clone()),
                    Err(error) => {
                        failed = true;
                        self.note(step, &error);
                    }
                }
            }
            let synced = match group[0] {
                Step::Install(_) => blocking(shelf, Shelf::sync_bundles).await,
                Step::Link { .. } => blocking(shelf, Shelf::sync_links).await,
                Step::Record(_) | Step::Unlink { .. } | Step::Collect(_) => Ok(()),
            };
            if let Err(error) = synced {
                failed = true;
                self.faults.push(one_line(&error.into()));
            }
        }
        failed
    }

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

    fn finish(self, wanted: &Wanted, after: &View) -> Synced {
        let View { observed, since } = after;
        let shelved = |(name, want): (&Name, &Want)| {
            let held = match observed.entries.get(name) {
                Some(Entry::Link(digest)) if observed.bundles.contains(digest) => Some(*digest),
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
        let changed = self
            .done
            .iter()
            .filter(|step| !matches!(step, Step::Record(_)));
        Synced {
            scripts: wanted.iter().map(shelved).collect(),
            faults: self.faults.clone(),
            changes: u32::try_from(changed.count()).unwrap_or(u32::MAX),
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

async fn carry_out<'a>(
    shelf: &Shelf,
    bundles: &dyn Bundles,
    step: &'a Step,
) -> (&'a Step, Result<(), ApplyError>) {
    let done = match step.clone() {
        Step::Install(digest) => install(shelf, bundles, &digest).await,
        Step::Record(ledger) => changed(shelf, move |s| s.record(&ledger)).await,
        Step::Link { name, digest } => changed(shelf, move |s| s.link(&name, &digest)).await,
        Step::Unlink { name } => changed(shelf, move |s| s.unlink(&name)).await,
        Step::Collect(digest) => changed(shelf, move |s| s.collect(&digest)).await,
    };
    (step, done)
}

async fn changed(
    shelf: &Shelf,
    change: impl FnOnce(&Shelf) -> io::Result<()> + Send + 'static,
) -> Result<(), ApplyError> {
    Ok(blocking(shelf, change).await?)
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
