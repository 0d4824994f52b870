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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use tar::{EntryType, Header};

    use super::*;
    use crate::bundle::{File, MAX_FILES, MAX_UNPACKED_BYTES};

    /// Members one after the other, and the end.
    #[derive(Clone, Default)]
    struct Tar(Vec<u8>);

    impl Tar {
        fn file(self, name: &str, content: &[u8]) -> Self {
            self.member(b'0', name.as_bytes(), content)
        }

        fn folder(self, name: &str) -> Self {
            self.member(b'5', name.as_bytes(), b"")
        }

        fn member(self, kind: u8, name: &[u8], content: &[u8]) -> Self {
            self.header(kind, name, content.len(), |_| {})
                .content(content)
        }

        fn header(mut self, kind: u8, name: &[u8], size: usize, edit: fn(&mut Header)) -> Self {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(EntryType::new(kind));
            header.set_mode(0o644);
            header.set_size(size as u64);
            edit(&mut header);
            header.set_cksum();
            self.0.extend(header.as_bytes());
            self
        }

        fn content(mut self, content: &[u8]) -> Self {
            self.0.extend(content);
            self.0.resize(self.0.len().next_multiple_of(512), 0);
            self
        }

        fn bytes(mut self, bytes: &[u8]) -> Self {
            self.0.extend(bytes);
            self
        }

        fn end(self) -> Self {
            self.bytes(&[0; 1024])
        }

        fn read(&self) -> Result<Folder, ArchiveRefused> {
            Folder::read_tar(&self.0[..], None)
        }
    }

    fn tar() -> Tar {
        Tar::default()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 1).unwrap()
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.files().map(|(path, _)| path.as_str()).collect()
    }

    #[rstest]
    #[case::parent(tar().file("../x", b"").end(), "\"../x\" is not a file path")]
    #[case::parent_inside(tar().file("a/../../x", b"").end(), "is not a file path")]
    #[case::parent_folder(tar().folder("../x/").end(), "\"../x\" is not a file path")]
    #[case::absolute(tar().file("/etc/passwd", b"").end(), "is not a file path")]
    #[case::absolute_folder(tar().folder("/etc/").end(), "is not a file path")]
    #[case::current_twice(tar().file("././x", b"").end(), "is not a file path")]
    #[case::empty_component(tar().file("a//b", b"").end(), "is not a file path")]
    #[case::no_name(tar().file("", b"").end(), "\"\" is not a file path")]
    #[case::file_like_a_folder(tar().file("a/", b"").end(), "is not a file path")]
    #[case::leading_dash(tar().file("-rf", b"").end(), "is not a file path")]
    #[case::backslash(tar().file("..\\x", b"").end(), "is not a file path")]
    #[case::newline(tar().file("a\nb", b"").end(), "\"a\\nb\" is not a file path")]
    #[case::too_deep(tar().file("1/2/3/4/5/6/7/8/9", b"").end(), "is not a file path")]
    #[case::no_text(tar().member(b'0', b"a\xff", b"").end(), "is not UTF-8")]
    #[case::twice(tar().file("a", b"1").file("a", b"2").end(), "the file a is there twice")]
    #[case::twice_by_spelling(tar().file("a", b"").file("./a", b"").end(), "a is there twice")]
    #[case::case(tar().file("a", b"").file("A", b"").end(), "differ only in case")]
    #[case::file_then_folder(tar().file("a", b"").file("a/b", b"").end(), "a file and a folder")]
    #[case::folder_then_file(tar().folder("a/").file("a", b"").end(), "a file and a folder")]
    #[case::symlink(tar().member(b'2', b"a", b"").end(), "\"a\" is a symbolic link")]
    #[case::hard_link(tar().member(b'1', b"a", b"").end(), "\"a\" is a hard link")]
    #[case::character_device(tar().member(b'3', b"a", b"").end(), "\"a\" is a device")]
    #[case::block_device(tar().member(b'4', b"a", b"").end(), "\"a\" is a device")]
    #[case::fifo(tar().member(b'6', b"a", b"").end(), "\"a\" is a named pipe")]
    #[case::contiguous(tar().member(b'7', b"a", b"").end(), "\"a\" is a contiguous file")]
    #[case::sparse(tar().member(b'S', b"a", b"").end(), "\"a\" is a sparse file")]
    #[case::long_link(tar().member(b'K', b"a", b"x").end(), "\"a\" is a long name of a link")]
    #[case::volume(tar().member(b'V', b"a", b"").end(), "a member of an unknown kind")]
    #[case::solaris_acl(tar().member(b'A', b"a", b"").end(), "a member of an unknown kind")]
    #[case::folder_with_content(tar().member(b'5', b"a/", b"x").end(), "\"a/\" has a content")]
    #[case::pax_sparse(tar().member(b'x', b"p", b"22 GNU.sparse.major=1\n").file("a", b"").end(),
        "pax record \"GNU.sparse.major\"")]
    #[case::pax_size(tar().member(b'x', b"p", b"11 size=10\n").file("a", b"").end(),
        "pax record \"size\"")]
    #[case::pax_link(tar().member(b'x', b"p", b"14 linkpath=x\n").file("a", b"").end(),
        "pax record \"linkpath\"")]
    #[case::pax_twice(tar().member(b'x', b"p", b"9 path=a\n9 path=b\n").file("a", b"").end(),
        "pax record \"path\"")]
    #[case::pax_no_length(tar().member(b'x', b"p", b"path=a\n").file("a", b"").end(),
        "pax record \"path=a\\n\"")]
    #[case::pax_long_length(tar().member(b'x', b"p", b"99 path=a\n").file("a", b"").end(),
        "pax record \"99 path=a\\n\"")]
    #[case::pax_short_length(tar().member(b'x', b"p", b"1 path=a\n").file("a", b"").end(),
        "pax record")]
    #[case::pax_parent(tar().member(b'x', b"p", b"13 path=../x\n").file("a", b"").end(),
        "\"../x\" is not a file path")]
    #[case::pax_for_all(tar().member(b'g', b"p", b"9 path=a\n").file("a", b"").end(),
        "path, for all members")]
    #[case::pax_for_nothing(tar().member(b'x', b"p", b"9 path=a\n").end(), "is not followed by it")]
    #[case::pax_then_gnu(
        tar().member(b'x', b"p", b"9 path=a\n").member(b'L', b"p", b"b\0").file("c", b"").end(),
        "is not followed by it")]
    #[case::gnu_parent(tar().member(b'L', b"p", b"../x\0").file("a", b"").end(),
        "\"../x\" is not a file path")]
    #[case::gnu_for_a_link(tar().member(b'L', b"p", b"x\0").member(b'2', b"a", b"").end(),
        "\"x\" is a symbolic link")]
    #[case::gnu_huge(tar().member(b'L', b"p", &[b'x'; 2_000]).file("a", b"").end(), "more than")]
    #[case::truncated_header(tar().file("a", b"").bytes(&[1; 100]), "ends in the middle")]
    #[case::truncated_content(tar().header(b'0', b"a", 5_000, |_| {}).bytes(b"x"), "ends in the middle")]
    #[case::truncated_padding(tar().header(b'0', b"a", 5, |_| {}).bytes(b"12345"), "ends in the middle")]
    #[case::no_end(tar().file("a", b""), "ends in the middle")]
    #[case::nothing(tar(), "ends in the middle")]
    #[case::concatenated(tar().file("a", b"").end().file("b", b"").end(), "behind the archive's end")]
    #[case::trailing(tar().file("a", b"").end().bytes(b"x"), "behind the archive's end")]
    #[case::no_tar(tar().bytes(&[b'x'; 2_048]), "checksum of a header is wrong")]
    #[case::old_kind(
        tar().header(b'0', b"a", 0, |it| it.as_mut_bytes()[257..265].fill(0)).end(), "of an old kind")]
    #[case::no_size(
        tar().header(b'0', b"a", 0, |it| it.as_old_mut().size = *b"zzzzzzzzzzz\0").end(),
        "size of \"a\" is not a number")]
    #[case::negative_size(
        tar().header(b'0', b"a", 0, |it| it.as_old_mut().size = [0xff; 12]).end(), "bytes when unpacked")]
    #[case::huge_size(
        tar().header(b'0', b"a", 0, |it| it.set_size(u64::MAX / 2)).end(), "bytes when unpacked")]
    fn refuses_a_hostile_archive(#[case] tar: Tar, #[case] reason: &str) {
        let refused = tar.read().unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }

    #[rstest]
    #[case::plain(tar().file("a", b"1").end())]
    #[case::dot(tar().folder("./").file("./a", b"1").end())]
    #[case::padded(tar().file("a", b"1").end().bytes(&[0; 8_192]))]
    #[case::git(tar().member(b'g', b"p", b"14 comment=ab\n").file("a", b"1").end())]
    #[case::pax(tar().member(b'x', b"p", b"9 path=a\n13 mtime=1.5\n").file("b", b"1").end())]
    #[case::mac(tar().member(b'x', b"p", b"23 SCHILY.xattr.a.b=\xff\0\n").file("a", b"1").end())]
    #[case::gnu(tar().member(b'L', b"././@LongLink", b"a\0").file("b", b"1").end())]
    fn takes_what_common_tools_write(#[case] tar: Tar) {
        let folder = tar.read().map_err(|refused| refused.to_string()).unwrap();
        assert_eq!(folder.get("a"), Some(&File::plain("1")));
        assert_eq!(folder.len(), 1);
    }

    #[test]
    fn only_the_executable_bit_of_a_mode_counts() {
        let tar = tar()
            .header(b'0', b"a", 0, |header| header.set_mode(0o4_755))
            .end();
        assert_eq!(tar.read().unwrap().get("a"), Some(&File::executable("")));
    }

    #[test]
    fn bounds_the_number_of_files() {
        let files = (0..=MAX_FILES).fold(tar(), |tar, n| tar.file(&n.to_string(), b""));
        assert_eq!(files.end().read(), Err(ArchiveRefused::TooManyFiles));
    }

    #[test]
    fn bounds_the_bytes_of_all_files() {
        let half = vec![0; MAX_UNPACKED_BYTES / 2];
        let tar = tar().file("a", &half).file("b", &half);
        assert_eq!(
            tar.clone().end().read().unwrap().bytes(),
            MAX_UNPACKED_BYTES
        );
        assert_eq!(
            tar.file("c", b"x").end().read(),
            Err(ArchiveRefused::TooLarge)
        );
    }

    #[test]
    fn a_source_that_never_ends_is_given_up() {
        let bomb = tar().file("a", b"").0;
        let endless = bomb.chain(std::io::repeat(0));
        assert_eq!(
            Folder::read_tar(endless, None),
            Err(ArchiveRefused::TooLarge)
        );
    }

    #[rstest]
    #[case(&["deploy/a", "deploy/lib/b"], &["a", "lib/b"])]
    #[case(&["deploy/a", "b"], &["b", "deploy/a"])]
    #[case(&["deployed/a"], &["deployed/a"])]
    #[case(&["deploy"], &["deploy"])]
    #[case(&["a"], &["a"])]
    fn the_one_folder_all_stand_in_is_left_out(#[case] given: &[&str], #[case] expected: &[&str]) {
        let tar = given
            .iter()
            .fold(tar(), |tar, name| tar.file(name, b""))
            .end();
        let name: Name = "deploy".parse().unwrap();
        let folder = Folder::read_tar(&tar.0[..], Some(&name)).unwrap();
        assert_eq!(names(&folder), expected);
    }

    #[test]
    fn a_listed_folder_is_left_out_too() {
        let tar = tar().folder("./deploy/").file("./deploy/a", b"").end();
        let name: Name = "deploy".parse().unwrap();
        let folder = Folder::read_tar(&tar.0[..], Some(&name)).unwrap();
        assert_eq!(names(&folder), ["a"]);
    }

    #[rstest]
    #[case::no_zstd(b"PK\x03\x04".to_vec(), "not a zstd archive")]
    #[case::nothing(vec![], "ends in the middle")]
    #[case::cut(zstd(&tar().file("a", b"x").end().0)[..40].to_vec(), "ends in the middle")]
    #[case::two_frames([zstd(&tar().file("a", b"").end().0), zstd(b"")].concat(),
        "behind the archive's end")]
    #[case::trailing([zstd(&tar().file("a", b"").end().0), vec![0]].concat(),
        "behind the archive's end")]
    #[case::skippable(b"\x50\x2a\x4d\x18\x00\x00\x00\x00".to_vec(), "ends in the middle")]
    #[case::no_tar(zstd(&[1; 1_024]), "checksum of a header")]
    #[case::bomb(zstd(&tar().header(b'0', b"a", 1 << 30, |_| {}).bytes(&vec![0; 1 << 26]).0),
        "bytes when unpacked")]
    #[case::bomb_of_zeros(zstd(&vec![0; 1 << 26]), "bytes when unpacked")]
    #[case::too_large(vec![0; MAX_PACKED_BYTES + 1], "bytes when packed")]
    fn refuses_a_hostile_compression(#[case] packed: Vec<u8>, #[case] reason: &str) {
        let refused = Folder::unpack(&packed, None).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }

    #[test]
    fn refuses_a_window_that_costs_too_much_memory() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(MAX_WINDOW_LOG + 1).unwrap();
        std::io::Write::write_all(&mut encoder, &tar().file("a", b"").end().0).unwrap();
        let refused = Folder::unpack(&encoder.finish().unwrap(), None).unwrap_err();
        assert!(
            matches!(refused, ArchiveRefused::Compression(_)),
            "{refused}"
        );
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut folder = Folder::default();
        folder
            .insert("a".parse().unwrap(), File::plain("x".repeat(5_000)))
            .unwrap();
        let mut bytes = folder.pack().unwrap().bytes;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let refused = Folder::unpack(&bytes, None).unwrap_err();
        assert!(
            matches!(refused, ArchiveRefused::Compression(_)),
            "{refused}"
        );
    }

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
