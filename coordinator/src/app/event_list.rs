//! Single events of a stream.

use super::stored_event::StoredEvent;
use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use events::subject::Stream;

impl App {
    /// The event with this sequence.
    pub async fn event(&self, stream: Stream, sequence: u64) -> Result<StoredEvent, AppError> {
        let log = &self.0.broker.log;
        let page = log.page(stream, stream.subjects(), sequence, 1).await?;
        let found = page.into_iter().find(|found| found.sequence == sequence);
        if let Some(stored) = found {
            return Ok(StoredEvent::of(stream, stored));
        }
        let bounds = log.bounds(stream).await?;
        Err(Rejection::from(AuditRejection::NoEvent {
            stream,
            sequence,
            first: bounds.first_sequence,
            last: bounds.last_sequence,
        })
        .into())
    }
}
