//! A script's folder: in memory, packed into one deterministic archive, read back from archives that
//! anybody may have made, written to and read from a directory. Fetches and stores nothing elsewhere.

mod directory;
mod folder;
mod pack;
mod refused;
mod tar_reader;
mod unpack;

pub use directory::{DirectoryFailed, SKIPPED_NAMES};
pub use folder::{File, Folder, MAX_FILES, MAX_UNPACKED_BYTES};
pub use pack::{Bundle, MAX_PACKED_BYTES};
pub use refused::ArchiveRefused;
