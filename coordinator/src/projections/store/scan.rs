//! Reading rows from pages on the disk, in order and from either end, while others are written.

use super::StoreError;
use super::pages;
use bytes::Bytes;
use std::ops::{Bound, RangeBounds};

/// From one key to another one.
pub type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);
/// Key and value of a row.
pub type Row = Result<(Vec<u8>, Vec<u8>), StoreError>;

/// The rows between two keys, from either end, while pages are written.
pub struct Scan {
    pages: sled::Iter,
    /// What was not given yet: a page that is divided while we stand in it comes again.
    left: Range,
    front: Option<pages::Rows<Bytes>>,
    back: Option<pages::Rows<Bytes>>,
}

impl Scan {
    pub fn of(db: &sled::Db, range: Range) -> Result<Self, StoreError> {
        // The first rows may stand in a page that begins before them.
        let first = match &range.0 {
            Bound::Included(key) | Bound::Excluded(key) => page_of(db, key)?,
            Bound::Unbounded => None,
        };
        let from = match first {
            Some((at, _)) => Bound::Included(at.to_vec()),
            None => range.0.clone(),
        };
        Ok(Self {
            pages: db.range((from, range.1.clone())),
            left: range,
            front: None,
            back: None,
        })
    }
}

impl Iterator for Scan {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let row = match &mut self.front {
                Some(rows) => rows.next(),
                None => None,
            };
            match row {
                Some(row) if self.left.contains(&row.0) => {
                    self.left.0 = Bound::Excluded(row.0.clone());
                    return Some(Ok(row));
                }
                Some(_) => {}
                None => match self.pages.next() {
                    Some(page) => match read_page(page) {
                        Ok(rows) => self.front = Some(rows),
                        Err(error) => return Some(Err(error)),
                    },
                    None => self.front = Some(self.back.take()?),
                },
            }
        }
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Row> {
        loop {
            let row = match &mut self.back {
                Some(rows) => rows.next_back(),
                None => None,
            };
            match row {
                Some(row) if self.left.contains(&row.0) => {
                    self.left.1 = Bound::Excluded(row.0.clone());
                    return Some(Ok(row));
                }
                Some(_) => {}
                None => match self.pages.next_back() {
                    Some(page) => match read_page(page) {
                        Ok(rows) => self.back = Some(rows),
                        Err(error) => return Some(Err(error)),
                    },
                    None => self.back = Some(self.front.take()?),
                },
            }
        }
    }
}

/// The page in which a row stands, if there is one, by its key.
pub fn page_of(db: &sled::Db, key: &[u8]) -> Result<Option<(sled::IVec, sled::IVec)>, StoreError> {
    Ok(db.range::<&[u8], _>(..=key).next_back().transpose()?)
}

fn read_page(
    page: sled::Result<(sled::IVec, sled::IVec)>,
) -> Result<pages::Rows<Bytes>, StoreError> {
    pages::Rows::of(pages::opened(&page?.1)?)
}
