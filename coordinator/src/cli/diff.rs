//! What is different between two versions of a folder or a text, for people: file paths, and a text
//! diff. Pure. The fields of documents are `schemas::changed_fields`'. Whether a difference makes a new version is the server's to say.

use std::collections::BTreeSet;

use schemas::bundle::{File, Folder};
use similar::{ChangeTag, TextDiff};

use super::terminal::ControlFilter;

/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;

/// A text with more lines than this is only said to differ.
const TEXT_MAX_LINES: usize = 20_000;

/// The paths of the files that differ, and in which way.
pub fn files(old: &Folder, new: &Folder) -> Vec<String> {
    paths(old, new)
        .into_iter()
        .filter_map(|path| file(path, old.get(path), new.get(path)))
        .collect()
}

/// Unified diffs of all files whose content differs.
pub fn folders(old: &Folder, new: &Folder, color: bool) -> String {
    let bytes = |file: Option<&File>| file.map(|file| file.bytes.clone()).unwrap_or_default();
    paths(old, new)
        .into_iter()
        .map(|path| (path, bytes(old.get(path)), bytes(new.get(path))))
        .filter(|(_, old, new)| old != new)
        .map(|(path, old, new)| unified(path, &old, &new, color))
        .collect()
}

/// A unified diff of one file; a line that says so where it is no text.
pub fn unified(path: &str, old: &[u8], new: &[u8], color: bool) -> String {
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return format!("  {path}: binary files differ\n");
    };
    if old.lines().count().max(new.lines().count()) > TEXT_MAX_LINES {
        return format!("  {path}: long files differ\n");
    }
    let diff = TextDiff::from_lines(old, new);
    let mut text = format!("  {path}\n");
    for group in diff.grouped_ops(CONTEXT_LINES) {
        text.push_str(&paint("  @@", color.then_some("36")));
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, paint_as) = match change.tag() {
                ChangeTag::Delete => ('-', Some("31")),
                ChangeTag::Insert => ('+', Some("32")),
                ChangeTag::Equal => (' ', None),
            };
            let line = ControlFilter::new(false).push(change.value().as_bytes());
            let line = format!("  {sign}{}", line.trim_end_matches(['\r', '\n']));
            text.push_str(&paint(&line, paint_as.filter(|_| color)));
        }
    }
    text
}

fn paths<'a>(old: &'a Folder, new: &'a Folder) -> BTreeSet<&'a str> {
    old.files()
        .chain(new.files())
        .map(|(path, _)| path.as_str())
        .collect()
}

fn file(path: &str, old: Option<&File>, new: Option<&File>) -> Option<String> {
    match (old, new) {
        (None, Some(_)) => Some(format!("{path} (new)")),
        (Some(_), None) => Some(format!("{path} (gone)")),
        (Some(old), Some(new)) if old.bytes != new.bytes => Some(path.to_owned()),
        (Some(old), Some(new)) if old.executable != new.executable => {
            Some(format!("{path} (mode)"))
        }
        _ => None,
    }
}

fn paint(line: &str, color: Option<&str>) -> String {
    match color {
        Some(color) => format!("\u{1b}[{color}m{line}\u{1b}[0m\n"),
        None => format!("{line}\n"),
    }
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

    #[test]
    fn files_say_in_which_way_they_differ() {
        let same = ("same", File::plain("1"));
        let old = folder(&[
            ("a", File::plain("1")),
            ("b", File::plain("1")),
            ("c", File::plain("1")),
            same.clone(),
        ]);
        let new = folder(&[
            ("a", File::plain("2")),
            ("b", File::executable("1")),
            ("d", File::plain("1")),
            same,
        ]);
        assert_eq!(files(&old, &new), ["a", "b (mode)", "c (gone)", "d (new)"]);
        let diff = folders(&old, &new, false);
        assert!(
            diff.contains("  a\n") && diff.contains("  d\n") && !diff.contains("same"),
            "{diff}"
        );
    }

    #[test]
    fn a_diff_shows_lines_and_no_control_sequences() {
        let diff = unified("x.sh", b"a\nb\n", b"a\n\x1b[2Jc\n", false);
        assert_eq!(diff, "  x.sh\n  @@\n   a\n  -b\n  +c\n");
        assert!(unified("x.bin", b"\xff", b"a", true).contains("binary"));
        assert!(unified("x.sh", b"a\n", b"b\n", true).contains("\u{1b}[31m  -a\u{1b}[0m\n"));
    }
}
