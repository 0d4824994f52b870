//! A backup comes back as it was written, and what was done to it is noticed.

use super::*;
use proptest::prelude::*;
use std::io::Write as _;
use tempfile::NamedTempFile;

fn written(pieces: &[Vec<u8>]) -> Vec<u8> {
    let streams = vec!["A".to_owned(), "B".to_owned()];
    let manifest = Manifest::new("2.15.1".to_owned(), "now".to_owned(), streams);
    let mut writer = Writer::begin(&manifest).unwrap();
    let mut file = writer.take();
    for stream in ["A", "B"] {
        writer.stream(stream, b"{}").unwrap();
        for piece in pieces {
            writer.piece(piece).unwrap();
            file.extend(writer.take());
        }
    }
    file.extend(writer.finish().unwrap());
    file
}

/// The file goes with the second value.
fn opened(bytes: &[u8]) -> Result<(Archive, NamedTempFile), ArchiveError> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Ok((Archive::open(file.path())?, file))
}

#[test]
fn a_newer_form_and_other_files_are_told_apart() {
    let newer = Manifest {
        format: FORMAT + 1,
        ..Manifest::new(String::new(), String::new(), Vec::new())
    };
    let newer = Writer::begin(&newer).unwrap().finish().unwrap();
    assert!(matches!(
        opened(&newer),
        Err(ArchiveError::Newer { found: 2, .. })
    ));
    for foreign in [&b"hello"[..], b""] {
        assert!(matches!(opened(foreign), Err(ArchiveError::Foreign(_))));
    }
    let plain = zstd::encode_all(&b"hello"[..], 3).unwrap();
    assert!(matches!(opened(&plain), Err(ArchiveError::CutOff(_))));
}

#[test]
fn others_programs_read_it_too() {
    let file = written(&[vec![1; 10]]);
    let tar = zstd::decode_all(&file[..]).unwrap();
    let mut tar = tar::Archive::new(&tar[..]);
    let names = tar.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        entry.path().unwrap().display().to_string()
    });
    let names: Vec<String> = names.collect();
    let expected = ["backup.json", "A/stream.json", "A/piece-000000001"];
    assert_eq!(names[..3], expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_went_in_comes_out(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let (archive, _file) = opened(&written(&pieces)).unwrap();
        let mut seen = Vec::new();
        archive.each(|entry| { seen.push(entry); true }).unwrap();
        let mut expected = Vec::new();
        for stream in ["A", "B"] {
            let of = |part| Entry { stream: stream.to_owned(), part };
            expected.push(of(Part::Form(b"{}".to_vec())));
            expected.extend(pieces.iter().cloned().map(|piece| of(Part::Piece(piece))));
        }
        prop_assert_eq!(seen, expected);
    }

    /// Whatever one byte is changed to, and wherever the file ends.
    #[test]
    fn what_is_not_whole_is_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let whole = written(&[vec![7; 300]]);
        let at = at.index(whole.len());
        prop_assert!(opened(&whole[..at]).is_err());
        let mut changed = whole.clone();
        changed[at] = to;
        prop_assert_eq!(opened(&changed).is_ok(), changed == whole);
    }
}
