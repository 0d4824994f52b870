//! Rows put together in pages: what the disk keeps is pages by their lowest key, for sled has its price by
//! the entry, in time and in memory, and most rows of ours are small. A page holds all rows from its own
//! key on up to the next page's. It knows no disk: `disk` carries pages there.
//!
//! Pages of large rows are packed with zstd, for what sled writes it writes several times.
//!
//! A row in a page: how many bytes its key shares with the key before it, how many follow, how many the
//! value has (all as LEB128), the rest of the key, the value.

use super::StoreError;
use bytes::Bytes;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::iter::Peekable;
use zstd::bulk::{Compressor, Decompressor};

/// Bytes of a page, about: so much is written where one row changes, and read where one is asked for.
const PAGE_BYTES: usize = 4096;
/// The same of one that is packed, before it is.
const PACKED_BYTES: usize = 16 * 1024;
/// Rows of this size on the average are packed: whole objects, each much like the next. What is smaller is
/// mostly keys, and they share their beginnings already.
const PACKED_ROW_BYTES: usize = 200;
/// A page before it is packed, at most: one with a row that is a page of its own, of some megabytes.
const UNPACKED_MAX: usize = 64 * 1024 * 1024;

/// The first byte of what the disk has: whether the rest is packed, with zstd.
const PLAIN: u8 = 0;
const PACKED: u8 = 1;

/// A page to keep.
#[derive(Debug, PartialEq)]
pub struct Page {
    pub key: Vec<u8>,
    bytes: Vec<u8>,
    rows: usize,
}

/// The rows of a page, in order, from either end.
pub struct Rows<B> {
    page: B,
    /// All keys, one behind the other.
    keys: Vec<u8>,
    spans: std::vec::IntoIter<Span>,
}

/// Where a row stands.
#[derive(Clone, Copy)]
struct Span {
    /// In `keys`: from, to.
    key: (usize, usize),
    /// In the page: from, to.
    value: (usize, usize),
    /// The whole row in the page: it begins here and ends with the value.
    from: usize,
}

/// What a row in a page is, to be written again.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    value: &'a [u8],
    /// As it stands in the old page, and behind how many: it can stand so again behind the same row.
    old: Option<(usize, &'a [u8])>,
}

impl Page {
    /// As the disk has it.
    pub fn closed(&self, rows: &mut Compressor<'_>) -> Vec<u8> {
        let large = self.bytes.len() >= PACKED_ROW_BYTES * self.rows;
        let large = large && self.bytes.len() <= UNPACKED_MAX;
        let packed = large.then(|| rows.compress(&self.bytes).ok()).flatten();
        match packed.filter(|packed| packed.len() < self.bytes.len()) {
            Some(packed) => [&[PACKED], &packed[..]].concat(),
            None => [&[PLAIN], &self.bytes[..]].concat(),
        }
    }
}

/// What the disk has, as the bytes of a page.
///
/// # Errors
/// When it is none.
pub fn opened(closed: &[u8]) -> Result<Bytes, StoreError> {
    thread_local! {
        static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    match closed.split_first() {
        Some((&PLAIN, page)) => Ok(Bytes::copy_from_slice(page)),
        Some((&PACKED, packed)) => UNPACKER.with_borrow_mut(|unpacker| {
            let size = zstd_size(packed).ok_or_else(damaged)?;
            let unpacker = match unpacker {
                Some(unpacker) => unpacker,
                none => none.insert(Decompressor::new().map_err(|_| damaged())?),
            };
            let page = unpacker.decompress(packed, size).map_err(|_| damaged())?;
            Ok(page.into())
        }),
        _ => Err(damaged()),
    }
}

/// How large it is once it is unpacked: it says so itself.
fn zstd_size(packed: &[u8]) -> Option<usize> {
    let size = Decompressor::upper_bound(packed)?;
    (size <= UNPACKED_MAX).then_some(size)
}

impl<B: AsRef<[u8]>> Rows<B> {
    /// # Errors
    /// When the bytes are none of a page.
    pub fn of(page: B) -> Result<Self, StoreError> {
        let (mut keys, mut spans) = (Vec::new(), Vec::new());
        let bytes = page.as_ref();
        let mut reader = Reader::of(bytes);
        let mut last = (0, 0);
        let mut from = 0;
        while let Some(row) = reader.row() {
            let row = row.filter(|row| row.shared <= last.1 - last.0);
            let row = row.ok_or_else(damaged)?;
            let begin = keys.len();
            keys.extend_from_within(last.0..last.0 + row.shared);
            keys.extend_from_slice(&bytes[row.rest.0..row.rest.1]);
            last = (begin, keys.len());
            spans.push(Span {
                key: last,
                value: row.value,
                from,
            });
            from = reader.at;
        }
        Ok(Self {
            page,
            keys,
            spans: spans.into_iter(),
        })
    }

    fn key(&self, span: Span) -> &[u8] {
        &self.keys[span.key.0..span.key.1]
    }

    fn value(&self, span: Span) -> &[u8] {
        &self.page.as_ref()[span.value.0..span.value.1]
    }

    fn owned(&self, span: Span) -> (Vec<u8>, Vec<u8>) {
        (self.key(span).to_vec(), self.value(span).to_vec())
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let spans = self.spans.as_slice().iter().enumerate();
        spans.map(|(before, span)| Entry {
            key: self.key(*span),
            value: self.value(*span),
            old: Some((before, &self.page.as_ref()[span.from..span.value.1])),
        })
    }

    /// The page as pages, with changed rows in it; `None` deletes. `None` where they change nothing,
    /// and no pages where nothing is left. The first one has the key `at`, the old page's own.
    pub fn with<'a>(
        &'a self,
        at: &[u8],
        changed: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Option<Vec<Page>> {
        let mut old = self.entries().peekable();
        let mut entries = Vec::new();
        let (mut is_same, mut at_end) = (true, true);
        for (key, value) in changed {
            entries.extend(before(&mut old, key));
            let was = old.next_if(|old| old.key == key).map(|old| old.value);
            is_same &= was == value;
            at_end &= old.peek().is_none() && was.is_none();
            entries.extend(value.map(|value| Entry {
                key,
                value,
                old: None,
            }));
        }
        entries.extend(old);
        (!is_same).then(|| packed(at, &entries, at_end))
    }
}

/// The value under a key in a page.
///
/// # Errors
/// When the bytes are none of a page.
pub fn value<'a>(page: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, StoreError> {
    let mut reader = Reader::of(page);
    let mut at = Vec::with_capacity(2 * key.len());
    while let Some(row) = reader.row() {
        let row = row.filter(|row| row.shared <= at.len());
        let row = row.ok_or_else(damaged)?;
        at.truncate(row.shared);
        at.extend_from_slice(&page[row.rest.0..row.rest.1]);
        match at.as_slice().cmp(key) {
            Ordering::Less => {}
            Ordering::Equal => return Ok(Some(&page[row.value.0..row.value.1])),
            Ordering::Greater => break,
        }
    }
    Ok(None)
}

fn damaged() -> StoreError {
    StoreError::Damaged("a page is not readable".to_owned())
}

impl<B: AsRef<[u8]>> Iterator for Rows<B> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        self.spans.next().map(|span| self.owned(span))
    }
}

impl<B: AsRef<[u8]>> DoubleEndedIterator for Rows<B> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.spans.next_back().map(|span| self.owned(span))
    }
}

/// What stands before a key.
fn before<'a, 'i>(
    rows: &'i mut Peekable<impl Iterator<Item = Entry<'a>>>,
    key: &'i [u8],
) -> impl Iterator<Item = Entry<'a>> + 'i {
    std::iter::from_fn(move || rows.next_if(|next| next.key < key))
}

/// Rows in as many pages as they need. Where rows came to the end only, more will: pages are left full.
/// Elsewhere all get the same, so that each has room for what comes.
fn packed(at: &[u8], entries: &[Entry<'_>], at_end: bool) -> Vec<Page> {
    let size = |entry: &Entry<'_>| entry.key.len() + entry.value.len();
    let total: usize = entries.iter().map(size).sum();
    let room = match total >= entries.len() * PACKED_ROW_BYTES {
        true => PACKED_BYTES,
        false => PAGE_BYTES,
    };
    let full = match at_end {
        true => room,
        false => total.div_ceil(total.div_ceil(room).max(1)),
    };
    let mut pages: Vec<Page> = Vec::new();
    let (mut held, mut last) = (full, None);
    for entry in entries {
        if held >= full || (held > 0 && held + size(entry) > room) {
            let key = if pages.is_empty() { at } else { entry.key };
            pages.push(Page {
                key: key.to_vec(),
                bytes: Vec::with_capacity(full),
                rows: 0,
            });
            (held, last) = (0, None);
        }
        if let Some(page) = pages.last_mut() {
            put_row(&mut page.bytes, last, entry);
            page.rows += 1;
        }
        held += size(entry);
        last = Some(entry);
    }
    pages
}

fn put_row(page: &mut Vec<u8>, last: Option<&Entry<'_>>, entry: &Entry<'_>) {
    let behind = last.and_then(|last| last.old).map(|(before, _)| before + 1);
    if let Some((before, row)) = entry.old
        && behind == Some(before)
    {
        return page.extend_from_slice(row);
    }
    let last = last.map_or(&[][..], |last| last.key);
    let both = last.iter().zip(entry.key);
    let shared = both.take_while(|(one, other)| one == other).count();
    put_number(page, shared);
    put_number(page, entry.key.len() - shared);
    put_number(page, entry.value.len());
    page.extend_from_slice(&entry.key[shared..]);
    page.extend_from_slice(entry.value);
}

/// Bits of a number in a byte; the eighth says that more follow.
const BITS: u32 = 7;
const MORE: u8 = 1 << BITS;

fn put_number(page: &mut Vec<u8>, mut number: usize) {
    while number >= usize::from(MORE) {
        page.push((number % usize::from(MORE)) as u8 | MORE);
        number >>= BITS;
    }
    page.push(number as u8);
}

struct Reader<'a> {
    page: &'a [u8],
    at: usize,
}

/// A row as it stands.
struct Row {
    /// Bytes of its key that are those of the key before it.
    shared: usize,
    /// In the page, from, to: the other ones.
    rest: (usize, usize),
    value: (usize, usize),
}

impl<'a> Reader<'a> {
    fn of(page: &'a [u8]) -> Self {
        Self { page, at: 0 }
    }

    /// The next row, unless this is the end; the inner `None` is no row.
    fn row(&mut self) -> Option<Option<Row>> {
        (self.at < self.page.len()).then(|| self.read())
    }

    fn read(&mut self) -> Option<Row> {
        let (shared, rest, value) = (self.number()?, self.number()?, self.number()?);
        Some(Row {
            shared,
            rest: self.bytes(rest)?,
            value: self.bytes(value)?,
        })
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..usize::BITS).step_by(BITS as usize) {
            let byte = *self.page.get(self.at)?;
            self.at += 1;
            number |= usize::from(byte % MORE) << shift;
            if byte < MORE {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<(usize, usize)> {
        let (start, end) = (self.at, self.at.checked_add(length)?);
        self.at = end;
        (end <= self.page.len()).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Map = BTreeMap<Vec<u8>, Vec<u8>>;

    fn rows_of(pages: &[Page]) -> Map {
        let rows = pages
            .iter()
            .flat_map(|page| Rows::of(&page.bytes[..]).unwrap());
        rows.collect()
    }

    fn changed(
        rows: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    ) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        rows.iter().map(|(key, value)| (&key[..], value.as_deref()))
    }

    /// Few keys, so that batches meet; `None` deletes.
    fn batch() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        let key = vec(0_u8..4, 1..6);
        let value = option::weighted(0.8, vec(any::<u8>(), 0..2_000));
        btree_map(key, value, 1..40)
    }

    proptest! {
        /// Whatever is changed, the pages have the rows a map would have, in order, each in its page.
        #[test]
        fn pages_are_a_map(batches in vec(batch(), 1..6)) {
            let (mut pages, mut expected) = (Vec::<Page>::new(), Map::new());
            for batch in &batches {
                let one = one_page(&rows_of(&pages));
                if let Some(with) = Rows::of(&one[..]).unwrap().with(b"", changed(batch)) {
                    pages = with;
                }
                for (key, value) in batch {
                    match value {
                        Some(value) => expected.insert(key.clone(), value.clone()),
                        None => expected.remove(key),
                    };
                }
                prop_assert_eq!(&rows_of(&pages), &expected);
                for (page, next) in pages.iter().zip(pages.iter().skip(1)) {
                    prop_assert!(page.key < next.key);
                    let last = Rows::of(&page.bytes[..]).unwrap().next_back().unwrap().0;
                    prop_assert!(last < next.key);
                }
                for (key, value) in &expected {
                    let page = pages.iter().rev().find(|page| page.key <= *key).unwrap();
                    prop_assert_eq!(super::value(&page.bytes, key).unwrap(), Some(&value[..]));
                }
            }
        }

        #[test]
        fn rubbish_is_refused_or_read_but_never_breaks(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(rows) = Rows::of(&bytes[..]) {
                rows.for_each(drop);
            }
            let _ = value(&bytes, b"key");
            let _ = opened(&bytes);
        }
    }

    fn one_page(rows: &Map) -> Vec<u8> {
        let (mut page, mut last) = (Vec::new(), None);
        for (key, value) in rows {
            let old = None;
            let entry = Entry { key, value, old };
            put_row(&mut page, last.as_ref(), &entry);
            last = Some(entry);
        }
        page
    }

    #[test]
    fn a_page_of_large_rows_is_packed_and_one_of_small_rows_is_not() {
        let closed = |value: &[u8]| {
            let rows = BTreeMap::from([(b"a".to_vec(), Some(value.to_vec()))]);
            let pages = Rows::of(&[][..]).unwrap().with(b"a", changed(&rows));
            let page = pages.unwrap().remove(0);
            let closed = page.closed(&mut Compressor::new(1).unwrap());
            assert_eq!(opened(&closed).unwrap(), page.bytes);
            closed
        };
        assert_eq!(closed(&[7; 100])[0], PLAIN);
        let large = closed(&[7; 4_000]);
        assert_eq!(large[0], PACKED);
        assert!(large.len() < 100);
        assert!(opened(&large[..large.len() - 1]).is_err());
        assert!(opened(&[2, 0]).is_err() && opened(&[]).is_err());
    }

    #[test]
    fn what_changes_nothing_is_no_page_to_write() {
        let page = one_page(&Map::from([(b"a".to_vec(), b"1".to_vec())]));
        let rows = Rows::of(&page[..]).unwrap();
        let same: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"b", None)];
        assert_eq!(rows.with(b"", same.into_iter()), None);
        let gone: [(&[u8], Option<&[u8]>); 1] = [(b"a", None)];
        assert_eq!(rows.with(b"", gone.into_iter()), Some(Vec::new()));
    }

    #[test]
    fn rows_that_come_at_the_end_fill_pages_and_others_leave_room() {
        let rows = |numbers: std::ops::Range<u32>| -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
            let row = |number: u32| (number.to_be_bytes().to_vec(), Some(vec![0; 96]));
            numbers.map(row).collect()
        };
        let (first, more) = (rows(0..40), rows(40..60));
        let page = Rows::of(&[][..]).unwrap().with(b"", changed(&first));
        let page = page.unwrap().remove(0);
        let old = Rows::of(&page.bytes[..]).unwrap();
        let appended = old.with(&page.key, changed(&more)).unwrap();
        let counts = |pages: &[Page]| -> Vec<usize> {
            pages
                .iter()
                .map(|page| Rows::of(&page.bytes[..]).unwrap().count())
                .collect()
        };
        assert_eq!(counts(&appended), [40, 20]);
        let between = BTreeMap::from([(vec![0, 0, 0, 5, 5], Some(vec![0; 400]))]);
        let split = old.with(&page.key, changed(&between)).unwrap();
        assert_eq!(counts(&split), [19, 22]);
    }
}
