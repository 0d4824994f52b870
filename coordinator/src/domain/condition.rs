//! What a writer takes for granted: the version of the thing that it has seen. Checked with the very
//! state that the change is decided on, so two writers who saw the same version do not both win.

use super::Rejection;
use events::catalog::{Catalog, Kind};
use schemas::Name;

/// A change is made only where this holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: Kind,
    pub name: Name,
    pub wanted: Wanted,
}

/// Which version there has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of these.
    Versions(Vec<u32>),
    Any,
    /// None: the name is free.
    Nothing,
}

impl Condition {
    /// # Errors
    /// When there is another version, or one where there should be none, or none.
    pub fn check(&self, catalog: &Catalog) -> Result<(), Rejection> {
        let present = present(catalog, self.kind, &self.name);
        let holds = match (&self.wanted, present) {
            (Wanted::Versions(versions), Some(version)) => versions.contains(&version),
            (Wanted::Any, present) => present.is_some(),
            (Wanted::Nothing, present) => present.is_none(),
            (Wanted::Versions(_), None) => false,
        };
        if holds {
            return Ok(());
        }
        Err(Rejection::Stale {
            kind: self.kind,
            name: self.name.clone(),
            present,
        })
    }
}

fn present(catalog: &Catalog, kind: Kind, name: &Name) -> Option<u32> {
    match kind {
        Kind::Script => Some(catalog.scripts.get(name)?.current.version),
        Kind::Agent => Some(catalog.agents.get(name)?.current.version),
        Kind::Capability => Some(catalog.capabilities.get(name)?.current.version),
        // What has no versions is never written under a condition.
        Kind::Pin | Kind::Token | Kind::Runner => None,
    }
}
