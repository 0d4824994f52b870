//! Brings the shelf to what the lanes want: observe, plan, carry out, and say what holds now.

use crate::lanes::Wanted;
use crate::plan::{Entry, Observed, Plan, Step, plan};
use crate::shelf::{InstallError, Shelf};
use events::log::{BundleError, Bundles};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// What this host holds after a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Wanted scripts that are in place.
    pub scripts: BTreeMap<Name, Digest>,
    /// What went wrong; the round is repeated.
    pub errors: Vec<String>,
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
    let mut synced = Synced::default();
    for name in &foreign {
        synced.errors.push(format!(
            "scripts/{name} is not ours and stays untouched; move it away so that the script can be placed there"
        ));
    }
    let mut absent = Absent::default();
    for step in steps {
        if absent.forbid(&step, &observed) {
            continue;
        }
        if let Err(error) = carry_out(shelf, bundles, &step).await {
            absent.note(&step);
            synced.errors.push(describe(&error));
        }
    }
    let after = blocking(shelf, Shelf::observe).await?;
    let in_place = |(name, (digest, _)): (&Name, &(Digest, u64))| {
        let linked = after.entries.get(name) == Some(&Entry::Link(*digest));
        let whole = after.bundles.contains(digest);
        (linked && whole).then(|| (name.clone(), *digest))
    };
    synced.scripts = wanted.iter().filter_map(in_place).collect();
    Ok(synced)
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
