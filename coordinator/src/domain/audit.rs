//! Why a question about the past cannot be answered.

use events::subject::Stream;
use events::{RunId, Timestamp};
use schemas::Name;

/// A question that has no answer as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditRejection {
    /// 409: numbers of one stream mean nothing in another.
    #[error(
        "The position is of another stream {}: this one was made later, or elsewhere. Begin again without a position",
        stream.name()
    )]
    OtherStream { stream: Stream },
    /// 409: as after the restore of an older backup.
    #[error(
        "The position is ahead of {}: it says {sequence}, and the stream ends at {last}. Was an older backup restored? Begin again without a position",
        stream.name()
    )]
    Ahead {
        stream: Stream,
        sequence: u64,
        last: u64,
    },
    /// 404
    #[error("{} has no event {sequence}; {}", stream.name(), There { first: *first, last: *last })]
    NoEvent {
        stream: Stream,
        sequence: u64,
        first: u64,
        last: u64,
    },
    /// 410: what is left of it is its summary.
    #[error(
        "Run {run_id} ended at {ended_at}; its steps, parameters, output and result were kept as long as RUNS keeps them, and are gone. What is left is its summary"
    )]
    RunGone { run_id: RunId, ended_at: Timestamp },
    /// 404
    #[error("Nothing is known of a script or an agent {name}, and no run of one was ever recorded")]
    NothingNamed { name: Name },
    /// 404
    #[error("Nothing is known of {topic}")]
    NothingKnown { topic: String },
    /// 404
    #[error(
        "{digest} is no digest of a version that is known here, nor of one that ever ran, and none begins like this; at least 6 of its digits are needed"
    )]
    NothingWithDigest { digest: String },
    /// 400
    #[error("Several digests begin with {digest}; give more of it")]
    SeveralDigests { digest: String },
}

/// The sequences of a stream, as a sentence ends with them.
struct There {
    first: u64,
    last: u64,
}

impl std::fmt::Display for There {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.last < self.first {
            true => f.write_str("it has none"),
            false => write!(f, "it has {} to {}", self.first, self.last),
        }
    }
}
