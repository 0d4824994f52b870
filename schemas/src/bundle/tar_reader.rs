//! Reads a tar block by block and takes nothing for granted: plain files and folders, names that some
//! header spells out, every byte accounted for up to the end. Writes nothing and follows nothing.
//!
//! The `tar` crate's own iterator is not used: it merges extension headers silently, and stops at the
//! first end it sees. Its header type is.

use std::io::{ErrorKind, Read};

use tar::{EntryType, Header};

use super::folder::{File, MAX_FILES, MAX_UNPACKED_BYTES};
use super::pack::BLOCK;
use super::refused::ArchiveRefused;
use crate::file_path::MAX_PATH_BYTES;
use crate::name::MAX_NAME_CHARS;
use crate::text::shown;

/// Files, and for each its header, a pax header, its record and padding; and what tools append to fill
/// their last 10 KiB.
const MAX_TAR_BYTES: usize = MAX_UNPACKED_BYTES + (MAX_FILES + 20) * 8 * BLOCK;
/// A file's name and that of the folder that all may stand in. What is longer names nothing here.
const MAX_TAR_NAME_BYTES: usize = MAX_PATH_BYTES + MAX_NAME_CHARS + "./".len() + "/".len();
/// Pax records of one member: its name, and what other tools note about times and owners.
const MAX_PAX_BYTES: usize = 16 * 1024;

/// Pax records that say nothing about a member's name, kind or content.
const HARMLESS_RECORDS: [&str; 8] = [
    "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment",
];
/// Beginnings of further ones, as macOS and GNU tar write them.
const HARMLESS_PREFIXES: [&str; 4] = [
    "LIBARCHIVE.creationtime",
    "LIBARCHIVE.xattr.",
    "SCHILY.xattr.",
    "SCHILY.fflags",
];

/// One member as it stands in the archive.
pub(super) struct Member {
    /// Its name as it is spelt there, without `./` in front and `/` behind.
    pub name: String,
    /// Nothing for a folder.
    pub file: Option<File>,
}

/// The members of a tar in its order.
pub(super) fn read(source: impl Read) -> Result<Vec<Member>, ArchiveRefused> {
    let blocks = Blocks {
        source,
        left: MAX_TAR_BYTES,
    };
    let mut reader = Reader {
        blocks,
        announced: None,
        members: Vec::new(),
        files: 0,
    };
    while let Some(header) = reader.blocks.header()? {
        reader.take(&header)?;
    }
    match reader.announced {
        Some(_) => Err(ArchiveRefused::Announcement),
        None => Ok(reader.members),
    }
}

struct Reader<R> {
    blocks: Blocks<R>,
    announced: Option<Announced>,
    members: Vec<Member>,
    files: usize,
}

/// What a header said about the member that must follow it.
struct Announced {
    name: Option<String>,
}

impl<R: Read> Reader<R> {
    fn take(&mut self, header: &Header) -> Result<(), ArchiveRefused> {
        let size = size(header)?;
        match header.entry_type() {
            EntryType::XHeader => {
                let records = self.blocks.content(size, MAX_PAX_BYTES)?;
                self.announce(pax_path(&records)?)
            }
            EntryType::GNULongName => {
                let name = self.blocks.content(size, MAX_TAR_NAME_BYTES + 1)?;
                let name = name.strip_suffix(b"\0").unwrap_or(&name);
                self.announce(Some(utf8(name)?))
            }
            EntryType::XGlobalHeader => {
                match pax_path(&self.blocks.content(size, MAX_PAX_BYTES)?)? {
                    Some(_) => Err(ArchiveRefused::PaxRecord("path, for all members,".into())),
                    None => Ok(()),
                }
            }
            kind => {
                let announced = self.announced.take().and_then(|announced| announced.name);
                let name = announced.map_or_else(|| utf8(&header.path_bytes()), Ok)?;
                self.take_member(header, kind, &name, size)
            }
        }
    }

    fn announce(&mut self, name: Option<String>) -> Result<(), ArchiveRefused> {
        match self.announced.replace(Announced { name }) {
            Some(_) => Err(ArchiveRefused::Announcement),
            None => Ok(()),
        }
    }

    fn take_member(
        &mut self,
        header: &Header,
        kind: EntryType,
        name: &str,
        size: usize,
    ) -> Result<(), ArchiveRefused> {
        let plain = name.strip_prefix("./").unwrap_or(name);
        let member = match kind {
            EntryType::Regular => {
                self.files += 1;
                if self.files > MAX_FILES {
                    return Err(ArchiveRefused::TooManyFiles);
                }
                let bytes = self.blocks.content(size, MAX_UNPACKED_BYTES)?;
                let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
                Member {
                    name: plain.to_owned(),
                    file: Some(File { bytes, executable }),
                }
            }
            EntryType::Directory if size > 0 => {
                return Err(ArchiveRefused::FolderWithContent(shown(name)));
            }
            EntryType::Directory => Member {
                name: plain.strip_suffix('/').unwrap_or(plain).to_owned(),
                file: None,
            },
            kind => {
                return Err(ArchiveRefused::Kind {
                    path: shown(name),
                    kind: kind_name(kind),
                });
            }
        };
        self.members.push(member);
        Ok(())
    }
}

fn kind_name(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "hard link",
        EntryType::Symlink => "symbolic link",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "named pipe",
        EntryType::GNUSparse => "sparse file",
        EntryType::GNULongLink => "long name of a link",
        EntryType::Continuous => "contiguous file",
        _ => "member of an unknown kind",
    }
}

fn size(header: &Header) -> Result<usize, ArchiveRefused> {
    let size = header
        .entry_size()
        .ok()
        .and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| ArchiveRefused::Size(shown(&String::from_utf8_lossy(&header.path_bytes()))))
}

/// The member's name among pax records, if one says it. Records are `<length> <key>=<value>\n`.
fn pax_path(mut records: &[u8]) -> Result<Option<String>, ArchiveRefused> {
    let mut path = None;
    while !records.is_empty() {
        let (key, value, rest) = pax_record(records)
            .ok_or_else(|| ArchiveRefused::PaxRecord(shown(&String::from_utf8_lossy(records))))?;
        let harmless = HARMLESS_RECORDS.contains(&key)
            || HARMLESS_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix));
        match key {
            "path" if path.is_none() => path = Some(utf8(value)?),
            _ if harmless => {}
            _ => return Err(ArchiveRefused::PaxRecord(shown(key))),
        }
        records = rest;
    }
    Ok(path)
}

/// The first record's key and value, and what follows it.
fn pax_record(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = &records[..space];
    if length.len() > 5 || !length.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let key = std::str::from_utf8(&text[..equals]).ok()?;
    Some((key, &text[equals + 1..], rest))
}

fn utf8(name: &[u8]) -> Result<String, ArchiveRefused> {
    match std::str::from_utf8(name) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(ArchiveRefused::PathNotUtf8(shown(
            &String::from_utf8_lossy(name),
        ))),
    }
}

/// A source read in blocks, no further than the largest tar goes.
struct Blocks<R> {
    source: R,
    left: usize,
}

impl<R: Read> Blocks<R> {
    /// The next header; nothing at the archive's end, which is checked to be the source's too.
    fn header(&mut self) -> Result<Option<Header>, ArchiveRefused> {
        let mut header = Header::new_old();
        self.fill(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.only_zeros_are_left()?;
            return Ok(None);
        }
        let mut again = header.clone();
        again.set_cksum();
        if !matches!((header.cksum(), again.cksum()), (Ok(said), Ok(is)) if said == is) {
            return Err(ArchiveRefused::Checksum);
        }
        match header.as_ustar().is_some() || header.as_gnu().is_some() {
            true => Ok(Some(header)),
            false => Err(ArchiveRefused::Format),
        }
    }

    /// A member's content. Memory grows with what arrives, not with what the header claims.
    fn content(&mut self, size: usize, limit: usize) -> Result<Vec<u8>, ArchiveRefused> {
        if size > limit.min(self.left) {
            return Err(ArchiveRefused::TooLarge);
        }
        self.left -= size;
        let mut content = Vec::new();
        let read = self
            .source
            .by_ref()
            .take(size as u64)
            .read_to_end(&mut content);
        read.map_err(|error| refused(&error))?;
        if content.len() < size {
            return Err(ArchiveRefused::Truncated);
        }
        let padding = size.next_multiple_of(BLOCK) - size;
        self.fill(&mut [0; BLOCK][..padding])?;
        Ok(content)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveRefused> {
        self.left = self
            .left
            .checked_sub(buffer.len())
            .ok_or(ArchiveRefused::TooLarge)?;
        self.source
            .read_exact(buffer)
            .map_err(|error| refused(&error))
    }

    fn only_zeros_are_left(&mut self) -> Result<(), ArchiveRefused> {
        let mut rest = [0; BLOCK];
        loop {
            let count = match self.source.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(refused(&error)),
            };
            self.left = self
                .left
                .checked_sub(count)
                .ok_or(ArchiveRefused::TooLarge)?;
            if rest[..count].iter().any(|byte| *byte != 0) {
                return Err(ArchiveRefused::TrailingBytes);
            }
        }
    }
}

fn refused(error: &std::io::Error) -> ArchiveRefused {
    match error.kind() {
        ErrorKind::UnexpectedEof => ArchiveRefused::Truncated,
        _ => ArchiveRefused::Reading(error.to_string()),
    }
}
