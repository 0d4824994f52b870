//! Packs a folder so that the same files give the same bytes, whenever and wherever. Compresses with one
//! thread and pinned parameters; a new version of zstd may still pack differently, and a test notices.

use std::io;

use tar::{EntryType, Header};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, Strategy};

use super::folder::{File, Folder};
use super::refused::ArchiveRefused;
use crate::digest::Digest;
use crate::file_path::FilePath;
use crate::name::Name;

/// The largest bundle: it travels in chunks to every runner of the lane.
pub const MAX_PACKED_BYTES: usize = 10 * 1024 * 1024;

/// What tar counts in.
pub(super) const BLOCK: usize = 512;

/// Everything zstd's level 3 means for large inputs, written out: the level's own table depends on the
/// input's size and may change between versions.
const LEVEL: i32 = 3;
const WINDOW_LOG: u32 = 21;
const CHAIN_LOG: u32 = 16;
const HASH_LOG: u32 = 17;
const SEARCH_LOG: u32 = 1;
const MIN_MATCH: u32 = 5;

/// A packed folder and the digest of its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// Tar, compressed with zstd.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bundle({}, {} bytes)", self.digest, self.bytes.len())
    }
}

impl Folder {
    /// Packs the folder.
    ///
    /// # Errors
    /// When the result is larger than a bundle may be.
    pub fn pack(&self) -> Result<Bundle, ArchiveRefused> {
        let bytes = compressed(&self.tar(None)).map_err(|error| {
            // The input is bounded and in memory, so only memory for the compressor can be missing.
            ArchiveRefused::Compression(error.to_string())
        })?;
        if bytes.len() > MAX_PACKED_BYTES {
            return Err(ArchiveRefused::PackedTooLarge);
        }
        Ok(Bundle {
            digest: Digest::of(&bytes),
            bytes,
        })
    }

    /// The folder as a tar, uncompressed, its files in the archive's root or in a folder of that name.
    /// Files only, sorted; owner, group and times are 0; modes 0644 and 0755.
    pub fn tar(&self, under: Option<&Name>) -> Vec<u8> {
        let mut tar = Vec::with_capacity(self.bytes() + (2 * self.len() + 2) * BLOCK);
        for (path, file) in self.files() {
            append(&mut tar, under, path, file);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        tar
    }
}

fn compressed(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(LEVEL)?;
    let parameters = [
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ChainLog(CHAIN_LOG),
        CParameter::HashLog(HASH_LOG),
        CParameter::SearchLog(SEARCH_LOG),
        CParameter::MinMatch(MIN_MATCH),
        CParameter::Strategy(Strategy::ZSTD_dfast),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(true),
        CParameter::DictIdFlag(false),
    ];
    parameters
        .into_iter()
        .try_for_each(|parameter| compressor.set_parameter(parameter))?;
    compressor.compress(tar)
}

fn append(tar: &mut Vec<u8>, under: Option<&Name>, path: &FilePath, file: &File) {
    let name = match under {
        Some(folder) => format!("{folder}/{path}"),
        None => path.to_string(),
    };
    let mode = if file.executable { 0o755 } else { 0o644 };
    let mut header = header(EntryType::Regular, mode, file.bytes.len());
    if header.set_path(&name).is_err() {
        append_long_name(tar, &name);
        // Readers that know no pax find the member under a name that says so.
        copy_into(&mut header.as_old_mut().name, b"long-name");
    }
    append_member(tar, &mut header, &file.bytes);
}

/// A pax record for a name that a ustar header has no place for.
fn append_long_name(tar: &mut Vec<u8>, name: &str) {
    let record = pax_record("path", name);
    let mut header = header(EntryType::XHeader, 0o644, record.len());
    copy_into(&mut header.as_old_mut().name, b"pax-header");
    append_member(tar, &mut header, record.as_bytes());
}

/// `"<length> <key>=<value>\n"`, the length counting its own digits.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append_member(tar: &mut Vec<u8>, header: &mut Header, content: &[u8]) {
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

fn copy_into(field: &mut [u8; 100], text: &[u8]) {
    field.fill(0);
    field[..text.len()].copy_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, File)]) -> Folder {
        let mut folder = Folder::default();
        for (path, file) in files {
            folder.insert(path.parse().unwrap(), file.clone()).unwrap();
        }
        folder
    }

    fn example() -> [(&'static str, File); 3] {
        [
            ("script.json", File::plain("{}\n")),
            ("run.sh", File::executable("#!/bin/bash\necho '{}'\n")),
            ("lib/größe.txt", File::plain(vec![7; 5_000])),
        ]
    }

    /// If this fails after an update of tar or zstd, bundles packed before and after differ although
    /// their files do not: every unchanged script would look changed. Say so in the release notes.
    #[test]
    fn the_same_files_give_the_same_bytes_for_ever() {
        let bundle = folder(&example()).pack().unwrap();
        assert_eq!(
            bundle.digest.to_string(),
            "sha256:1b96f7a2ba1557ee4f3933e9b806eb33a3297ad861100e1c5752d2fe92e9b568"
        );
    }

    #[test]
    fn the_order_of_insertion_does_not_show() {
        let mut reversed = example();
        reversed.reverse();
        assert_eq!(
            folder(&example()).pack().unwrap(),
            folder(&reversed).pack().unwrap()
        );
    }

    #[test]
    fn what_cannot_be_packed_small_enough_is_refused() {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        let noise: Vec<u8> = noise.take(MAX_PACKED_BYTES + BLOCK).collect();
        let refused = folder(&[("noise", File::plain(noise))]).pack();
        assert_eq!(refused, Err(ArchiveRefused::PackedTooLarge));
    }

    #[test]
    fn a_pax_record_counts_its_own_length() {
        for length in 1..2_000 {
            let record = pax_record("path", &"x".repeat(length));
            let (said, _) = record.split_once(' ').unwrap();
            assert_eq!(said.parse(), Ok(record.len()));
        }
    }

    /// An independent reader sees what we meant.
    #[test]
    fn other_readers_read_it() {
        let long = format!("{}/{}/x", "a".repeat(200), "b".repeat(200));
        let folder = folder(&[("run.sh", File::executable("x")), (&long, File::plain("y"))]);
        let tar = folder.tar(Some(&"deploy".parse().unwrap()));
        let mut archive = tar::Archive::new(&tar[..]);
        let read = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            (
                path,
                entry.header().mode().unwrap(),
                entry.header().mtime().unwrap(),
            )
        });
        let expected = [
            (format!("deploy/{long}"), 0o644, 0),
            ("deploy/run.sh".into(), 0o755, 0),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }
}
