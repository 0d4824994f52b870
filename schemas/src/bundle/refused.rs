//! Why a folder or an archive is refused, one reason each. Raises nothing itself.

use super::folder::{MAX_FILES, MAX_UNPACKED_BYTES};
use super::pack::MAX_PACKED_BYTES;
use crate::file_path::FilePath;
use crate::text::InvalidName;

/// A folder, or an archive of one, that is refused. Paths from outside are shown escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveRefused {
    /// More files than a script has.
    #[error("more than {MAX_FILES} files; leave out what the script does not need")]
    TooManyFiles,
    /// Too large when unpacked.
    #[error("more than {MAX_UNPACKED_BYTES} bytes when unpacked; fetch large files in the script")]
    TooLarge,
    /// Too large when packed.
    #[error("more than {MAX_PACKED_BYTES} bytes when packed; fetch large files in the script")]
    PackedTooLarge,
    /// A name that is no plain relative path.
    #[error(transparent)]
    Path(#[from] InvalidName),
    /// A name that is not UTF-8.
    #[error("the file name {0} is not UTF-8; rename it")]
    PathNotUtf8(String),
    /// One file twice.
    #[error("the file {0} is there twice")]
    Duplicate(FilePath),
    /// Two names that are one on some file systems.
    #[error(
        "{one:?} and {other:?} differ only in case, and not every file system tells them apart"
    )]
    CaseConflict {
        /// One name.
        one: String,
        /// The other one.
        other: String,
    },
    /// A file where other files need a folder.
    #[error("{0:?} is a file and a folder at once")]
    FileAndFolder(String),
    /// The file to run is not there.
    #[error("script_file {0} is not among the files; add it or correct script_file")]
    MissingScriptFile(FilePath),
    /// Not zstd, damaged, or made with a window larger than 8 MiB.
    #[error("it is not a zstd archive we can read: {0}")]
    Compression(String),
    /// It ends too early.
    #[error("it ends in the middle; send it again")]
    Truncated,
    /// Something stands behind its end.
    #[error("something stands behind the archive's end; send one archive and nothing else")]
    TrailingBytes,
    /// A header is damaged.
    #[error("the checksum of a header is wrong, so it is damaged or no tar archive")]
    Checksum,
    /// Neither ustar, pax nor GNU.
    #[error("it is a tar of an old kind; make it with the formats ustar, pax or gnu")]
    Format,
    /// A size that is no number.
    #[error("the size of {0} is not a number")]
    Size(String),
    /// A member that carries bytes and must not.
    #[error("the folder {0} has a content")]
    FolderWithContent(String),
    /// Neither a file nor a folder.
    #[error("{path} is a {kind}; only files and folders are taken")]
    Kind {
        /// The member.
        path: String,
        /// What it is, as `symbolic link`.
        kind: &'static str,
    },
    /// A pax record that changes what a member is, or that is malformed.
    #[error("the pax record {0} is not taken; make the archive without it")]
    PaxRecord(String),
    /// A header about the next member without a next member, or two that contradict each other.
    #[error("a header that announces a member is not followed by it")]
    Announcement,
    /// Reading the source failed.
    #[error("reading it failed: {0}")]
    Reading(String),
}
