//! The shelf on a real disk.

use super::Shelf;
use crate::lanes::{Want, Wanted};
use crate::plan::{Entry, Step, plan};
use schemas::bundle::{Bundle, File, Folder};
use schemas::{Digest, ScriptDocument};
use serde_json::json;
use std::fs;
use tempfile::TempDir;

fn bundle(content: &str) -> Bundle {
    let document = ScriptDocument::from_value(json!({
        "name": "deploy", "description": "", "script_file": "deploy.sh"
    }))
    .unwrap();
    let file = ("deploy.sh".parse().unwrap(), File::executable(content));
    Folder::script(&document, [file]).unwrap().pack().unwrap()
}

fn shelf(folder: &TempDir, runner: &str) -> Shelf {
    Shelf::open(&folder.path().join("scripts"), &runner.parse().unwrap()).unwrap()
}

/// Carries out what `wanted` needs, the bundles being at hand.
fn converge(shelf: &Shelf, wanted: &Wanted, bundles: &[&Bundle]) {
    for step in plan(wanted, &shelf.observe().unwrap()).steps {
        match step {
            Step::Record(ledger) => shelf.record(&ledger).unwrap(),
            Step::Install(digest) => {
                let bundle = bundles.iter().find(|b| b.digest == digest).unwrap();
                shelf.install(&digest, &bundle.bytes).unwrap();
            }
            Step::Link { name, digest } => shelf.link(&name, &digest).unwrap(),
            Step::Unlink { name } => shelf.unlink(&name).unwrap(),
            Step::Collect(digest) => shelf.collect(&digest).unwrap(),
        }
    }
}

fn wanted(digest: Digest, sequence: u64) -> Wanted {
    let want = Want {
        version: 1,
        digest,
        catalog_sequence: sequence,
    };
    [("deploy".parse().unwrap(), want)].into()
}

#[test]
fn a_new_version_replaces_the_old_one_unless_a_run_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    let (one, two) = (bundle("echo 1"), bundle("echo 2"));
    converge(&shelf, &wanted(one.digest, 1), &[&one]);
    let held = shelf.hold(&one.digest).unwrap().unwrap();
    converge(&shelf, &wanted(two.digest, 2), &[&two]);
    let linked = fs::read_to_string(folder.path().join("scripts/deploy/deploy.sh")).unwrap();
    assert_eq!(linked, "echo 2");
    assert_eq!(
        fs::read_to_string(held.path().join("deploy.sh")).unwrap(),
        "echo 1"
    );
    drop(held);
    converge(&shelf, &wanted(two.digest, 2), &[]);
    assert_eq!(
        shelf
            .hold(&one.digest)
            .unwrap()
            .map(|h| h.path().to_owned()),
        None
    );
}

#[test]
fn a_file_that_somebody_changed_is_noticed_and_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    let one = bundle("echo 1");
    converge(&shelf, &wanted(one.digest, 1), &[&one]);
    fs::write(folder.path().join("scripts/deploy/deploy.sh"), "echo x").unwrap();
    assert!(shelf.hold(&one.digest).unwrap().is_none());
    converge(&shelf, &wanted(one.digest, 1), &[&one]);
    let held = shelf.hold(&one.digest).unwrap().unwrap();
    assert_eq!(
        fs::read_to_string(held.path().join("deploy.sh")).unwrap(),
        "echo 1"
    );
}

#[test]
fn a_bundle_that_is_not_what_it_says_is_not_installed() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    let (one, two) = (bundle("echo 1"), bundle("echo 2"));
    shelf.install(&one.digest, &two.bytes).unwrap_err();
    assert!(shelf.hold(&one.digest).unwrap().is_none());
}

#[test]
fn a_foreign_folder_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    let theirs = folder.path().join("scripts/deploy");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("mine.txt"), "mine").unwrap();
    let one = bundle("echo 1");
    converge(&shelf, &wanted(one.digest, 1), &[&one]);
    let seen = shelf.observe().unwrap();
    assert_eq!(seen.entries["deploy"], Entry::Foreign);
    assert_eq!(fs::read_to_string(theirs.join("mine.txt")).unwrap(), "mine");
}

#[test]
fn what_an_earlier_life_had_in_the_making_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let unfinished = shelf(&folder, "a").unfinished("x");
    fs::create_dir(&unfinished).unwrap();
    let other = shelf(&folder, "b");
    assert!(unfinished.exists(), "another runner's is left alone");
    drop(other);
    shelf(&folder, "a");
    assert!(!unfinished.exists());
}

#[test]
fn a_folder_that_somebody_deleted_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    fs::remove_dir_all(folder.path().join("scripts")).unwrap();
    let lock = shelf.lock().unwrap();
    let one = bundle("echo 1");
    converge(&shelf, &wanted(one.digest, 1), &[&one]);
    assert!(shelf.linked_since(&"deploy".parse().unwrap()).is_some());
    drop(lock);
}

#[test]
fn what_was_seen_counts_until_somebody_changes_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    let one = bundle("echo 1");
    converge(&shelf, &wanted(one.digest, 1), &[&one]);
    let look = || {
        let lock = shelf.lock().unwrap();
        let seen = shelf.view().unwrap();
        shelf.remember(&lock, seen.clone());
        let recalled = shelf.recall(&lock).unwrap();
        assert_eq!(recalled.observed, seen.observed);
        assert_eq!(recalled.since, seen.since);
    };
    let recalled = || shelf.recall(&shelf.lock().unwrap());

    look();
    assert!(recalled().is_some());
    fs::remove_file(folder.path().join("scripts/deploy")).unwrap();
    assert!(recalled().is_none(), "by hand");

    look();
    let other = Shelf::look(&folder.path().join("scripts"), &"b".parse().unwrap());
    other.lock().unwrap().count_change().unwrap();
    assert!(recalled().is_none(), "by another runner");
}

#[test]
fn a_view_after_steps_is_what_a_look_would_find() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, "a");
    let (one, two) = (bundle("echo 1"), bundle("echo 2"));
    let mut view = shelf.view().unwrap();
    let mut held = None;
    for (bundle, sequence) in [(&one, 1), (&two, 2), (&one, 3)] {
        let wanted = wanted(bundle.digest, sequence);
        let steps = plan(&wanted, &view.observed).steps;
        converge(&shelf, &wanted, &[bundle]);
        view = shelf.after(view, &steps);
        let found = shelf.view().unwrap();
        assert_eq!(view.observed, found.observed, "after version {sequence}");
        assert_eq!(view.since, found.since);
        // A bundle that a run holds is not collected, though a step says so.
        held = held.or_else(|| shelf.hold(&one.digest).unwrap());
    }
    assert!(view.observed.bundles.contains(&one.digest) && held.is_some());
}
