//! What can go wrong with a use case, told apart by what the caller can do about it.

use super::room::Tight;
use crate::domain::Rejection;
use crate::projections::{OpenError, StoreError};
use events::log::jetstream::{QueueError, StorageError};
use events::log::{AppendError, BundleError, ReadError};

/// A use case that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The caller's to change.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// 503: nothing is known to be stored.
    #[error(
        "The broker does not answer, so nothing is known to be stored. Try again in a few seconds; GET /status shows when it is back"
    )]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 507: the broker has no room.
    #[error("The broker has no room left, so nothing was stored")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 507: what is left is for the runs at work.
    #[error("{}", nearly_full(.0))]
    NearlyFull(Tight),
    /// 409: a decision would rest on less than there is.
    #[error(
        "A newer coordinator has made a change (CATALOG {sequence}) that this one cannot read, so this one changes nothing any more. Ask the newer one, or upgrade this one"
    )]
    Outdated { sequence: u64 },
    /// 503: stored, but our own view has not caught up.
    #[error(
        "The change is stored, but this coordinator has not seen it yet. Do not repeat it: read again in a few seconds"
    )]
    Behind,
    /// 503: what answered does not have yet what the stream's leader has.
    #[error(
        "The broker does not give all that is stored yet. Nothing is lost: try again in a few seconds"
    )]
    BehindTheLog,
    /// 503: others were faster every time.
    #[error("Others changed the catalogue {tries} times in between; nothing was stored. Try again")]
    Contended { tries: u32 },
    /// 500
    #[error("An error inside the coordinator; its log says more")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn nearly_full(tight: &Tight) -> String {
    let Tight {
        percent,
        bytes,
        max_bytes,
        ..
    } = tight;
    let what = tight.stream.map_or_else(
        || "The broker's account".to_owned(),
        |name| format!("The stream {name}"),
    );
    format!(
        "{what} is {percent} % full ({bytes} of {max_bytes} bytes), and the rest is for the runs at work: no new run was requested"
    )
}

impl AppError {
    pub(super) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }
}

impl From<OpenError> for AppError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Read(error) => error.into(),
            OpenError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

impl From<QueueError> for AppError {
    fn from(error: QueueError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<StorageError> for AppError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable { .. } | StorageError::NoJetStream { .. } => {
                Self::Unavailable(Box::new(error))
            }
            StorageError::Refused { .. } => Self::Internal(Box::new(error)),
        }
    }
}

impl From<AppendError> for AppError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unavailable { .. } => Self::Unavailable(Box::new(error)),
            AppendError::Full { .. } => Self::Full(Box::new(error)),
            AppendError::Refused { .. } | AppendError::Conflict { .. } => {
                Self::Internal(Box::new(error))
            }
        }
    }
}

impl From<ReadError> for AppError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable { .. } => Self::Unavailable(Box::new(error)),
            ReadError::Refused { .. } => Self::Internal(Box::new(error)),
        }
    }
}

impl From<BundleError> for AppError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Unavailable(_)
            | BundleError::NotStored(..)
            | BundleError::NotCollected(_) => Self::Unavailable(Box::new(error)),
            BundleError::Missing(_) | BundleError::Changed { .. } | BundleError::TooLarge(..) => {
                Self::Internal(Box::new(error))
            }
        }
    }
}
