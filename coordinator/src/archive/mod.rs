//! The form of a backup: one file, a tar compressed with zstd, sealed with the digest of all that comes
//! before its end, so that one that was cut off or changed is known before anything is done with it.
//! `zstd` and `tar` read it too.
//!
//! It knows nothing of brokers: pieces of streams are bytes here.

mod read;
mod seal;
mod write;

pub use read::{Archive, Entry, Part};
pub use write::Writer;

use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// Grows when an older program could not read the file any more.
const FORMAT: u32 = 1;
/// What comes first in the file.
const MANIFEST: &str = "backup.json";
/// What comes first of each stream.
const FORM: &str = "stream.json";
/// How all else of a stream is named: counted, so that `tar` lists the pieces in order.
const PIECE: &str = "piece-";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the coordinator that wrote it.
    pub coordinator: String,
    /// Of the broker it was taken from; an older one may not take it back.
    pub broker: String,
    pub taken_at: String,
    /// In the order in which they follow.
    pub streams: Vec<String>,
}

impl Manifest {
    pub fn new(broker: String, taken_at: String, streams: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            coordinator: env!("CARGO_PKG_VERSION").to_owned(),
            broker,
            taken_at,
            streams,
        }
    }
}

/// A file that is no backup that we can use.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is no backup of a coordinator", .0.display())]
    Foreign(PathBuf),
    #[error("{} is cut off: its end is missing. Nothing was done with it; take the backup again, or copy it again", .0.display())]
    CutOff(PathBuf),
    #[error("{} was changed since it was written: its content does not have the digest at its end. Nothing was done with it", .0.display())]
    Changed(PathBuf),
    #[error("{} has the form {found}, and this coordinator {} knows forms up to {FORMAT}; use a newer one", path.display(), env!("CARGO_PKG_VERSION"))]
    Newer { path: PathBuf, found: u32 },
    #[error("{} holds what no backup holds: {what}", path.display())]
    Content { path: PathBuf, what: String },
}

#[cfg(test)]
mod tests;
