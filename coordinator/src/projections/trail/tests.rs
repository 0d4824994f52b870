//! Pages of what happened: whole, in order, once each; and the rows behind them, however they came
//! about.

use super::*;
use crate::domain::testing::{script_created, script_with};
use crate::policy::history::summary;
use crate::projections::changes::Changes;
use crate::projections::history::HistoryBatch;
use crate::projections::quarantine::Quarantine;
use crate::projections::store::{Cursor, open_fitting};
use crate::projections::trail_lines;
use crate::testing::{envelope, request, requested_run, stepped};
use events::history::{HistoryEvent, RunSummary};
use events::log::Stored;
use events::log::memory::MemoryLog;
use events::run::RunEvent;
use events::runner::RunnerEvent;
use events::subject;
use proptest::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Run `bits` ended with step `ended`.
fn ended(bits: u64, ended: u64) -> RunSummary {
    let run = requested_run(request(bits));
    let run = stepped(run, [RunEvent::Stopped { outcome: None }]);
    RunSummary {
        ended_sequence: ended,
        ended_at: minute(ended),
        ..summary(&run, None).unwrap()
    }
}

fn minute(number: u64) -> Timestamp {
    let seconds = i64::try_from(number).unwrap() * 60;
    Timestamp::from_second(seconds).unwrap()
}

fn stored<E: Serialize>(sequence: u64, subject: String, event: E) -> Stored {
    Stored {
        subject,
        sequence,
        at: minute(sequence),
        payload: envelope(minute(sequence), event).to_bytes(),
        follows: None,
    }
}

fn summarised(sequence: u64, summary: RunSummary) -> Stored {
    let script = summary.script().map(|(name, _)| name);
    let subject = subject::history(script, &summary.agent);
    stored(sequence, subject, HistoryEvent::RunEnded(Box::new(summary)))
}

fn opened(path: &std::path::Path) -> Store {
    let opened = open_fitting(path, &[], |_| Ok(()));
    futures::executor::block_on(opened).unwrap().0
}

fn write(store: &Store, stream: Stream, changes: &Changes) {
    let cursor = Cursor {
        created: "x".to_owned(),
        sequence: 99,
        head: None,
    };
    store.write(stream, &cursor, changes.clone());
}

/// Applies summaries in batches of these sizes; says which were refused.
fn folded(messages: &[Stored], cuts: &[usize]) -> (BTreeMap<Vec<u8>, Vec<u8>>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let (mut rest, mut refused) = (messages, 0);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, after) = rest.split_at((cut + 1).min(rest.len()));
        let mut step = HistoryBatch::new(&store);
        refused += batch.iter().filter(|m| step.apply(m).is_err()).count();
        write(&store, Stream::History, &step.finish());
        rest = after;
    }
    (store.dump(), refused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn summaries_add_up_to_the_same_and_the_first_of_an_end_counts(
        ends in proptest::collection::vec((0u64..3, 1u64..6), 1..40),
        cuts in proptest::collection::vec(0usize..7, 1..8),
    ) {
        let messages = (1..).zip(&ends);
        let messages: Vec<Stored> =
            messages.map(|(sequence, (bits, end))| summarised(sequence, ended(*bits, *end))).collect();
        let (rebuilt, refused) = folded(&messages, &[messages.len()]);
        prop_assert_eq!(&folded(&messages, &cuts).0, &rebuilt);
        let different: std::collections::BTreeSet<_> = ends.iter().collect();
        prop_assert_eq!(refused, ends.len() - different.len());
        let lines = rebuilt.keys().filter(|key| key.starts_with(b"q/"));
        prop_assert_eq!(lines.count(), different.len());
    }

    #[test]
    fn lines_of_what_retention_drops_go_as_after_a_rebuild(
        kinds in proptest::collection::vec(0u8..4, 1..40),
        from in 1u64..40,
    ) {
        let id: events::RunnerId = "web-1".parse().unwrap();
        let word = |(sequence, kind): (u64, &u8)| match kind {
            0 => stored(sequence, subject::runner(&id), RunnerEvent::Left),
            1 => stored(sequence, subject::runner_order(&id), events::runner::RunnerOrder::Resumed),
            2 => stored(sequence, subject::runner(&id), RunnerEvent::Synced {
                whole: true,
                scripts: BTreeMap::new(),
                gone: Default::default(),
            }),
            _ => stored(sequence, subject::runner(&id), "rubbish"),
        };
        let messages: Vec<Stored> = (1..).zip(&kinds).map(word).collect();
        let noted = |from: u64| {
            let folder = tempfile::tempdir().unwrap();
            let store = opened(folder.path());
            let mut changes = Changes::default();
            for message in messages.iter().filter(|m| m.sequence >= from) {
                trail_lines::of_runners(message, &mut changes);
            }
            write(&store, Stream::Runners, &changes);
            (store, folder)
        };
        let (live, _folder) = noted(1);
        let mut rounds = 0;
        loop {
            let mut changes = Changes::default();
            let some = trail_lines::forget(&live, Stream::Runners, from, 3, &mut changes).unwrap();
            write(&live, Stream::Runners, &changes);
            rounds += 1;
            if !some || rounds > 40 {
                break;
            }
        }
        prop_assert_eq!(live.dump(), noted(from).0.dump());
    }
}

#[test]
fn a_summary_stands_under_its_script_or_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let mut step = HistoryBatch::new(&store);
    let mut foreign = summarised(1, ended(1, 1));
    foreign.subject = "history.other".to_owned();
    assert!(matches!(step.apply(&foreign), Err(Quarantine::Mismatch)));
    step.apply(&summarised(2, ended(1, 1))).unwrap();
    let twice = step.apply(&summarised(3, ended(1, 1)));
    assert!(matches!(twice, Err(Quarantine::SummarisedTwice)));
}

/// Three changes of a script, among summaries of its runs.
async fn world(folder: &std::path::Path) -> Projections {
    let log = std::sync::Arc::new(MemoryLog::default());
    let projections = Projections::open(log, folder).await.unwrap();
    let store = &projections.shared.store;
    let mut changes = Changes::default();
    for sequence in [1, 5, 9] {
        let event = match sequence {
            1 => script_created("script", "1"),
            _ => script_with("script", |_| {}),
        };
        let message = stored(sequence, String::new(), event);
        trail_lines::of_catalog(&message, &mut changes);
    }
    write(store, Stream::Catalog, &changes);
    let mut step = HistoryBatch::new(store);
    // Stored one after the other, for ends in between.
    for (sequence, end) in (1..).zip([2, 3, 4, 6, 7, 8, 10, 200]) {
        step.apply(&summarised(sequence, ended(end, end))).unwrap();
    }
    write(store, Stream::History, &step.finish());
    projections
}

fn query(limit: usize) -> TrailQuery {
    TrailQuery {
        topic: Topic::Script("script".parse().unwrap()),
        before: Before::default(),
        since: None,
        until: None,
        limit,
    }
}

fn minutes(page: &TrailPage) -> Vec<i64> {
    let entries = page.entries.iter();
    entries
        .map(|entry| entry.line.at().as_second() / 60)
        .collect()
}

const ALL: [i64; 11] = [200, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];

#[tokio::test]
async fn pages_of_any_size_have_every_line_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let projections = world(folder.path()).await;
    for limit in 1..=12 {
        let (mut told, mut query) = (Vec::new(), query(limit));
        loop {
            let page = projections.trail(&query, |_| true).unwrap();
            told.extend(minutes(&page));
            assert!(page.entries.len() <= limit);
            match page.next {
                Some(next) => query.before = next,
                None => break,
            }
        }
        assert_eq!(told, ALL, "by {limit}");
    }
}

#[tokio::test]
async fn only_what_happened_in_the_time_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let projections = world(folder.path()).await;
    for (since, until) in [
        (None, Some(6)),
        (Some(4), None),
        (Some(5), Some(9)),
        (Some(11), Some(90)),
    ] {
        let query = TrailQuery {
            since: since.map(minute),
            until: until.map(minute),
            ..query(50)
        };
        let page = projections.trail(&query, |_| true).unwrap();
        let in_time = |at: &i64| {
            let at = u64::try_from(*at).unwrap();
            since.is_none_or(|since| at >= since) && until.is_none_or(|until| at <= until)
        };
        let expected: Vec<i64> = ALL.into_iter().filter(in_time).collect();
        assert_eq!(minutes(&page), expected, "{since:?} to {until:?}");
    }
}

#[tokio::test]
async fn halving_finds_the_first_line_after_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let projections = world(folder.path()).await;
    let store = &projections.shared.store;
    let before = |at| {
        let end = first_after(store, Stream::Catalog, minute(at)).unwrap();
        [1, 5, 9].into_iter().filter(|line| *line < end).count()
    };
    let found = [0, 1, 4, 5, 8, 9, 99].map(before);
    assert_eq!(found, [0, 1, 1, 2, 2, 3, 3]);
    let none = first_after(store, Stream::Runners, minute(1)).unwrap();
    assert_eq!(none, u64::MAX);
}

#[tokio::test]
async fn a_topic_is_found_by_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let projections = world(folder.path()).await;
    let digests = projections.topics_like("digest/sha256:").unwrap();
    assert_eq!(digests.len(), 2, "{digests:?}");
    assert_eq!(projections.topics_like(&digests[0]).unwrap(), digests[..1]);
    assert!(projections.topics_like("digest/x").unwrap().is_empty());
    assert!(projections.is_known(&query(1).topic).unwrap());
}
