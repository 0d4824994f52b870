//! Makes a folder of an archive that anybody may have made: decompresses within bounds, and gives each
//! member its place. Writes nothing; what a member may be is `tar_reader`'s.

use std::io::Read;

use zstd::stream::read::Decoder;

use super::folder::Folder;
use super::pack::MAX_PACKED_BYTES;
use super::refused::ArchiveRefused;
use super::tar_reader::{self, Member};
use crate::file_path::FilePath;
use crate::name::Name;

/// 8 MiB: what zstd's highest ordinary level uses, and what every decoder must offer.
const MAX_WINDOW_LOG: u32 = 23;

impl Folder {
    /// Reads a bundle, or any tar compressed with zstd. Of what `under` means, see [`Folder::read_tar`].
    ///
    /// # Errors
    /// The first thing about it that is not taken.
    pub fn unpack(packed: &[u8], under: Option<&Name>) -> Result<Self, ArchiveRefused> {
        if packed.len() > MAX_PACKED_BYTES {
            return Err(ArchiveRefused::PackedTooLarge);
        }
        let unreadable = |error: std::io::Error| ArchiveRefused::Compression(error.to_string());
        let mut decoder = Decoder::with_buffer(packed)
            .map_err(unreadable)?
            .single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG).map_err(unreadable)?;
        let folder = Self::read_tar(&mut decoder, under).map_err(|refused| match refused {
            ArchiveRefused::Reading(why) => ArchiveRefused::Compression(why),
            other => other,
        })?;
        match decoder.finish() {
            [] => Ok(folder),
            _ => Err(ArchiveRefused::TrailingBytes),
        }
    }

    /// Reads an uncompressed tar up to the source's end; a decompressor may be the source, and needs no
    /// bound of its own.
    ///
    /// Taken are ustar, pax and GNU archives of files and folders. Folders need not be listed; owners,
    /// times and every mode but "may be executed" do not count. If all members stand in one folder of
    /// the name `under`, as in our own downloads, that folder is left out.
    ///
    /// # Errors
    /// The first thing about it that is not taken.
    pub fn read_tar(source: impl Read, under: Option<&Name>) -> Result<Self, ArchiveRefused> {
        let mut members = tar_reader::read(source)?;
        // "./" and "." are the archive's own root.
        members.retain(|member| member.file.is_some() || !matches!(&*member.name, "" | "."));
        if let Some(name) = under {
            leave_out(name, &mut members);
        }
        let mut folder = Self::default();
        let mut folders: Vec<FilePath> = Vec::new();
        for Member { name, file } in members {
            let path: FilePath = name.parse()?;
            match file {
                Some(file) => folder.insert(path, file)?,
                None => folders.push(path),
            }
        }
        match folders
            .into_iter()
            .find(|path| folder.get(path.as_str()).is_some())
        {
            Some(path) => Err(ArchiveRefused::FileAndFolder(path.to_string())),
            None => Ok(folder),
        }
    }
}

fn leave_out(name: &Name, members: &mut Vec<Member>) {
    let inner = |member: &Member| {
        member
            .name
            .strip_prefix(name.as_str())?
            .strip_prefix('/')
            .map(str::to_owned)
    };
    let is_the_folder = |member: &Member| member.file.is_none() && member.name == name.as_str();
    if !members
        .iter()
        .all(|member| is_the_folder(member) || inner(member).is_some())
    {
        return;
    }
    members.retain(|member| !is_the_folder(member));
    for member in members {
        if let Some(inner) = inner(member) {
            member.name = inner;
        }
    }
}

/// What is refused and what is taken, kind by kind: `tests/tests/hostile_archives.rs`.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bundle::File;

    fn any_folder() -> impl Strategy<Value = Folder> {
        let part = "[a-zü. _~%\u{1f600}][a-z0-9ü. _-]{0,120}";
        let path = prop::collection::vec(part, 1..8).prop_map(|parts| parts.join("/"));
        let file = (prop::collection::vec(any::<u8>(), 0..1_500), any::<bool>());
        prop::collection::vec((path, file), 0..12).prop_map(|files| {
            let mut folder = Folder::default();
            for (path, (bytes, executable)) in files {
                if let Ok(path) = path.parse() {
                    // What does not fit beside the others is left out.
                    let _ = folder.insert(path, File { bytes, executable });
                }
            }
            folder
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(folder in any_folder()) {
            let bundle = folder.pack().unwrap();
            let unpacked = Folder::unpack(&bundle.bytes, None).unwrap();
            prop_assert_eq!(&unpacked, &folder);
            prop_assert_eq!(unpacked.pack().unwrap().digest, bundle.digest);
        }

        #[test]
        fn what_is_packed_under_a_name_unpacks_without_it(folder in any_folder()) {
            let name: Name = "x".repeat(60).parse().unwrap();
            let tar = folder.tar(Some(&name));
            prop_assert_eq!(Folder::read_tar(&tar[..], Some(&name)).unwrap(), folder);
        }

        /// Whatever is done to an archive, it is refused or makes a folder within the rules.
        #[test]
        fn a_damaged_archive_never_does_harm(
            folder in any_folder(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ) {
            let mut tar = folder.tar(None);
            for (at, byte) in damage {
                let at = at.index(tar.len());
                tar[at] = byte;
            }
            if let Ok(read) = Folder::read_tar(&tar[..], None) {
                prop_assert!(Folder::unpack(&read.pack().unwrap().bytes, None).is_ok());
            }
        }
    }
}
