//! What may happen: pure decisions on the catalogue and on runs. Given the state and a command,
//! each returns the event that follows or the reason why none does. No clock, no randomness, no
//! I/O: the caller passes ids and times in.

pub mod agents;
pub mod audit;
pub mod capabilities;
pub mod condition;
pub mod demands;
pub mod distribution;
pub mod draft;
pub mod equipment;
pub mod explain;
pub mod hooks;
pub mod ids;
pub mod members;
pub mod over_http;
pub mod owned;
pub mod patch;
pub mod pins;
pub mod proof;
pub mod rejection;
pub mod replay;
pub mod resume;
pub mod retry;
pub mod rollout;
pub mod runners;
pub mod runs;
pub mod scripts;
pub mod stop;
#[cfg(test)]
pub mod testing;
pub mod tokens;
pub mod versions;

pub use condition::{Condition, Wanted};
pub use patch::Patch;
pub use rejection::Rejection;

use events::catalog::CatalogEvent;
use schemas::Name;

/// What a command on the catalogue comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Append(Box<CatalogEvent>),
    /// It stands there exactly like this.
    Unchanged,
    /// It was made for a version that is not the present one any more: make it again.
    Outdated,
}

impl Decision {
    fn append(event: CatalogEvent) -> Self {
        Self::Append(Box::new(event))
    }
}

/// Refuses a document that is called otherwise than where it was sent.
///
/// # Errors
/// When the names differ.
pub fn same_name(path: &Name, document: &Name) -> Result<(), Rejection> {
    if path == document {
        return Ok(());
    }
    Err(Rejection::NameDiffers {
        path: path.clone(),
        document: document.clone(),
    })
}
