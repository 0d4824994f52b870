//! When each token came last. In memory only: an event for every request would drown the log, so
//! each coordinator knows of those that came to it since its start.

use events::Timestamp;
use schemas::Name;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// By token. There are only so many, and only those that exist are noted.
#[derive(Debug, Default)]
pub struct LastUses(Mutex<HashMap<Name, Timestamp>>);

impl LastUses {
    pub fn note(&self, token: &Name, at: Timestamp) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Most requests come from a token that has been here: no new key for them.
        match uses.get_mut(token) {
            Some(last) => *last = at,
            None => {
                uses.insert(token.clone(), at);
            }
        }
    }

    pub fn of(&self, token: &Name) -> Option<Timestamp> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(token).copied()
    }

    /// Its name may be another token's next.
    pub fn forget(&self, token: &Name) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.remove(token);
    }
}
