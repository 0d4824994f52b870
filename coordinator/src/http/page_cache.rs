//! Pages of runs as they were sent, for as long as no run changes: whoever watches a list asks for the
//! same page again and again. What a page is made of is not known here.

use axum::body::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Pages by their addresses.
#[derive(Debug, Default)]
pub struct PageCache(Mutex<HashMap<String, Kept>>);

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPage {
    /// JSON.
    pub body: Bytes,
    /// The address of the next one.
    pub next: Option<String>,
}

#[derive(Debug)]
struct Kept {
    revision: u64,
    page: SentPage,
}

/// More watchers than a coordinator has; beyond them all are forgotten.
const PAGES_MAX: usize = 64;
/// A longer page is not kept, so that all together take 16 MiB at most.
const BYTES_MAX: usize = 256 * 1024;

impl PageCache {
    /// The page, if nothing has changed since.
    pub fn get(&self, address: &str, revision: u64) -> Option<SentPage> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = pages.get(address)?;
        (kept.revision == revision).then(|| kept.page.clone())
    }

    /// `revision` is of before the page was read.
    pub fn keep(&self, address: &str, revision: u64, page: &SentPage) {
        if page.body.len() > BYTES_MAX {
            return;
        }
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES_MAX && !pages.contains_key(address) {
            pages.clear();
        }
        let page = page.clone();
        pages.insert(address.to_owned(), Kept { revision, page });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: usize) -> SentPage {
        let (body, next) = (Bytes::from(vec![b' '; bytes]), None);
        SentPage { body, next }
    }

    #[test]
    fn a_page_is_good_until_something_changes() {
        let cache = PageCache::default();
        cache.keep("/runs", 7, &page(1));
        assert_eq!(cache.get("/runs", 7), Some(page(1)));
        assert_eq!(cache.get("/runs", 8), None);
        assert_eq!(cache.get("/runs?limit=1", 7), None);
        cache.keep("/runs", 8, &page(2));
        assert_eq!(cache.get("/runs", 8), Some(page(2)));
    }

    #[test]
    fn neither_many_pages_nor_long_ones_are_kept() {
        let cache = PageCache::default();
        cache.keep("/runs", 1, &page(BYTES_MAX + 1));
        assert_eq!(cache.get("/runs", 1), None);
        for number in 0..1_000 {
            cache.keep(&format!("/runs?cursor={number}"), 1, &page(1));
        }
        assert!(cache.0.lock().unwrap().len() <= PAGES_MAX);
        assert_eq!(cache.get("/runs?cursor=999", 1), Some(page(1)));
    }
}
