//! What every runner's folder holds, script by script, as the runners' reports add up to. A report
//! tells changes only, so each script has a row of its own.

use super::changes::Changes;
use super::keys;
use super::store::{Store, StoreError};
use events::RunnerId;
use events::runner::Holding;
use schemas::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The scripts of one runner; shared with whoever reads them.
pub type Shelf = Arc<BTreeMap<Name, Holding>>;

/// Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings(Arc<BTreeMap<RunnerId, Shelf>>);

/// What a report changes.
pub struct Report {
    /// Nothing told before counts any more.
    pub whole: bool,
    pub scripts: BTreeMap<Name, Holding>,
    pub gone: BTreeSet<Name>,
}

impl Holdings {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut shelves: BTreeMap<RunnerId, BTreeMap<Name, Holding>> = BTreeMap::new();
        for row in store.rows::<Holding>(keys::HOLDINGS) {
            let (key, holding) = row?;
            let parts = keys::text_of(keys::HOLDINGS, &key).and_then(|text| text.split_once('/'));
            let ids = parts.and_then(|(id, name)| Some((id.parse().ok()?, name.parse().ok()?)));
            let (id, name) =
                ids.ok_or_else(|| StoreError::Damaged("a holding is nobody's".to_owned()))?;
            shelves.entry(id).or_default().insert(name, holding);
        }
        let shelves = shelves.into_iter().map(|(id, shelf)| (id, Arc::new(shelf)));
        Ok(Self(Arc::new(shelves.collect())))
    }

    pub fn of(&self, id: &RunnerId) -> Shelf {
        self.0.get(id).cloned().unwrap_or_default()
    }

    /// How one script stands on one runner.
    pub fn holding(&self, id: &RunnerId, script: &Name) -> Option<&Holding> {
        self.0.get(id)?.get(script)
    }

    pub(super) fn apply(&mut self, id: &RunnerId, report: Report, changes: &mut Changes) {
        if report.whole {
            self.drop(id, changes);
        }
        let shelf = Arc::make_mut(&mut self.0).entry(id.clone()).or_default();
        let shelf = Arc::make_mut(shelf);
        for name in &report.gone {
            shelf.remove(name);
            changes.delete(keys::holding(id, name));
        }
        for (name, holding) in report.scripts {
            changes.put(keys::holding(id, &name), &holding);
            shelf.insert(name, holding);
        }
    }

    /// Nothing of this runner counts any more.
    pub(super) fn drop(&mut self, id: &RunnerId, changes: &mut Changes) {
        if let Some(shelf) = Arc::make_mut(&mut self.0).remove(id) {
            for name in shelf.keys() {
                changes.delete(keys::holding(id, name));
            }
        }
    }
}
