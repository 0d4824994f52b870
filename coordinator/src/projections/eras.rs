//! Where a run's row is found by its id. Ids are random, and an index in which every new row falls
//! somewhere else costs the more the longer the log is. So there is one for each era of the log, as many
//! sequences of `RUNS`: what is new falls into the newest, and a look goes back through them.

use super::keys;
use super::store::{Store, StoreError};
use events::RunId;
use std::collections::BTreeMap;
use std::fmt;

/// The eras that have runs, or may have.
#[derive(Debug, Default)]
pub struct Eras {
    known: Option<Known>,
    /// Of the eras that began while we looked. The others have none: there the rows tell.
    filters: BTreeMap<u64, Filter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    oldest: u64,
    newest: u64,
}

/// A Bloom filter of the ids in one era: most runs are new, and to find that out in rows is a page read
/// for each era.
struct Filter(Box<[u64]>);

impl Eras {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut keys = store.keys(keys::RUNS);
        let mut eras = Self::default();
        let (oldest, newest) = (keys.next(), keys.next_back());
        for key in oldest.into_iter().chain(newest) {
            if let Some(first_sequence) = keys::number_of(&key?) {
                eras.widen(keys::era(first_sequence));
            }
        }
        Ok(eras)
    }

    /// There is a run that begins there.
    pub fn add(&mut self, first_sequence: u64, run_id: &RunId) {
        let era = keys::era(first_sequence);
        if self.widen(era) {
            self.filters.insert(era, Filter::default());
        }
        if let Some(filter) = self.filters.get_mut(&era) {
            filter.add(run_id);
        }
    }

    /// Counts an era in; says whether nothing was known of it.
    fn widen(&mut self, era: u64) -> bool {
        let is_new = self
            .known
            .is_none_or(|known| era < known.oldest || era > known.newest);
        let known = self.known.get_or_insert(Known {
            oldest: era,
            newest: era,
        });
        known.oldest = known.oldest.min(era);
        known.newest = known.newest.max(era);
        is_new
    }

    /// No run begins before.
    pub fn begin_at(&mut self, first_sequence: u64) {
        if let Some(known) = &mut self.known {
            known.oldest = known
                .oldest
                .max(keys::era(first_sequence))
                .min(known.newest);
            self.filters = self.filters.split_off(&known.oldest);
        }
    }

    pub fn newest_first(&self) -> impl Iterator<Item = u64> + use<> {
        let eras = self.known.map(|known| (known.oldest..=known.newest).rev());
        eras.into_iter().flatten()
    }

    /// The first sequence of a run.
    pub fn find(&self, store: &Store, run_id: &RunId) -> Result<Option<u64>, StoreError> {
        for era in self.newest_first() {
            let filter = self.filters.get(&era);
            if filter.is_some_and(|filter| !filter.may_have(run_id)) {
                continue;
            }
            if let Some(first_sequence) = store.get(&keys::run_id(era, run_id.as_str()))? {
                return Ok(Some(first_sequence));
            }
        }
        Ok(None)
    }
}

impl Filter {
    /// 128 KiB: 16 bits for each of as many runs as an era has of four steps each. Of 200 ids that are not
    /// there, it lets one pass.
    const BITS: u64 = 1 << (keys::ERA_BITS + 2);
    /// Bits that are set for an id.
    const PROBES: u32 = 3;

    fn add(&mut self, run_id: &RunId) {
        for (word, bit) in probes(run_id) {
            self.0[word] |= bit;
        }
    }

    fn may_have(&self, run_id: &RunId) -> bool {
        probes(run_id).all(|(word, bit)| self.0[word] & bit != 0)
    }
}

/// Ids are random numbers: they are cut up, where others would have to be hashed.
fn probes(run_id: &RunId) -> impl Iterator<Item = (usize, u64)> {
    let mut bits = run_id.bits();
    (0..Filter::PROBES).map(move |_| {
        let at = bits % Filter::BITS;
        bits /= Filter::BITS;
        ((at / 64) as usize, 1 << (at % 64))
    })
}

impl Default for Filter {
    fn default() -> Self {
        Self(vec![0; (Self::BITS / 64) as usize].into())
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> RunId {
        RunId::from_bits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn a_filter_never_hides_an_id_and_seldom_shows_another() {
        let mut filter = Filter::default();
        let full = 1 << 16;
        (0..full).for_each(|number| filter.add(&id(number)));
        assert!((0..full).all(|number| filter.may_have(&id(number))));
        let shown = (full..2 * full).filter(|number| filter.may_have(&id(*number)));
        assert!(shown.count() < 1_000);
    }

    #[test]
    fn an_era_that_was_there_before_has_no_filter() {
        let mut eras = Eras::default();
        eras.widen(3);
        let begin = |era: u64| era << keys::ERA_BITS;
        eras.add(begin(3) + 5, &id(1));
        eras.add(begin(4), &id(2));
        assert_eq!(eras.filters.keys().copied().collect::<Vec<_>>(), [4]);
        eras.add(begin(6), &id(3));
        assert_eq!(eras.newest_first().collect::<Vec<_>>(), [6, 5, 4, 3]);
        eras.begin_at(begin(5));
        assert_eq!(eras.newest_first().collect::<Vec<_>>(), [6, 5]);
        assert_eq!(eras.filters.keys().copied().collect::<Vec<_>>(), [6]);
    }
}
