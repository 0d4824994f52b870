//! A stream, or what a filter takes of it, page by page up to a message that is known to be there. One
//! page is in memory at a time.

use super::AppError;
use events::log::{Log, Stored};
use events::subject::Stream;
use std::sync::Arc;
use std::time::Duration;

/// Everything in a stream.
pub const ALL: &str = ">";
/// How often a page is read again that ends too early: what answers may be a little behind the
/// stream's leader.
const READS: usize = 20;
/// Between two such reads.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// The pages still to be read.
pub struct Pages {
    log: Arc<dyn Log>,
    stream: Stream,
    filter: String,
    next: u64,
    until: u64,
    at_once: usize,
}

impl Pages {
    /// From the beginning up to the sequence `until`, `at_once` messages at most in one page.
    pub fn new(
        log: Arc<dyn Log>,
        stream: Stream,
        filter: impl Into<String>,
        until: u64,
        at_once: usize,
    ) -> Self {
        Self {
            log,
            stream,
            filter: filter.into(),
            next: 1,
            until,
            at_once,
        }
    }

    /// From this sequence on.
    pub fn from(self, sequence: u64) -> Self {
        Self {
            next: sequence,
            ..self
        }
    }

    /// The next page; none after the last one.
    ///
    /// # Errors
    /// When the broker does not answer, or does not give the last message though it is there.
    pub async fn next(&mut self) -> Result<Option<Vec<Stored>>, AppError> {
        for _ in 0..READS {
            if self.next > self.until {
                return Ok(None);
            }
            let page = self
                .log
                .page(self.stream, &self.filter, self.next, self.at_once);
            let mut page = page.await?;
            if let Some(last) = page.last() {
                self.next = last.sequence + 1;
                page.retain(|message| message.sequence <= self.until);
                return Ok(Some(page));
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
        Err(AppError::BehindTheLog)
    }
}
