//! One tree of pages on the disk, and what is not there yet: every read sees both. A thread of its own
//! brings the rows over, some times a second, or sooner where many wait.

use super::StoreError;
use super::behind::{self, Behind};
use super::pages;
use super::scan::{Range, Row, Scan, page_of};
use crate::projections::changes::Changes;
use crate::projections::lock;
use bytes::Bytes;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use zstd::bulk::Compressor;

/// The disk with what is behind it. Dropping it brings everything over.
pub struct Disk {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    db: sled::Db,
    waiting: Mutex<Waiting>,
    /// Rows wait, many do, or the disk is closed.
    news: Condvar,
    /// Held while rows are on their way.
    way: Mutex<Compressor<'static>>,
    /// The page that was read last, as the disk has it and opened: rows are often asked for one by one.
    last_read: Mutex<Option<(sled::IVec, Bytes)>>,
}

#[derive(Default)]
struct Waiting {
    rows: Behind,
    closed: bool,
}

/// zstd's first level: rows come by the thousand, and are so much alike that a better search finds little more.
const PACKING: i32 = 1;
/// How long rows wait for others: a write costs as much for one row as for a hundred.
const WAIT: Duration = Duration::from_millis(100);
/// Rows of this weight do not wait for others. The more go together, the fewer pages are written twice: those
/// of an index get rows all over.
const MANY: usize = 8 * 1024 * 1024;
/// Who adds to more than that has to write first: memory does not grow where the disk is slow, or full.
const WAITING_MAX: usize = 2 * MANY;
/// Between two tries to write to a disk that takes nothing.
const DISK_PAUSE: Duration = Duration::from_secs(1);

impl Disk {
    pub fn new(db: sled::Db) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            db,
            waiting: Mutex::default(),
            news: Condvar::new(),
            way: Mutex::new(Compressor::new(PACKING)?),
            last_read: Mutex::default(),
        });
        let of_writer = shared.clone();
        let writer = std::thread::Builder::new().name("projection-rows".to_owned());
        let writer = writer.spawn(move || of_writer.bring_over_until_closed())?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    /// The rows count from here on.
    pub fn add(&self, changes: Changes) {
        let mut waiting = lock(&self.shared.waiting);
        let first = waiting.rows.is_empty();
        waiting.rows.add(changes);
        if first || waiting.rows.weight() > MANY {
            self.shared.news.notify_one();
        }
    }

    /// Brings rows over if too many of them wait.
    pub fn relieve(&self) -> Result<(), StoreError> {
        let weight = lock(&self.shared.waiting).rows.weight();
        if weight > WAITING_MAX {
            self.shared.bring_over()?;
        }
        Ok(())
    }

    /// Brings all over, and has the disk keep it.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared.bring_over()?;
        self.shared.db.flush()?;
        Ok(())
    }

    /// What `read` makes of a row.
    pub fn get<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if let Some(row) = lock(&self.shared.waiting).rows.get(key) {
            return row.map(read).transpose();
        }
        let Some((_, page)) = page_of(&self.shared.db, key)? else {
            return Ok(None);
        };
        let page = self.shared.opened(page)?;
        pages::value(&page, key)?.map(read).transpose()
    }

    /// The rows between two keys, in order, from either end. Those that wait are brought over first.
    pub fn scan(&self, range: Range) -> Box<dyn DoubleEndedIterator<Item = Row> + Send> {
        let (from, to) = (range.0.as_ref(), range.1.as_ref());
        let bounds = (from.map(Vec::as_slice), to.map(Vec::as_slice));
        let waits = lock(&self.shared.waiting).rows.touches(bounds);
        let brought = if waits {
            self.shared.bring_over()
        } else {
            Ok(())
        };
        match brought.and_then(|()| Scan::of(&self.shared.db, range)) {
            Ok(scan) => Box::new(scan),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Shared {
    fn bring_over_until_closed(&self) {
        let mut failed = false;
        while self.wait(failed) {
            let brought = self.bring_over();
            match &brought {
                // Said once: what waits is not lost, and who adds too much is told.
                Err(error) if !failed => {
                    tracing::error!(%error, "the projection cannot be written; trying again");
                }
                Ok(()) if failed => tracing::info!("the projection is written again"),
                _ => {}
            }
            failed = brought.is_err();
        }
        if let Err(error) = self.bring_over() {
            tracing::warn!(%error, "the end of the projection was not written; it is read again from the log");
        }
    }

    /// Until there is something to do; `false` where the disk is closed.
    fn wait(&self, failed: bool) -> bool {
        let mut waiting = lock(&self.waiting);
        let idle = |waiting: &mut Waiting| waiting.rows.is_empty() && !waiting.closed;
        waiting = self
            .news
            .wait_while(waiting, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let pause = if failed { DISK_PAUSE } else { WAIT };
        let few = |waiting: &mut Waiting| {
            let many = waiting.rows.weight() > MANY && !failed;
            !many && !waiting.closed
        };
        let waited = self.news.wait_timeout_while(waiting, pause, few);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !waiting.closed
    }

    /// Writes what waits, all or nothing.
    fn bring_over(&self) -> Result<(), StoreError> {
        let mut way = lock(&self.way);
        let rows = {
            let mut waiting = lock(&self.waiting);
            if waiting.rows.is_empty() {
                return Ok(());
            }
            waiting.rows.leave()
        };
        let written = self.pages_with(&rows, &mut way);
        let written = written.and_then(|batch| Ok(self.db.apply_batch(batch)?));
        let mut waiting = lock(&self.waiting);
        match written {
            Ok(()) => waiting.rows.arrived(),
            Err(_) => waiting.rows.returned(),
        }
        written
    }

    fn opened(&self, page: sled::IVec) -> Result<Bytes, StoreError> {
        let mut last = lock(&self.last_read);
        // While we hold it, no other page has its place in memory.
        let known = last
            .as_ref()
            .filter(|(closed, _)| std::ptr::eq(&closed[..], &page[..]));
        if let Some((_, opened)) = known {
            return Ok(opened.clone());
        }
        let opened = pages::opened(&page)?;
        *last = Some((page, opened.clone()));
        Ok(opened)
    }

    /// What becomes of the pages with these rows in them. Whoever asks holds `way`.
    fn pages_with(
        &self,
        rows: &behind::Rows,
        packing: &mut Compressor<'_>,
    ) -> Result<sled::Batch, StoreError> {
        let mut batch = sled::Batch::default();
        let mut rows = rows.iter().peekable();
        while let Some((key, _)) = rows.peek() {
            let (at, page) = match page_of(&self.db, key)? {
                Some((at, page)) => (at, pages::opened(&page)?),
                None => (sled::IVec::from(&key[..]), Bytes::new()),
            };
            let next = self.db.get_gt(&at)?.map(|(next, _)| next);
            let is_here = |key: &[u8]| next.as_ref().is_none_or(|next| key < next.as_ref());
            let changed = std::iter::from_fn(|| rows.next_if(|(key, _)| is_here(key)));
            let changed = changed.map(|(key, value)| (&key[..], value.as_deref()));
            let old = pages::Rows::of(page)?;
            let Some(pages) = old.with(&at, changed) else {
                continue;
            };
            if pages.is_empty() {
                batch.remove(at);
            }
            for page in pages {
                let closed = page.closed(packing);
                batch.insert(page.key, closed);
            }
        }
        Ok(batch)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&self.shared.waiting).closed = true;
        self.shared.news.notify_one();
        if let Some(writer) = self.writer.take() {
            // It does not panic; if it did, what it had not written is read again.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Bound;

    fn disk(folder: &tempfile::TempDir) -> Disk {
        Disk::new(sled::open(folder.path().join("rows")).unwrap()).unwrap()
    }

    fn row(disk: &Disk, key: &str) -> Option<String> {
        let row = disk.get(key.as_bytes(), |row| {
            Ok(String::from_utf8_lossy(row).into_owned())
        });
        row.unwrap()
    }

    fn put(disk: &Disk, key: &str, value: &str) {
        let mut changes = Changes::default();
        changes.put(key.as_bytes().to_vec(), &value);
        disk.add(changes);
    }

    #[test]
    fn rows_count_at_once_and_are_on_the_disk_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let first = disk(&folder);
        put(&first, "a", "1");
        put(&first, "b", "1");
        let mut changes = Changes::default();
        changes.delete(b"b".to_vec());
        first.add(changes);
        assert_eq!(row(&first, "a").as_deref(), Some("\"1\""));
        assert_eq!(row(&first, "b"), None);
        let keys = first.scan((Bound::Included(b"a".to_vec()), Bound::Unbounded));
        assert_eq!(keys.map(|row| row.unwrap().0).collect::<Vec<_>>(), [b"a"]);
        put(&first, "c", "1");
        drop(first);
        let second = disk(&folder);
        assert_eq!(row(&second, "a").as_deref(), Some("\"1\""));
        assert_eq!(row(&second, "b"), None);
        assert_eq!(row(&second, "c").as_deref(), Some("\"1\""));
    }

    /// Rows in order, of a size of which forty fill a page.
    fn put_many(disk: &Disk, numbers: std::ops::Range<u32>) {
        for number in numbers {
            put(disk, &format!("{number:04}"), &"x".repeat(96));
        }
        disk.flush().unwrap();
    }

    #[test]
    fn a_walk_gives_each_row_once_while_its_pages_are_divided() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(&folder);
        put_many(&disk, 0..100);
        let range = |from: &str| (Bound::Included(from.into()), Bound::Unbounded);
        let (mut up, mut down) = (disk.scan(range("0000")), disk.scan(range("0000")).rev());
        let mut walked = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            walked[0].push(up.next().unwrap().unwrap().0);
            walked[1].push(down.next().unwrap().unwrap().0);
        }
        for number in 0..100 {
            put(&disk, &format!("{number:04}+"), &"y".repeat(500));
        }
        disk.flush().unwrap();
        walked[0].extend(up.map(|row| row.unwrap().0));
        walked[1].extend(down.map(|row| row.unwrap().0));
        walked[1].reverse();
        for walked in walked {
            assert!(walked.is_sorted_by(|one, next| one < next));
            let old = walked.iter().filter(|key| key.len() == 4);
            assert_eq!(old.count(), 100);
        }
        let some = disk.scan((
            Bound::Excluded("0041+".into()),
            Bound::Excluded("0043".into()),
        ));
        let some: Vec<_> = some.map(|row| row.unwrap().0).collect();
        assert_eq!(some, [b"0042".to_vec(), b"0042+".to_vec()]);
    }

    #[test]
    fn who_adds_too_much_has_it_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(&folder);
        let value = "x".repeat(1024 * 1024);
        for number in 0..40 {
            put(&disk, &number.to_string(), &value);
            disk.relieve().unwrap();
            assert!(lock(&disk.shared.waiting).rows.weight() <= WAITING_MAX);
        }
        assert!(row(&disk, "0").is_some() && row(&disk, "39").is_some());
    }
}
