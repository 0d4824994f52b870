//! A backup as it is read: checked as a whole first, then entry by entry, as often as need be. Blocks.

use super::{ArchiveError, FORM, FORMAT, MANIFEST, Manifest, PIECE, seal};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// More than any message of a broker; a hostile size must not be believed.
const ENTRY_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A whole backup: its digest is that at its end.
#[derive(Clone, Debug)]
pub struct Archive {
    path: PathBuf,
    pub manifest: Manifest,
}

/// What follows next in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub stream: String,
    pub part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the stream is; its pieces follow.
    Form(Vec<u8>),
    Piece(Vec<u8>),
}

impl Archive {
    /// Reads the whole file, and says whether it is a backup as it was written.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        seal::check(path)?;
        let mut archive = Self {
            path: path.to_owned(),
            manifest: Manifest::new(String::new(), String::new(), Vec::new()),
        };
        let mut first = None;
        archive.entries(|name, bytes| {
            first = (name == MANIFEST).then(|| bytes.to_vec());
            false
        })?;
        let first = first.ok_or_else(|| archive.content("it does not begin with backup.json"))?;
        let manifest = serde_json::from_slice::<serde_json::Value>(&first);
        let manifest = manifest.map_err(|error| archive.content(error.to_string()))?;
        let found = manifest["format"].as_u64().unwrap_or_default() as u32;
        if found > FORMAT {
            let path = archive.path;
            return Err(ArchiveError::Newer { path, found });
        }
        let manifest = serde_json::from_value(manifest);
        archive.manifest = manifest.map_err(|error| archive.content(error.to_string()))?;
        Ok(archive)
    }

    /// Every entry of the streams, in order, until `take` wants no more (`false`).
    pub fn each(&self, mut take: impl FnMut(Entry) -> bool) -> Result<(), ArchiveError> {
        let mut foreign = None;
        self.entries(|name, bytes| {
            if name == MANIFEST {
                return true;
            }
            match entry(name, bytes) {
                Some(entry) => take(entry),
                None => {
                    foreign = Some(name.to_owned());
                    false
                }
            }
        })?;
        match foreign {
            None => Ok(()),
            Some(name) => Err(self.content(format!("an entry {name:?}"))),
        }
    }

    fn entries(&self, mut take: impl FnMut(&str, &[u8]) -> bool) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::File {
            path: self.path.clone(),
            source,
        };
        let file = File::open(&self.path).map_err(failed)?;
        let decoder = zstd::Decoder::new(file).map_err(failed)?;
        let mut tar = tar::Archive::new(decoder);
        for entry in tar.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            if !entry.header().entry_type().is_file() || entry.size() > ENTRY_MAX_BYTES {
                return Err(self.content("an entry that is no file of a backup"));
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let bytes = whole(&mut entry).map_err(failed)?;
            if !take(&name, &bytes) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn content(&self, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Content {
            path: self.path.clone(),
            what: what.into(),
        }
    }
}

fn whole(entry: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(ENTRY_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn entry(name: &str, bytes: &[u8]) -> Option<Entry> {
    let (stream, part) = name.split_once('/')?;
    let part = match part {
        FORM => Part::Form(bytes.to_vec()),
        piece if piece.starts_with(PIECE) => Part::Piece(bytes.to_vec()),
        _ => return None,
    };
    Some(Entry {
        stream: stream.to_owned(),
        part,
    })
}
