//! What is on the shelf.

use super::{BUNDLES, Shelf};
use crate::plan::{Entry, Ledger, Observed};
use schemas::{Digest, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

impl Shelf {
    /// Reads the folder. Damaged bundles count as missing, unreadable ledgers as empty.
    pub fn observe(&self) -> io::Result<Observed> {
        let (mine, others) = self.ledgers()?;
        Ok(Observed {
            bundles: self.whole_bundles()?,
            entries: self.entries()?,
            mine,
            others,
        })
    }

    /// Since when a script's name points to what it points to.
    pub fn linked_since(&self, name: &Name) -> Option<SystemTime> {
        let link = fs::symlink_metadata(self.folder.join(name.as_str())).ok()?;
        link.modified().ok()
    }

    fn whole_bundles(&self) -> io::Result<BTreeSet<Digest>> {
        let mut whole = BTreeSet::new();
        for entry in fs::read_dir(self.bundles())? {
            let name = entry?.file_name();
            let digest = name
                .to_str()
                .and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
            if let Some(digest) = digest
                && self.is_whole(&digest)
            {
                whole.insert(digest);
            }
        }
        Ok(whole)
    }

    fn entries(&self) -> io::Result<BTreeMap<Name, Entry>> {
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let link = fs::read_link(entry.path()).ok();
            let ours = link.as_deref().and_then(linked_digest);
            entries.insert(name, ours.map_or(Entry::Foreign, Entry::Link));
        }
        Ok(entries)
    }

    fn ledgers(&self) -> io::Result<(Ledger, Vec<Ledger>)> {
        let mut mine = Ledger::default();
        let mut others = Vec::new();
        for entry in fs::read_dir(self.owners())? {
            let entry = entry?;
            let owner = entry.file_name();
            if owner.to_string_lossy().ends_with(".new") {
                continue;
            }
            let ledger = serde_json::from_slice(&fs::read(entry.path())?).unwrap_or_default();
            if owner == self.runner_id.as_str() {
                mine = ledger;
            } else {
                others.push(ledger);
            }
        }
        Ok((mine, others))
    }
}

/// The bundle behind one of our links; `None` for links that are not ours.
fn linked_digest(target: &Path) -> Option<Digest> {
    let hex = target.strip_prefix(BUNDLES).ok()?.to_str()?;
    format!("sha256:{hex}").parse().ok()
}
