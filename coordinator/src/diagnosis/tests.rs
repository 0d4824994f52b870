//! What is said of a system, by what is seen of it; and of a folder.

use super::*;
use events::Timestamp;
use events::log::jetstream::{Keepers, STREAMS, StreamFacts};
use events::subject::Stream;
use jiff::SignedDuration;
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

#[test]
fn each_fault_is_told_with_what_to_do() {
    let with = |change: fn(&mut System)| {
        let mut system = healthy();
        change(&mut system);
        told(&system)
    };
    fn streams(system: &mut System) -> &mut Vec<StreamFacts> {
        system.streams.as_mut().unwrap()
    }
    let away = with(|system| {
        system.broker.connected = false;
        system.streams = None;
    });
    assert_eq!(away, ["broker Failure", "streams Failure"]);
    assert_eq!(
        with(|system| drop(streams(system).pop())),
        ["streams Failure"]
    );
    assert_eq!(
        with(|system| streams(system)[2].max_bytes = Some(88)),
        ["room Failure"]
    );
    assert_eq!(
        with(|system| streams(system)[2].max_bytes = Some(100)),
        ["room Warning"]
    );
    let output = with(|system| streams(system)[4].max_bytes = Some(80));
    assert!(output.is_empty(), "output may be full: {output:?}");
    let lagging = with(|system| {
        streams(system)[0].kept_by = Some(Keepers {
            leader: Some("a".to_owned()),
            current: vec!["b".to_owned()],
            behind: vec!["c".to_owned()],
        });
    });
    assert_eq!(lagging, ["cluster Warning"]);
    assert_eq!(
        with(|system| system.behind[0].1 = 1_000_000),
        ["read model Warning"]
    );
    assert_eq!(
        with(|system| system.clock_off = SignedDuration::from_hours(1)),
        ["clock Warning"]
    );
    let silent = with(|system| {
        system
            .silent
            .push(("host-9".to_owned(), Timestamp::UNIX_EPOCH))
    });
    assert_eq!(silent, ["runners Warning"]);
    assert_eq!(
        with(|system| system.broker.embedded = false),
        ["durability Note"]
    );
    assert_eq!(
        with(|system| system.breaks = (1, Some(7))),
        ["chain Failure"]
    );
    assert_eq!(with(|system| system.newer = Some(7)), ["version Failure"]);
    let skipped = with(|system| {
        system.skipped = (
            3,
            vec![Skipped {
                stream: "RUNS",
                sequence: 7,
                subject: "run.x".to_owned(),
                reason: "its subject is none of ours".to_owned(),
            }],
        );
    });
    assert_eq!(skipped, ["log Warning"]);
    for (waiting, expected) in [(0, "lanes Note"), (2, "lanes Warning")] {
        let mut system = healthy();
        system.unserved.push(Unserved {
            lane: "0".to_owned(),
            tags: "bash".to_owned(),
            agents: 1,
            waiting,
        });
        assert_eq!(told(&system), [expected]);
    }
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
