//! Where a run's row is found by its id. Ids are random, and an index in which every new row falls
//! somewhere else costs the more the longer the log is. So there is one for each era of the log, as many
//! sequences of `RUNS`: what is new falls into the newest, and a look goes back through them.

use super::keys;
use super::store::{Store, StoreError};
use events::RunId;

/// The eras that have runs, or may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eras(Option<Known>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    oldest: u64,
    newest: u64,
}

impl Eras {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut keys = store.keys(keys::RUNS);
        let mut eras = Self::default();
        let (oldest, newest) = (keys.next(), keys.next_back());
        for key in oldest.into_iter().chain(newest) {
            if let Some(first_sequence) = keys::number_of(&key?) {
                eras.add(first_sequence);
            }
        }
        Ok(eras)
    }

    /// There is a run that begins there.
    pub fn add(&mut self, first_sequence: u64) {
        let era = keys::era(first_sequence);
        let known = self.0.get_or_insert(Known {
            oldest: era,
            newest: era,
        });
        known.oldest = known.oldest.min(era);
        known.newest = known.newest.max(era);
    }

    /// No run begins before.
    pub fn begin_at(&mut self, first_sequence: u64) {
        if let Some(known) = &mut self.0 {
            known.oldest = known
                .oldest
                .max(keys::era(first_sequence))
                .min(known.newest);
        }
    }

    pub fn newest_first(self) -> impl Iterator<Item = u64> + Clone {
        let eras = self.0.map(|known| (known.oldest..=known.newest).rev());
        eras.into_iter().flatten()
    }

    /// The first sequence of a run.
    pub fn find(self, store: &Store, run_id: &RunId) -> Result<Option<u64>, StoreError> {
        for era in self.newest_first() {
            if let Some(first_sequence) = store.get(&keys::run_id(era, run_id.as_str()))? {
                return Ok(Some(first_sequence));
            }
        }
        Ok(None)
    }
}
