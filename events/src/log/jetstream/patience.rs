//! How long the broker is waited for, and what is asked again meanwhile.
//!
//! A cluster that lost its leader is silent for up to 6 s, and a starved disk for some too; less
//! patience would turn that into errors. What is safe to repeat for appends stands in `append`.

use super::connection::Connection;
use crate::log::ReadError;
use async_nats::jetstream::context;
use async_nats::{RequestError, RequestErrorKind};
use std::error::Error;
use std::time::Duration;
use tokio::time::Instant;

/// How long the same thing is asked again while the broker does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// Between two tries while streams have no leader yet.
pub(super) const NO_LEADER_PAUSE: Duration = Duration::from_millis(100);
/// Answers that say "not now": no leader, shutting down, not ready.
pub(super) const NOT_NOW: [u32; 4] = [10008, 10009, 10074, 10076];

/// Why one try of a read brought nothing.
pub(super) enum Unread {
    /// Nothing came in the time that one answer may take.
    Silent,
    /// The broker cannot say yet, or nobody listens there.
    NotNow,
    Failed(ReadError),
}

/// One read, asked again and again.
pub(super) struct Patience<'a> {
    connection: &'a Connection,
    stream: &'static str,
    begun: Instant,
}

impl<'a> Patience<'a> {
    /// Begins once something can be sent.
    pub(super) async fn begin(
        connection: &'a Connection,
        stream: &'static str,
    ) -> Result<Self, ReadError> {
        let patience = Self {
            connection,
            stream,
            begun: Instant::now(),
        };
        patience.sendable().await?;
        Ok(patience)
    }

    /// Returns when it is time for another try, or why there is none: an answer that stands,
    /// patience at its end, or a link that was down for as long as one answer may take.
    pub(super) async fn again(&self, why: Unread) -> Result<(), ReadError> {
        let pause = match why {
            Unread::Failed(error) => return Err(error),
            Unread::Silent => Duration::ZERO,
            Unread::NotNow => NO_LEADER_PAUSE,
        };
        if self.begun.elapsed() + pause >= PATIENCE {
            return Err(self.unavailable());
        }
        tokio::time::sleep(pause).await;
        self.sendable().await
    }

    async fn sendable(&self) -> Result<(), ReadError> {
        match self.connection.can_send().await {
            true => Ok(()),
            false => Err(self.unavailable()),
        }
    }

    fn unavailable(&self) -> ReadError {
        ReadError::Unavailable {
            stream: self.stream,
        }
    }
}

/// A moment in which nobody listens to the broker's API, as while it reads its users anew: every
/// runner that joins an embedded broker brings one.
pub(super) struct Moment(Instant);

/// Far longer than a server takes to read its settings; who has no JetStream is told after it.
const MOMENT: Duration = Duration::from_secs(2);

impl Moment {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Whether that is what went wrong; then waits before another try.
    pub(super) async fn passes(&self, error: &(dyn Error + Send + Sync + 'static)) -> bool {
        let passes = nobody_listens(error) && self.0.elapsed() < MOMENT;
        if passes {
            tokio::time::sleep(NO_LEADER_PAUSE).await;
        }
        passes
    }
}

/// Errors of the client tell it by their kind, and often have it as their cause only.
fn nobody_listens(error: &(dyn Error + 'static)) -> bool {
    let is = error.downcast_ref::<RequestError>().map(RequestError::kind)
        == Some(RequestErrorKind::NoResponders)
        || error
            .downcast_ref::<context::RequestError>()
            .map(context::RequestError::kind)
            == Some(context::RequestErrorKind::NoResponders)
        || error
            .downcast_ref::<context::PublishError>()
            .map(context::PublishError::kind)
            == Some(context::PublishErrorKind::StreamNotFound)
        || error
            .downcast_ref::<context::ConsumerInfoError>()
            .map(context::ConsumerInfoError::kind)
            == Some(context::ConsumerInfoErrorKind::NoResponders);
    is || error.source().is_some_and(nobody_listens)
}

/// What a request that got no answer means for a read.
pub(super) fn unread(stream: &'static str, error: &RequestError) -> Unread {
    match error.kind() {
        RequestErrorKind::TimedOut => Unread::Silent,
        RequestErrorKind::NoResponders => Unread::NotNow,
        _ => Unread::Failed(ReadError::Unavailable { stream }),
    }
}
