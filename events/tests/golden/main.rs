//! Everything that goes over the broker, held against the files in `events/golden`: one per kind
//! of message, as it is stored or sent, only printed prettily.
//!
//! `UPDATE=1` writes the files. From the first tagged release on a file is never changed: a new
//! form of an event gets a new file, and the old one must still be read.

// A sample that cannot be built, or a file that is not there, fails its test where it happens.
#![allow(clippy::unwrap_used)]

mod reading;
mod samples;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

#[test]
fn catalog() {
    check("catalog", &samples::catalog());
}

#[test]
fn lanes() {
    check("lanes", &samples::lanes());
}

#[test]
fn runs() {
    check("runs", &samples::runs());
}

#[test]
fn history() {
    check("history", &samples::history());
}

#[test]
fn output() {
    check("output", &samples::output());
}

#[test]
fn runners() {
    check("runners", &samples::runners());
}

#[test]
fn runner_orders() {
    check("runner_orders", &samples::runner_orders());
}

#[test]
fn presence() {
    check("presence", &samples::presence());
}

#[test]
fn commands() {
    check("control", &samples::commands());
}

#[test]
fn done() {
    check("control_reply", &samples::done());
}

#[test]
fn questions() {
    check("ask", &samples::questions());
}

#[test]
fn answers() {
    check("ask_reply", &samples::answers());
}

#[test]
fn no_folder_is_left_over() {
    let checked = [
        "ask",
        "ask_reply",
        "catalog",
        "control",
        "control_reply",
        "history",
        "lanes",
        "output",
        "presence",
        "runner_orders",
        "runners",
        "runs",
    ];
    let checked: BTreeSet<String> = checked.map(str::to_owned).into();
    assert_eq!(entries(&golden()), checked);
}

/// Each sample is what its file says, in both directions; and no file is without a sample.
fn check<T>(folder: &str, samples: &[(&'static str, T)])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let folder = golden().join(folder);
    for (name, sample) in samples {
        let file = folder.join(format!("{name}.json"));
        let printed = pretty(sample);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &printed).unwrap();
        }
        let stored = std::fs::read_to_string(&file);
        let stored = stored.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(printed, stored, "{} says something else", file.display());
        let read: T = serde_json::from_str(&stored).unwrap();
        assert_eq!(&read, sample, "{}", file.display());
        assert_eq!(pretty(&read), stored, "{}", file.display());
    }
    let named = samples.iter().map(|(name, _)| format!("{name}.json"));
    assert_eq!(entries(&folder), named.collect(), "{}", folder.display());
}

fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn entries(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The golden file as a value, to be spoilt.
fn stored(file: &str) -> Value {
    let text = std::fs::read_to_string(golden().join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}
