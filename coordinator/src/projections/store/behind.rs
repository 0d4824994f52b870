//! Rows that count and are not on the disk yet. Many changes of one row become one write, and many
//! batches one, which is most of what writing costs; what a crash takes of it is read again from the
//! log, for a stream's cursor goes with its rows. It knows no disk: `store` carries rows there.

use crate::projections::changes::Changes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Rows by keys; `None` deletes.
pub type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a row takes beside its bytes, in bytes: its place in the map, and its share of the page that is
/// written anew for it.
const ROW_WEIGHT: usize = 200;

#[derive(Debug, Default)]
pub struct Behind {
    fresh: Rows,
    /// Of the rows added to `fresh` since it was empty: of one written twice both.
    weight: usize,
    /// On their way, and possibly not there yet.
    leaving: Arc<Rows>,
}

impl Behind {
    pub fn add(&mut self, changes: Changes) {
        for (key, value) in changes.into_rows() {
            self.weight += weight(&key, value.as_deref());
            self.fresh.insert(key, value);
        }
    }

    /// What a row is, where the disk does not know; the inner `None` is a deleted one.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let row = self.fresh.get(key).or_else(|| self.leaving.get(key))?;
        Some(row.as_deref())
    }

    /// Whether there is a row between these keys that the disk does not know.
    pub fn touches(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
        let has = |rows: &Rows| rows.range::<[u8], _>(range).next().is_some();
        has(&self.fresh) || has(&self.leaving)
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty()
    }

    /// How much waits, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The rows to write now. [`Self::arrived`] or [`Self::returned`] follows, before the next ones go.
    pub fn leave(&mut self) -> Arc<Rows> {
        self.weight = 0;
        self.leaving = Arc::new(std::mem::take(&mut self.fresh));
        self.leaving.clone()
    }

    /// The disk has them.
    pub fn arrived(&mut self) {
        self.leaving = Arc::default();
    }

    /// The disk did not take them: they wait again, behind what came since.
    pub fn returned(&mut self) {
        let left = std::mem::take(&mut self.leaving);
        for (key, value) in left.iter() {
            if !self.fresh.contains_key(key) {
                self.weight += weight(key, value.as_deref());
                self.fresh.insert(key.clone(), value.clone());
            }
        }
    }
}

fn weight(key: &[u8], value: Option<&[u8]>) -> usize {
    ROW_WEIGHT + key.len() + value.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(rows: &[(&str, Option<&str>)]) -> Changes {
        let mut changes = Changes::default();
        for (key, value) in rows {
            match value {
                Some(value) => changes.put(key.as_bytes().to_vec(), value),
                None => changes.delete(key.as_bytes().to_vec()),
            }
        }
        changes
    }

    fn shown(behind: &Behind, key: &str) -> Option<Option<String>> {
        let row = behind.get(key.as_bytes())?;
        Some(row.map(|row| serde_json::from_slice(row).unwrap()))
    }

    fn text(text: &str) -> Option<Option<String>> {
        Some(Some(text.to_owned()))
    }

    #[test]
    fn the_last_word_on_a_row_counts_also_while_an_older_one_is_on_its_way() {
        let mut behind = Behind::default();
        behind.add(changes(&[("a", Some("1")), ("b", Some("1"))]));
        let leaving = behind.leave();
        behind.add(changes(&[("a", Some("2")), ("b", None)]));
        assert_eq!(leaving.len(), 2);
        assert_eq!(shown(&behind, "a"), text("2"));
        assert_eq!(shown(&behind, "b"), Some(None));
        behind.arrived();
        assert_eq!(shown(&behind, "a"), text("2"));
        assert_eq!(shown(&behind, "c"), None);
    }

    #[test]
    fn what_the_disk_did_not_take_waits_again_without_undoing_what_came_since() {
        let mut behind = Behind::default();
        behind.add(changes(&[("a", Some("1")), ("b", Some("1"))]));
        behind.leave();
        behind.add(changes(&[("a", Some("2"))]));
        behind.returned();
        assert_eq!(shown(&behind, "a"), text("2"));
        assert_eq!(shown(&behind, "b"), text("1"));
        assert_eq!(behind.leave().len(), 2);
        behind.arrived();
        assert!(behind.is_empty() && behind.weight() == 0);
        assert_eq!(shown(&behind, "a"), None);
    }

    #[test]
    fn a_range_is_touched_by_what_waits_in_it_and_by_what_leaves() {
        let mut behind = Behind::default();
        let range = |from: &'static str, to: &'static str| {
            let bound = |key: &'static str| key.as_bytes();
            (Bound::Included(bound(from)), Bound::Excluded(bound(to)))
        };
        behind.add(changes(&[("b", Some("1"))]));
        assert!(behind.touches(range("a", "c")));
        assert!(!behind.touches(range("a", "b")));
        behind.leave();
        assert!(behind.touches(range("b", "c")));
        behind.arrived();
        assert!(!behind.touches(range("a", "c")));
    }
}
