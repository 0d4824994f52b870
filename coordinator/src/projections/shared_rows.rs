//! The runs that two indexes have in common, newest first, without reading what only one has: each
//! index is asked for its newest below what the other one answered.

use super::keys;
use super::store::{Store, StoreError};

/// First sequences below `before` that stand under both prefixes.
pub fn in_both(
    store: &Store,
    one: Vec<u8>,
    other: Vec<u8>,
    before: u64,
) -> impl Iterator<Item = Result<u64, StoreError>> + '_ {
    let mut below = before;
    std::iter::from_fn(move || next(store, &one, &other, &mut below).transpose())
}

fn next(
    store: &Store,
    one: &[u8],
    other: &[u8],
    below: &mut u64,
) -> Result<Option<u64>, StoreError> {
    loop {
        let Some(candidate) = newest(store, one, *below)? else {
            return Ok(None);
        };
        let Some(shared) = newest(store, other, candidate.saturating_add(1))? else {
            return Ok(None);
        };
        if shared == candidate {
            *below = candidate;
            return Ok(Some(candidate));
        }
        *below = shared + 1;
    }
}

fn newest(store: &Store, prefix: &[u8], below: u64) -> Result<Option<u64>, StoreError> {
    let mut keys = store.keys_between(prefix.to_vec(), keys::numbered(prefix, below));
    keys.next_back().map(|key| number(&key?)).transpose()
}

/// The first sequence that a key of an index ends with.
pub fn number(key: &[u8]) -> Result<u64, StoreError> {
    let damaged = || StoreError::Damaged("a run's key has no number".to_owned());
    keys::number_of(key).ok_or_else(damaged)
}
