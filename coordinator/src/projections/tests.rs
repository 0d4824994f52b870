//! Rebuilt state equals live state; what does not fit is thrown away and made again.

use super::changes::Changes;
use super::run_steps::RunsBatch;
use super::runs::Debt;
use super::runs::Runs;
use super::store::{Cursor, Store, open_fitting};
use super::{CatalogState, Projections, keys, lock, quarantine::Quarantine, shared_rows};
use crate::domain::testing::{agent_created, script_created};
use crate::testing::{envelope, request, requested};
use events::catalog::{CatalogEvent, Kind};
use events::log::memory::MemoryLog;
use events::log::{Append, AppendError, Appended, Bounds, Expect, Log as _, ReadError, Stored};
use events::run::{
    HookOf, HookPoint, Outcome, Run, RunEvent, RunRequest, RunState, RunStatus, RunStep,
};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{EventId, RunnerId, Timestamp};
use futures::stream::BoxStream;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn runner(id: &str) -> RunnerId {
    id.parse().unwrap()
}

fn run_subject(bits: u64, writer: Writer) -> String {
    let request = request(bits);
    let subject = RunSubject {
        lane: request.lane_tags.lane(),
        run_id: request.run_id,
        writer,
    };
    subject.as_string()
}

fn stored(sequence: u64, subject: String, step: &RunStep) -> Stored {
    Stored {
        subject,
        sequence,
        at: Timestamp::UNIX_EPOCH,
        payload: envelope(Timestamp::UNIX_EPOCH, step.clone()).to_bytes(),
        follows: None,
    }
}

/// Run 2 has hooks, and run 3 is the one after its end.
fn one_of(bits: u64) -> RunRequest {
    let hook = json!({"type": "agent", "agent_name": "gate"});
    let hooks = json!({"on_run_start": hook, "on_run_finish": hook});
    let of_two = HookOf {
        run_id: request(2).run_id,
        point: HookPoint::OnRunFinish,
    };
    match bits {
        2 => RunRequest {
            hooks: serde_json::from_value(hooks).unwrap(),
            ..request(2)
        },
        3 => RunRequest {
            hook_of: Some(of_two),
            ..request(3)
        },
        plain => request(plain),
    }
}

/// What random runners and coordinators do to a few runs: legal steps, illegal ones, rubbish.
fn history(choices: &[(u64, u8)]) -> Vec<Stored> {
    let mut states: std::collections::HashMap<u64, RunState> = Default::default();
    let mut messages = Vec::new();
    for (sequence, (run, choice)) in (1..).zip(choices) {
        let state = states
            .entry(*run)
            .or_insert_with(|| RunStep::first(one_of(*run)).state)
            .clone();
        let (runner_id, attempt) = (runner("a"), state.attempt);
        let outcome = Outcome {
            exit_code: 0,
            result_data: serde_json::Value::Null,
            result_chunks: None,
            duration_ms: 1,
        };
        let (writer, step) = match choice % 10 {
            0 => (Writer::Request, RunEvent::Requested(Box::new(one_of(*run)))),
            1 => (
                Writer::Runner(runner_id.clone()),
                RunEvent::Claimed { runner_id, attempt },
            ),
            2 => (
                Writer::Runner(runner_id.clone()),
                RunEvent::Started { runner_id, attempt },
            ),
            3 => (
                Writer::Runner(runner_id.clone()),
                RunEvent::Completed {
                    runner_id,
                    attempt,
                    outcome,
                },
            ),
            4 => (Writer::Coordinator, RunEvent::StopRequested),
            5 => (Writer::Coordinator, RunEvent::Stopped { outcome: None }),
            6 => (
                Writer::Runner(runner("b")),
                RunEvent::Started { runner_id, attempt },
            ),
            7 => (Writer::Coordinator, RunEvent::Held(Box::new(one_of(*run)))),
            8 => (
                Writer::Coordinator,
                RunEvent::HookNotRun {
                    point: HookPoint::ALL[usize::from(choice % 2)],
                    error: String::new(),
                },
            ),
            _ => (
                Writer::Runner(runner("b")),
                RunEvent::LateResult {
                    runner_id,
                    attempt,
                    outcome,
                },
            ),
        };
        let next = match &step {
            RunEvent::Requested(_) => RunState::requested(),
            RunEvent::Held(_) => RunState::held(),
            step => state.after(step).unwrap_or_else(|_| state.clone()),
        };
        if choice % 10 != 6 && choice % 10 != 9 {
            states.insert(*run, next.clone());
        }
        let step = RunStep { state: next, step };
        messages.push(stored(sequence, run_subject(*run, writer), &step));
    }
    messages
}

/// Applies a history in batches of these sizes, repeating some messages, and restarting from the
/// rows in between.
fn folded(messages: &[Stored], cuts: &[usize]) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (store, ()) = futures::executor::block_on(store_at(folder.path()));
    let (mut applied, mut cuts) = (0usize, cuts.iter().cycle());
    while applied < messages.len() {
        let mut runs = Runs::load(&store).unwrap();
        let until = (applied + 1 + cuts.next().unwrap()).min(messages.len());
        // A follower that begins again repeats what it had read ahead.
        let again = applied.saturating_sub(2);
        let mut step = RunsBatch::new(&mut runs, &store);
        let new = messages[again..until].iter();
        for message in new.filter(|message| message.sequence > applied as u64) {
            let _ = step.apply(message);
        }
        let (changes, _) = step.finish();
        applied = until;
        let cursor = Cursor {
            created: "x".to_owned(),
            sequence: applied as u64,
            head: None,
        };
        store.write(Stream::Runs, &cursor, changes);
    }
    store.dump()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rebuilt_rows_equal_live_rows_byte_for_byte(
        choices in proptest::collection::vec((0u64..4, any::<u8>()), 1..60),
        cuts in proptest::collection::vec(0usize..7, 1..8),
    ) {
        let messages = history(&choices);
        let rebuilt = folded(&messages, &[messages.len()]);
        prop_assert_eq!(folded(&messages, &cuts), rebuilt);
    }
}

/// Without what begins or requests a run that was begun or requested before: the broker takes no
/// such thing.
fn each_requested_once(messages: Vec<Stored>) -> Vec<Stored> {
    let mut told = std::collections::HashSet::new();
    let first = |m: &Stored| {
        let envelope = events::Envelope::<RunStep>::from_bytes(&m.payload).unwrap();
        match envelope.event.step {
            RunEvent::Requested(request) => told.insert((request.run_id, "requested")),
            RunEvent::Held(request) => told.insert((request.run_id, "held")),
            _ => true,
        }
    };
    messages.into_iter().filter(first).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_retention_drops_is_gone_as_after_a_rebuild(
        choices in proptest::collection::vec((0u64..4, any::<u8>()), 1..60),
        dropped in 0usize..60,
    ) {
        let messages = each_requested_once(history(&choices));
        let kept_from = messages.get(dropped.min(messages.len() - 1)).unwrap().sequence;
        let fold = |from: u64| {
            let folder = tempfile::tempdir().unwrap();
            let (store, ()) = futures::executor::block_on(store_at(folder.path()));
            let mut runs = Runs::default();
            let mut step = RunsBatch::new(&mut runs, &store);
            for message in messages.iter().filter(|m| m.sequence >= from) {
                let _ = step.apply(message);
            }
            let (changes, _) = step.finish();
            write_runs(&store, &changes);
            (store, runs, folder)
        };
        let (live, mut runs, _live_folder) = fold(1);
        let rows = live.rows::<Run>(super::keys::RUNS).map(|row| row.unwrap().1);
        let gone: Vec<Run> = rows.filter(|run| run.first_sequence < kept_from).collect();
        let mut step = RunsBatch::new(&mut runs, &live);
        step.forget(gone);
        let (changes, _) = step.finish();
        write_runs(&live, &changes);
        let (rebuilt, rebuilt_runs, _rebuilt_folder) = fold(kept_from);
        for status in RunStatus::ALL {
            prop_assert_eq!(runs.count(status), rebuilt_runs.count(status));
            let live = runs.live().values().filter(|run| run.state.status == status);
            let mut live: Vec<u64> = live.map(|run| run.first_sequence).collect();
            live.reverse();
            let listed: Vec<u64> = runs.live_in(status, u64::MAX).map(|(first, _)| first).collect();
            prop_assert_eq!(listed, live);
        }
        prop_assert_eq!(live.dump(), rebuilt.dump());
    }
}

fn write_runs(store: &Store, changes: &Changes) {
    let cursor = Cursor {
        created: "x".to_owned(),
        sequence: 60,
        head: None,
    };
    store.write(Stream::Runs, &cursor, changes.clone());
}

fn apply_one(runs: &mut Runs, message: &Stored) -> Result<(), Quarantine> {
    struct Nothing;
    impl super::runs::Past for Nothing {
        fn ended(&self, _: &events::RunId, _: &super::eras::Eras) -> Option<Run> {
            None
        }
    }
    let mut step = RunsBatch::new(runs, &Nothing);
    let applied = step.apply(message);
    step.finish();
    applied
}

fn claimed(id: &str, status: RunStatus) -> RunStep {
    RunStep {
        state: RunState {
            status,
            runner_id: Some(runner(id)),
            ..RunState::requested()
        },
        step: RunEvent::Claimed {
            runner_id: runner(id),
            attempt: 1,
        },
    }
}

#[rstest]
#[case::as_somebody_else("b", claimed("a", RunStatus::Claimed), "writer")]
#[case::with_a_false_state("a", claimed("a", RunStatus::Completed), "state it claims")]
#[case::as_a_coordinator(
    "a",
    RunStep { state: RunState::requested(), step: RunEvent::StopRequested },
    "writer"
)]
#[case::another_request("a", requested(request(1)), "writer")]
fn a_runner_cannot_append(#[case] writer: &str, #[case] step: RunStep, #[case] reason: &str) {
    let mut runs = Runs::default();
    let first = stored(1, run_subject(1, Writer::Request), &requested(request(1)));
    apply_one(&mut runs, &first).unwrap();
    let forged = stored(2, run_subject(1, Writer::Runner(runner(writer))), &step);
    let refused = apply_one(&mut runs, &forged).unwrap_err().to_string();
    assert!(refused.contains(reason), "{refused}");
    let run = runs.live_run(&request(1).run_id).unwrap();
    assert_eq!(run.state, RunState::requested());
    assert_eq!(run.last_sequence, 2, "the next append has to expect it");
}

#[test]
fn a_request_stands_under_its_own_subject() {
    let mut runs = Runs::default();
    let other = stored(1, run_subject(2, Writer::Request), &requested(request(1)));
    assert!(matches!(
        apply_one(&mut runs, &other),
        Err(Quarantine::Mismatch)
    ));
    let coordinator = stored(
        2,
        run_subject(1, Writer::Coordinator),
        &requested(request(1)),
    );
    assert!(matches!(
        apply_one(&mut runs, &coordinator),
        Err(Quarantine::Writer)
    ));
    let unknown = stored(
        3,
        run_subject(1, Writer::Runner(runner("a"))),
        &claimed("a", RunStatus::Claimed),
    );
    assert!(matches!(
        apply_one(&mut runs, &unknown),
        Err(Quarantine::UnknownRun)
    ));
    assert!(runs.live().is_empty());
}

#[test]
fn an_event_beside_the_hash_chain_is_not_applied_and_the_next_one_is() {
    let message = |sequence, previous, event: CatalogEvent| {
        let mut envelope = envelope(Timestamp::UNIX_EPOCH, event);
        envelope.previous = previous;
        Stored {
            subject: subject::catalog(envelope.event.kind(), envelope.event.name()),
            sequence,
            at: Timestamp::UNIX_EPOCH,
            payload: envelope.to_bytes(),
            follows: None,
        }
    };
    let mut state = CatalogState::default();
    let mut changes = Changes::default();
    let first = message(1, None, script_created("a", "1"));
    state.apply(&first, &mut changes).unwrap();
    let forged = message(2, None, script_created("b", "1"));
    assert!(matches!(
        state.apply(&forged, &mut changes),
        Err(Quarantine::Chain)
    ));
    let third = message(3, state.head, agent_created("x", "a"));
    state.apply(&third, &mut changes).unwrap();
    assert_eq!(
        (state.catalog.scripts.len(), state.catalog.agents.len()),
        (1, 1)
    );
}

async fn append_script(log: &MemoryLog, name: &str) {
    let last = log.last(Stream::Catalog, "catalog.>").await.unwrap();
    let mut next = envelope(Timestamp::UNIX_EPOCH, script_created(name, "1"));
    next.previous = last.as_ref().map(|last| schemas::Digest::of(&last.payload));
    let append = Append {
        stream: Stream::Catalog,
        subject: subject::catalog(Kind::Script, &name.parse().unwrap()),
        id: EventId::fresh(),
        payload: next.to_bytes(),
        expect: Expect::Stream {
            sequence: last.map_or(0, |last| last.sequence),
        },
    };
    log.append(append).await.unwrap();
}

async fn opened(log: &MemoryLog, path: &std::path::Path) -> Projections {
    Projections::open(Arc::new(log.clone()), path)
        .await
        .unwrap()
}

async fn store_at(path: &std::path::Path) -> (Store, ()) {
    open_fitting(path, &[], |_| Ok(())).await.unwrap()
}

fn names(projections: &Projections) -> Vec<String> {
    let catalog = projections.catalog().catalog;
    catalog.scripts.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let (log, folder) = (MemoryLog::default(), tempfile::tempdir().unwrap());
    append_script(&log, "a").await;
    let before = opened(&log, folder.path()).await;
    let state = before.catalog();
    before.close().await;
    drop(before);
    let after = opened(&log, folder.path()).await;
    assert_eq!(after.catalog(), state);
    append_script(&log, "b").await;
    after.applied(Stream::Catalog, 2).await;
    assert_eq!(names(&after), ["a", "b"]);
    assert!(lock(&after.shared.waiting).is_empty());
}

#[rstest]
#[case::a_file_in_its_place(|path: &std::path::Path| {
    std::fs::remove_dir_all(path).unwrap();
    std::fs::write(path, "not a folder").unwrap();
})]
#[case::every_file_overwritten(|path: &std::path::Path| {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::write(entry.path(), [0xa5; 4096]).unwrap();
        }
    }
})]
#[case::every_file_cut_short(|path: &std::path::Path| {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::write(entry.path(), b"x").unwrap();
        }
    }
})]
#[tokio::test]
async fn a_damaged_folder_is_made_again(#[case] damage: fn(&std::path::Path)) {
    let (log, folder) = (MemoryLog::default(), tempfile::tempdir().unwrap());
    let path = folder.path().join("projection");
    append_script(&log, "a").await;
    opened(&log, &path).await.close().await;
    damage(&path);
    assert_eq!(names(&opened(&log, &path).await), ["a"]);
}

#[tokio::test]
async fn a_store_of_another_stream_or_ahead_of_it_is_made_again() {
    let (log, folder) = (MemoryLog::default(), tempfile::tempdir().unwrap());
    append_script(&log, "a").await;
    for (created, sequence) in [("another", 1), ("in memory", 99)] {
        let (store, ()) = store_at(folder.path()).await;
        let cursor = Cursor {
            created: created.to_owned(),
            sequence,
            head: None,
        };
        store.write(Stream::Catalog, &cursor, Changes::default());
        drop(store);
        let projections = opened(&log, folder.path()).await;
        assert_eq!(names(&projections), ["a"]);
        projections.close().await;
    }
}

#[tokio::test]
async fn a_store_in_use_is_left_alone() {
    let (log, folder) = (MemoryLog::default(), tempfile::tempdir().unwrap());
    let _first = opened(&log, folder.path()).await;
    tokio::time::pause();
    let second = open_fitting(folder.path(), &[], |_| Ok(())).await;
    let error = second.err().unwrap().to_string();
    assert!(error.contains("in use by another process"), "{error}");
}

/// A log whose streams are made again behind the back of who follows it.
struct MadeAgain {
    log: MemoryLog,
    is_new: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl events::log::Log for MadeAgain {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.log.append(append).await
    }

    async fn last(&self, stream: Stream, filter: &str) -> Result<Option<Stored>, ReadError> {
        self.log.last(stream, filter).await
    }

    async fn page(
        &self,
        stream: Stream,
        filter: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        self.log.page(stream, filter, from, limit).await
    }

    async fn bounds(&self, stream: Stream) -> Result<Bounds, ReadError> {
        let bounds = self.log.bounds(stream).await?;
        Ok(match self.is_new.load(Ordering::Relaxed) {
            true => Bounds {
                created: "another".to_owned(),
                ..bounds
            },
            false => bounds,
        })
    }

    fn follow(&self, stream: Stream, from: u64) -> BoxStream<'static, Stored> {
        self.log.follow(stream, from)
    }

    async fn changes(
        &self,
        stream: Stream,
        filter: &str,
    ) -> Result<BoxStream<'static, ()>, ReadError> {
        self.log.changes(stream, filter).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_made_again_is_no_base_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(MadeAgain {
        log: MemoryLog::default(),
        is_new: false.into(),
    });
    let projections = Projections::open(log.clone(), folder.path()).await.unwrap();
    log.is_new.store(true, Ordering::Relaxed);
    let unfit = projections.unfit().await.to_string();
    assert!(unfit.contains("start the coordinator again"), "{unfit}");
}

#[test]
fn a_finish_hook_is_owed_until_it_has_a_run_or_cannot_have_one() {
    let step = |state: &RunState, step: RunEvent| step.after(state).unwrap();
    let first = stored(
        1,
        run_subject(2, Writer::Coordinator),
        &RunStep::first(one_of(2)),
    );
    let stop = step(&RunState::held(), RunEvent::Stopped { outcome: None });
    let not_run = RunEvent::HookNotRun {
        point: HookPoint::OnRunFinish,
        error: "gone".to_owned(),
    };
    let not_run = stored(
        3,
        run_subject(2, Writer::Coordinator),
        &step(&stop.state, not_run),
    );
    let its_run = stored(
        3,
        run_subject(3, Writer::Request),
        &RunStep::first(one_of(3)),
    );
    let stop = stored(2, run_subject(2, Writer::Coordinator), &stop);
    for paid in [not_run, its_run] {
        let folder = tempfile::tempdir().unwrap();
        let (store, ()) = futures::executor::block_on(store_at(folder.path()));
        let mut runs = Runs::default();
        let mut owed = Vec::new();
        for message in [&first, &stop, &paid] {
            let mut batch = RunsBatch::new(&mut runs, &store);
            batch.apply(message).unwrap();
            let (changes, _) = batch.finish();
            write_runs(&store, &changes);
            let rows = store.keys(super::keys::OWED_HOOKS).count();
            assert_eq!(rows, runs.owed.of(Debt::Hook).len());
            owed.push(rows);
        }
        assert_eq!(owed, [0, 1, 0]);
    }
}

#[test]
fn a_hook_cannot_make_another_run_of_the_one_it_is_for() {
    let mut runs = Runs::default();
    let begin = |runs: &mut Runs, writer| {
        let first = stored(1, run_subject(2, writer), &RunStep::first(one_of(2)));
        apply_one(runs, &first)
    };
    let in_the_queue = begin(&mut runs, Writer::Request);
    assert!(matches!(in_the_queue, Err(Quarantine::Writer)));
    begin(&mut runs, Writer::Coordinator).unwrap();
    assert_eq!(runs.hooked().count(), 1);
    let other = RunRequest {
        digest: schemas::Digest::of(b"other"),
        ..one_of(2)
    };
    let forged = stored(2, run_subject(2, Writer::Request), &requested(other));
    assert!(matches!(
        apply_one(&mut runs, &forged),
        Err(Quarantine::Writer)
    ));
    let released = stored(3, run_subject(2, Writer::Request), &requested(one_of(2)));
    apply_one(&mut runs, &released).unwrap();
    assert_eq!(runs.hooked().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_indexes_share_what_both_have(
        one in proptest::collection::btree_set(0u64..40, 0..30),
        other in proptest::collection::btree_set(0u64..40, 0..30),
        before in 0u64..41,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (store, ()) = futures::executor::block_on(store_at(folder.path()));
        let mut changes = Changes::default();
        for (prefix, numbers) in [(b"x/", &one), (b"y/", &other)] {
            numbers.iter().for_each(|n| changes.mark(keys::numbered(prefix, *n)));
        }
        write_runs(&store, &changes);
        let found = shared_rows::in_both(&store, b"x/".to_vec(), b"y/".to_vec(), before);
        let found: Vec<u64> = found.map(Result::unwrap).collect();
        let shared = one.into_iter().filter(|n| other.contains(n) && *n < before);
        let expected: Vec<u64> = shared.rev().collect();
        prop_assert_eq!(found, expected);
    }
}
