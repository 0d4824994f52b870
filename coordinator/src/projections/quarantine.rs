//! Why a stored message is not applied. Such messages are counted, told and skipped.

use events::envelope::Unreadable;
use events::run::Illegal;

/// A message that cannot be what it claims.
#[derive(Debug, thiserror::Error)]
pub enum Quarantine {
    #[error("its subject is none of ours")]
    Subject,
    #[error("it is not a readable event: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("its subject is about something else than its content")]
    Mismatch,
    #[error("it does not follow the message before it in the hash chain")]
    Chain,
    #[error("it is a change that only a newer coordinator can read")]
    Newer,
    #[error("this writer may not append this step")]
    Writer,
    #[error("the run was requested already")]
    RequestedTwice,
    #[error("no such run was requested")]
    UnknownRun,
    #[error("the run's end has a summary already")]
    SummarisedTwice,
    #[error(transparent)]
    Illegal(#[from] Illegal),
    #[error("the state it claims is not the one its step leads to")]
    ClaimedState,
}
