//! The in-memory log and the one on JetStream keep the same contract, conflicts included.

use bytes::Bytes;
use events::log::jetstream::{Access, Connection, StreamSettings, ensure_streams};
use events::log::memory::MemoryLog;
use events::log::{Append, AppendError, BundleError, Bundles, Expect, Log};
use events::subject::Stream;
use events::{EventId, Lane, RunId, subject};
use futures::StreamExt as _;
use nix::sys::signal::Signal;
use schemas::Digest;
use std::time::Duration;
use tests::nats::Nats;

/// Where a case runs: both kinds of log, one after the other.
async fn on_both<L: AsyncFn(&dyn Log, &dyn Bundles)>(case: L) {
    let memory = MemoryLog::default();
    case(&memory, &memory).await;
    let nats = Nats::start().await;
    let connection = connect(&nats).await;
    case(&connection, &connection).await;
}

async fn connect(nats: &Nats) -> Connection {
    let access = Access {
        url: nats.url(),
        nkey_seed: None,
        name: "contract".to_owned(),
        inbox_prefix: subject::inbox_prefix("contract"),
        owns_streams: true,
    };
    let connection = Connection::open(access).await.unwrap();
    ensure_streams(&connection, StreamSettings::default())
        .await
        .unwrap();
    connection
}

fn lane() -> Lane {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn run(number: u64, writer: &str, expected: u64) -> Append {
    let run_id = RunId::from_bits(number);
    Append {
        stream: Stream::Runs,
        subject: format!("run.{}.{run_id}.{writer}", lane()),
        id: EventId::fresh(),
        payload: Bytes::from(format!("{writer} of {number}")),
        expect: Expect::Subjects {
            filter: subject::run_all(&lane(), &run_id),
            sequence: expected,
        },
    }
}

#[tokio::test]
async fn the_second_of_two_that_expect_the_same_is_refused() {
    on_both(async |log, _| {
        let first = log.append(run(1, "requested", 0)).await.unwrap();
        let other = log.append(run(2, "requested", 0)).await.unwrap();
        log.append(run(1, "a", first.sequence)).await.unwrap();
        let late = log.append(run(1, "b", first.sequence)).await;
        let last = other.sequence + 1;
        assert!(
            matches!(late, Err(AppendError::Conflict { last: l }) if l == last),
            "{late:?}"
        );
        let created_twice = log.append(run(1, "requested", 0)).await;
        assert!(matches!(created_twice, Err(AppendError::Conflict { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_whole_stream_can_be_one_boundary() {
    on_both(async |log, _| {
        let script = |expected| Append {
            stream: Stream::Catalog,
            subject: "catalog.script.deploy".to_owned(),
            id: EventId::fresh(),
            payload: Bytes::from_static(b"{}"),
            expect: Expect::Stream { sequence: expected },
        };
        let first = log.append(script(0)).await.unwrap();
        assert!(log.append(script(0)).await.is_err());
        log.append(script(first.sequence)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_same_append_twice_is_stored_once() {
    on_both(async |log, _| {
        let append = run(1, "requested", 0);
        let first = log.append(append.clone()).await.unwrap();
        // Somebody else goes on meanwhile, as when an acknowledgement is lost.
        log.append(run(1, "a", first.sequence)).await.unwrap();
        assert_eq!(log.append(append).await.unwrap(), first);
        assert_eq!(log.bounds(Stream::Runs).await.unwrap().last_sequence, 2);
    })
    .await;
}

#[tokio::test]
async fn reads_give_what_was_stored_in_order() {
    on_both(async |log, _| {
        for number in 1..=5 {
            log.append(run(number, "requested", 0)).await.unwrap();
        }
        let page = log
            .page(Stream::Runs, "run.*.*.requested", 2, 3)
            .await
            .unwrap();
        let sequences: Vec<u64> = page.iter().map(|message| message.sequence).collect();
        assert_eq!(sequences, [2, 3, 4]);
        let one = subject::run_in_any_lane(&RunId::from_bits(4));
        let last = log.last(Stream::Runs, &one).await.unwrap().unwrap();
        assert_eq!(
            (last.sequence, last.payload.as_ref()),
            (4, b"requested of 4".as_slice())
        );
        let none = subject::run_in_any_lane(&RunId::from_bits(9));
        assert_eq!(log.last(Stream::Runs, &none).await.unwrap(), None);
        assert!(
            log.page(Stream::Runs, &none, 1, 10)
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn a_follower_sees_what_is_there_and_what_comes() {
    on_both(async |log, _| {
        log.append(run(1, "requested", 0)).await.unwrap();
        log.append(run(2, "requested", 0)).await.unwrap();
        let mut followed = log.follow(Stream::Runs, 2);
        assert_eq!(followed.next().await.unwrap().sequence, 2);
        let mut changes = log.changes(Stream::Output, "output.>").await.unwrap();
        log.append(run(3, "requested", 0)).await.unwrap();
        assert_eq!(followed.next().await.unwrap().sequence, 3);
        let output = Append {
            stream: Stream::Output,
            subject: format!("output.{}.{}.a", lane(), RunId::from_bits(1)),
            id: EventId::fresh(),
            payload: Bytes::from_static(b"{}"),
            expect: Expect::Nothing,
        };
        log.append(output).await.unwrap();
        changes.next().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_bundle_comes_back_by_its_digest() {
    on_both(async |_, bundles| {
        let bytes: Bytes = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        let digest = bundles.put(bytes.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(bundles.put(bytes.clone()).await.unwrap(), digest);
        assert_eq!(bundles.get(&digest).await.unwrap(), bytes);
        let missing = bundles.get(&Digest::of(b"never stored")).await;
        assert!(
            matches!(missing, Err(BundleError::Missing(_))),
            "{missing:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn following_survives_a_killed_broker() {
    let mut nats = Nats::start().await;
    let connection = connect(&nats).await;
    let mut followed = connection.follow(Stream::Runs, 1);
    let first = Log::append(&connection, run(1, "requested", 0))
        .await
        .unwrap();
    assert_eq!(followed.next().await.unwrap().sequence, first.sequence);
    nats.kill();
    nats.start_again().await;
    let second = Log::append(&connection, run(2, "requested", 0))
        .await
        .unwrap();
    assert_eq!(followed.next().await.unwrap().sequence, second.sequence);
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_error_that_says_so() {
    let mut nats = Nats::start().await;
    let connection = connect(&nats).await;
    nats.kill();
    let refused = Log::append(&connection, run(1, "requested", 0)).await;
    assert!(
        matches!(refused, Err(AppendError::Unavailable { .. })),
        "{refused:?}"
    );
}

/// A starved disk, or a cluster without a leader: connected, and silent for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_silent_for_a_while_costs_no_read() {
    let nats = Nats::start().await;
    let connection = connect(&nats).await;
    let appended = connection.append(run(1, "requested", 0)).await.unwrap();
    let digest = connection.put(Bytes::from_static(b"kept")).await.unwrap();

    nats.process().signal(Signal::SIGSTOP);
    let reads = async {
        tokio::join!(
            connection.bounds(Stream::Runs),
            connection.last(Stream::Runs, "run.>"),
            connection.page(Stream::Runs, "run.>", 1, 10),
            connection.get(&digest),
        )
    };
    let wakes = async {
        // Longer than one answer may take.
        tokio::time::sleep(Duration::from_secs(3)).await;
        nats.process().signal(Signal::SIGCONT);
    };
    let ((bounds, last, page, bundle), ()) = tokio::join!(reads, wakes);

    assert_eq!(bounds.unwrap().last_sequence, appended.sequence);
    assert_eq!(last.unwrap().unwrap().sequence, appended.sequence);
    assert_eq!(page.unwrap().len(), 1);
    assert_eq!(bundle.unwrap(), Bytes::from_static(b"kept"));
}

#[tokio::test]
async fn a_bundle_that_is_put_again_outlives_whoever_wants_to_take_it_away() {
    on_both(async |_, bundles| {
        let bytes = Bytes::from(vec![7; 300_000]);
        let digest = bundles.put(bytes.clone()).await.unwrap();
        let listed = bundles.listed().await.unwrap();
        assert_eq!((listed[0].digest, listed[0].bytes), (digest, 300_000));
        bundles.put(bytes.clone()).await.unwrap();
        assert!(
            !bundles.remove(&listed[0]).await.unwrap(),
            "it was put since"
        );
        assert_eq!(bundles.get(&digest).await.unwrap(), bytes);
        // Whoever comes first: in the end it is there.
        for _ in 0..20 {
            let listed = bundles.listed().await.unwrap();
            let (put, removed, twice) = tokio::join!(
                bundles.put(bytes.clone()),
                bundles.remove(&listed[0]),
                bundles.remove(&listed[0])
            );
            put.unwrap();
            assert!(
                !(removed.unwrap() && twice.unwrap()),
                "one of them took it away"
            );
            assert_eq!(bundles.get(&digest).await.unwrap(), bytes);
        }
        let listed = bundles.listed().await.unwrap();
        assert!(bundles.remove(&listed[0]).await.unwrap());
        let gone = bundles.get(&digest).await;
        assert!(matches!(gone, Err(BundleError::Missing(_))), "{gone:?}");
        assert!(bundles.listed().await.unwrap().is_empty());
        assert!(!bundles.remove(&listed[0]).await.unwrap(), "it is gone");
        assert_eq!(bundles.put(bytes.clone()).await.unwrap(), digest);
        assert_eq!(bundles.get(&digest).await.unwrap(), bytes);
    })
    .await;
}
