//! Tar archives, made by hand: what common tools write, and what nobody should take.

use schemas::bundle::{MAX_FILES, MAX_UNPACKED_BYTES};
use tar::{EntryType, Header};

/// Members one after the other, and the end.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// A script that would be taken, without the archive's end: so what is added to it is the
    /// only reason to refuse the whole.
    pub fn script(name: &str) -> Self {
        let document =
            format!(r#"{{"name": "{name}", "description": "", "script_file": "run.sh"}}"#);
        Self::default()
            .file("script.json", document.as_bytes())
            .file("run.sh", b"true\n")
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(b'0', name.as_bytes(), content)
    }

    pub fn folder(self, name: &str) -> Self {
        self.member(b'5', name.as_bytes(), b"")
    }

    /// A member of that type flag.
    pub fn member(self, kind: u8, name: &[u8], content: &[u8]) -> Self {
        self.header(kind, name, content.len(), |_| {})
            .content(content)
    }

    /// A header alone, changed before its checksum is taken.
    pub fn header(mut self, kind: u8, name: &[u8], size: usize, edit: fn(&mut Header)) -> Self {
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

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn end(self) -> Self {
        self.bytes(&[0; 1024])
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
}

/// An archive with one thing about it that is not taken.
pub struct Hostile {
    pub kind: &'static str,
    pub tar: Vec<u8>,
    /// Part of what the refusal says.
    pub reason: &'static str,
}

type Case = (&'static str, Tar, &'static str);

/// The script's name in all of them is `name`.
pub fn hostile(name: &str) -> Vec<Hostile> {
    let script = || Tar::script(name);
    let cases = [
        names(script),
        members(script),
        announcements(script),
        ends(script),
        sizes(script),
    ];
    let hostile = |(kind, Tar(tar), reason)| Hostile { kind, tar, reason };
    cases.into_iter().flatten().map(hostile).collect()
}

/// Names that no file of a script has, and names that are one.
fn names(script: impl Fn() -> Tar) -> Vec<Case> {
    vec![
        (
            "parent",
            script().file("../x", b"").end(),
            "\"../x\" is not a file path",
        ),
        (
            "parent inside",
            script().file("a/../../x", b"").end(),
            "is not a file path",
        ),
        (
            "parent folder",
            script().folder("../x/").end(),
            "\"../x\" is not a file path",
        ),
        (
            "absolute",
            script().file("/etc/passwd", b"").end(),
            "is not a file path",
        ),
        (
            "absolute folder",
            script().folder("/etc/").end(),
            "is not a file path",
        ),
        (
            "current twice",
            script().file("././x", b"").end(),
            "is not a file path",
        ),
        (
            "empty component",
            script().file("a//b", b"").end(),
            "is not a file path",
        ),
        (
            "no name",
            script().file("", b"").end(),
            "\"\" is not a file path",
        ),
        (
            "file like a folder",
            script().file("a/", b"").end(),
            "is not a file path",
        ),
        (
            "leading dash",
            script().file("-rf", b"").end(),
            "is not a file path",
        ),
        (
            "backslash",
            script().file("..\\x", b"").end(),
            "is not a file path",
        ),
        (
            "newline",
            script().file("a\nb", b"").end(),
            "\"a\\nb\" is not a file path",
        ),
        (
            "too deep",
            script().file("1/2/3/4/5/6/7/8/9", b"").end(),
            "is not a file path",
        ),
        (
            "no text",
            script().member(b'0', b"a\xff", b"").end(),
            "is not UTF-8",
        ),
        (
            "twice",
            script().file("a", b"1").file("a", b"2").end(),
            "the file a is there twice",
        ),
        (
            "twice by spelling",
            script().file("a", b"").file("./a", b"").end(),
            "a is there twice",
        ),
        (
            "case",
            script().file("a", b"").file("A", b"").end(),
            "differ only in case",
        ),
        (
            "file then folder",
            script().file("a", b"").file("a/b", b"").end(),
            "a file and a folder",
        ),
        (
            "folder then file",
            script().folder("a/").file("a", b"").end(),
            "a file and a folder",
        ),
    ]
}

/// Members that are neither files nor folders.
fn members(script: impl Fn() -> Tar) -> Vec<Case> {
    vec![
        (
            "symlink",
            script().member(b'2', b"a", b"").end(),
            "\"a\" is a symbolic link",
        ),
        (
            "hard link",
            script().member(b'1', b"a", b"").end(),
            "\"a\" is a hard link",
        ),
        (
            "character device",
            script().member(b'3', b"a", b"").end(),
            "\"a\" is a device",
        ),
        (
            "block device",
            script().member(b'4', b"a", b"").end(),
            "\"a\" is a device",
        ),
        (
            "fifo",
            script().member(b'6', b"a", b"").end(),
            "\"a\" is a named pipe",
        ),
        (
            "contiguous",
            script().member(b'7', b"a", b"").end(),
            "\"a\" is a contiguous file",
        ),
        (
            "sparse",
            script().member(b'S', b"a", b"").end(),
            "\"a\" is a sparse file",
        ),
        (
            "long link",
            script().member(b'K', b"a", b"x").end(),
            "\"a\" is a long name of a link",
        ),
        (
            "volume",
            script().member(b'V', b"a", b"").end(),
            "a member of an unknown kind",
        ),
        (
            "solaris acl",
            script().member(b'A', b"a", b"").end(),
            "a member of an unknown kind",
        ),
        (
            "folder with content",
            script().member(b'5', b"a/", b"x").end(),
            "\"a/\" has a content",
        ),
    ]
}

/// Headers about the member behind them.
fn announcements(script: impl Fn() -> Tar) -> Vec<Case> {
    vec![
        (
            "pax sparse",
            script()
                .member(b'x', b"p", b"22 GNU.sparse.major=1\n")
                .file("a", b"")
                .end(),
            "pax record \"GNU.sparse.major\"",
        ),
        (
            "pax size",
            script()
                .member(b'x', b"p", b"11 size=10\n")
                .file("a", b"")
                .end(),
            "pax record \"size\"",
        ),
        (
            "pax link",
            script()
                .member(b'x', b"p", b"14 linkpath=x\n")
                .file("a", b"")
                .end(),
            "pax record \"linkpath\"",
        ),
        (
            "pax twice",
            script()
                .member(b'x', b"p", b"9 path=a\n9 path=b\n")
                .file("a", b"")
                .end(),
            "pax record \"path\"",
        ),
        (
            "pax no length",
            script()
                .member(b'x', b"p", b"path=a\n")
                .file("a", b"")
                .end(),
            "pax record \"path=a\\n\"",
        ),
        (
            "pax long length",
            script()
                .member(b'x', b"p", b"99 path=a\n")
                .file("a", b"")
                .end(),
            "pax record \"99 path=a\\n\"",
        ),
        (
            "pax short length",
            script()
                .member(b'x', b"p", b"1 path=a\n")
                .file("a", b"")
                .end(),
            "pax record",
        ),
        (
            "pax parent",
            script()
                .member(b'x', b"p", b"13 path=../x\n")
                .file("a", b"")
                .end(),
            "\"../x\" is not a file path",
        ),
        (
            "pax for all",
            script()
                .member(b'g', b"p", b"9 path=a\n")
                .file("a", b"")
                .end(),
            "path, for all members",
        ),
        (
            "pax for nothing",
            script().member(b'x', b"p", b"9 path=a\n").end(),
            "is not followed by it",
        ),
        (
            "pax then gnu",
            script()
                .member(b'x', b"p", b"9 path=a\n")
                .member(b'L', b"p", b"b\0")
                .file("c", b"")
                .end(),
            "is not followed by it",
        ),
        (
            "gnu parent",
            script().member(b'L', b"p", b"../x\0").file("a", b"").end(),
            "\"../x\" is not a file path",
        ),
        (
            "gnu for a link",
            script()
                .member(b'L', b"p", b"x\0")
                .member(b'2', b"a", b"")
                .end(),
            "\"x\" is a symbolic link",
        ),
        (
            "gnu huge",
            script()
                .member(b'L', b"p", &[b'x'; 2_000])
                .file("a", b"")
                .end(),
            "more than",
        ),
    ]
}

/// Sizes that are none, and ends too early or too late.
fn ends(script: impl Fn() -> Tar) -> Vec<Case> {
    let tar = Tar::default;
    vec![
        (
            "truncated header",
            script().file("a", b"").bytes(&[1; 100]),
            "ends in the middle",
        ),
        (
            "truncated content",
            script().header(b'0', b"a", 5_000, |_| {}).bytes(b"x"),
            "ends in the middle",
        ),
        (
            "truncated padding",
            script().header(b'0', b"a", 5, |_| {}).bytes(b"12345"),
            "ends in the middle",
        ),
        ("no end", script().file("a", b""), "ends in the middle"),
        ("nothing", tar(), "ends in the middle"),
        (
            "concatenated",
            script().file("a", b"").end().file("b", b"").end(),
            "behind the archive's end",
        ),
        (
            "trailing",
            script().file("a", b"").end().bytes(b"x"),
            "behind the archive's end",
        ),
        (
            "no tar",
            tar().bytes(&[b'x'; 2_048]),
            "checksum of a header is wrong",
        ),
        (
            "old kind",
            script()
                .header(b'0', b"a", 0, |it| it.as_mut_bytes()[257..265].fill(0))
                .end(),
            "of an old kind",
        ),
        (
            "no size",
            script()
                .header(b'0', b"a", 0, |it| it.as_old_mut().size = *b"zzzzzzzzzzz\0")
                .end(),
            "size of \"a\" is not a number",
        ),
        (
            "negative size",
            script()
                .header(b'0', b"a", 0, |it| it.as_old_mut().size = [0xff; 12])
                .end(),
            "bytes when unpacked",
        ),
        (
            "huge size",
            script()
                .header(b'0', b"a", 0, |it| it.set_size(u64::MAX / 2))
                .end(),
            "bytes when unpacked",
        ),
    ]
}

/// More than a script may have.
fn sizes(script: impl Fn() -> Tar) -> Vec<Case> {
    let many = (0..=MAX_FILES).fold(script(), |tar, n| tar.file(&n.to_string(), b""));
    let half = vec![0; MAX_UNPACKED_BYTES / 2];
    let large = script().file("a", &half).file("b", &half);
    vec![
        ("too many files", many.end(), "more than 1000 files"),
        (
            "too large when unpacked",
            large.end(),
            "bytes when unpacked",
        ),
    ]
}

/// What common tools write about the same script; each is taken.
pub fn harmless(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let script = || Tar::script(name);
    let all = [
        ("plain", script().end()),
        (
            "from a dot",
            Tar::default()
                .folder("./")
                .bytes(&script().file("./a", b"1").0)
                .end(),
        ),
        ("padded to ten KiB", script().end().bytes(&[0; 8_192])),
        (
            "of git",
            script()
                .member(b'g', b"p", b"14 comment=ab\n")
                .file("a", b"1")
                .end(),
        ),
        (
            "pax",
            script()
                .member(b'x', b"p", b"9 path=a\n13 mtime=1.5\n")
                .file("b", b"1")
                .end(),
        ),
        (
            "of a Mac",
            script()
                .member(b'x', b"p", b"23 SCHILY.xattr.a.b=\xff\0\n")
                .file("a", b"1")
                .end(),
        ),
        (
            "of GNU",
            script()
                .member(b'L', b"././@LongLink", b"a\0")
                .file("b", b"1")
                .end(),
        ),
        (
            "set-user-id",
            script()
                .header(b'0', b"a", 0, |header| header.set_mode(0o4_755))
                .end(),
        ),
    ];
    all.into_iter()
        .map(|(kind, Tar(tar))| (kind, tar))
        .collect()
}
