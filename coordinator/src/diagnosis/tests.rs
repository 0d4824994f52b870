//! What is said of a system, by what is seen of it; and of a folder.

use super::*;
use events::Timestamp;
use events::log::jetstream::{Keepers, STREAMS, StreamFacts};
use events::subject::Stream;
use jiff::SignedDuration;
use rstest::rstest;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

fn stream(name: &str) -> StreamFacts {
    StreamFacts {
        name: name.to_owned(),
        messages: 1,
        bytes: 80,
        first_sequence: 1,
        last_sequence: 1,
        first_at: None,
        max_age: None,
        max_bytes: None,
        replicas: 1,
        consumers: 0,
        kept_by: None,
    }
}

fn healthy() -> System {
    System {
        broker: Broker {
            connected: true,
            url: "nats://b:4222".to_owned(),
            version: "2.15.1".to_owned(),
            embedded: true,
            cluster: None,
        },
        streams: Some(STREAMS.map(stream).to_vec()),
        account: None,
        behind: vec![(Stream::Catalog, 0)],
        breaks: (0, None),
        newer: None,
        skipped: (0, Vec::new()),
        silent: Vec::new(),
        unserved: Vec::new(),
        clock_off: SignedDuration::from_millis(-300),
    }
}

/// What stands out, as `check severity`.
fn told(system: &System) -> Vec<String> {
    let findings = findings(system);
    for finding in &findings {
        let needs_help = finding.severity > Severity::Note;
        assert!(!needs_help || finding.attempt.is_some(), "{finding:?}");
    }
    let telling = findings
        .iter()
        .filter(|finding| finding.severity > Severity::Ok);
    telling
        .map(|finding| format!("{} {:?}", finding.check, finding.severity))
        .collect()
}

#[test]
fn a_healthy_system_has_nothing_to_be_repaired() {
    assert!(told(&healthy()).is_empty(), "{:?}", findings(&healthy()));
    assert_eq!(worst(&findings(&healthy())), Severity::Ok);
}

/// The stream at this place of [`STREAMS`].
fn nth(system: &mut System, place: usize) -> &mut StreamFacts {
    &mut system.streams.as_mut().unwrap()[place]
}

fn is_away(system: &mut System) {
    system.broker.connected = false;
    system.streams = None;
}

fn lags(system: &mut System) {
    nth(system, 0).kept_by = Some(Keepers {
        leader: Some("a".to_owned()),
        current: vec!["b".to_owned()],
        behind: vec!["c".to_owned()],
    });
}

fn is_silent(system: &mut System) {
    let runner = ("host-9".to_owned(), Timestamp::UNIX_EPOCH);
    system.silent.push(runner);
}

fn skips(system: &mut System) {
    let skipped = Skipped {
        stream: "RUNS",
        sequence: 7,
        subject: "run.x".to_owned(),
        reason: "its subject is none of ours".to_owned(),
    };
    system.skipped = (3, vec![skipped]);
}

fn is_unserved(system: &mut System, waiting: usize) {
    system.unserved.push(Unserved {
        lane: "0".to_owned(),
        tags: "bash".to_owned(),
        agents: 1,
        waiting,
    });
}

#[rstest]
#[case::away(is_away, &["broker Failure", "streams Failure"])]
#[case::deleted(|system: &mut System| drop(system.streams.as_mut().unwrap().pop()), &["streams Failure"])]
#[case::full(|system: &mut System| nth(system, 2).max_bytes = Some(88), &["room Failure"])]
#[case::filling(|system: &mut System| nth(system, 2).max_bytes = Some(100), &["room Warning"])]
#[case::output_may_be_full(|system: &mut System| nth(system, 4).max_bytes = Some(80), &[])]
#[case::lagging(lags, &["cluster Warning"])]
#[case::behind(|system: &mut System| system.behind[0].1 = 1_000_000, &["read model Warning"])]
#[case::clock(|system: &mut System| system.clock_off = SignedDuration::from_hours(1), &["clock Warning"])]
#[case::silent(is_silent, &["runners Warning"])]
#[case::not_ours(|system: &mut System| system.broker.embedded = false, &["durability Note"])]
#[case::chain(|system: &mut System| system.breaks = (1, Some(7)), &["chain Failure"])]
#[case::newer(|system: &mut System| system.newer = Some(7), &["version Failure"])]
#[case::skipped(skips, &["log Warning"])]
#[case::unserved(|system: &mut System| is_unserved(system, 0), &["lanes Note"])]
#[case::waiting(|system: &mut System| is_unserved(system, 2), &["lanes Warning"])]
fn each_fault_is_told_with_what_to_do(#[case] change: fn(&mut System), #[case] expected: &[&str]) {
    let mut system = healthy();
    change(&mut system);
    assert_eq!(told(&system), expected);
}

#[test]
fn what_others_may_read_is_told_and_closed() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    assert_eq!(
        worst(&folder::look(&data)),
        Severity::Failure,
        "there is none"
    );
    fs::create_dir_all(data.join("broker")).unwrap();
    fs::write(data.join("admin.token"), "cor_").unwrap();
    for (name, mode) in [("", 0o700), ("broker", 0o755), ("admin.token", 0o644)] {
        fs::set_permissions(data.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let open = folder::look(&data);
    let failures = open
        .iter()
        .filter(|finding| finding.severity == Severity::Failure);
    assert_eq!(failures.count(), 2, "{open:?}");
    assert_eq!(folder::close_to_others(&data).len(), 2);
    assert!(
        folder::look(&data)
            .iter()
            .all(|finding| finding.check != "data folder" || finding.severity == Severity::Ok)
    );
    let dead = folder::look_at_dead(&data);
    assert!(dead[0].text.contains("no coordinator runs"), "{dead:?}");
}
