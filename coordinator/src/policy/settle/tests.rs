//! Given who is there and what runs, when time has passed, then this follows.

use super::*;
use crate::testing::{pending_run, registration, stepped};
use events::runner::Presence;
use rstest::rstest;

const SECOND: i64 = 1;
const NOW: i64 = 100_000 * SECOND;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(text: &str) -> RunnerId {
    text.parse().unwrap()
}

/// Runners `(id, seconds since the last heartbeat)` that offer what every run here needs.
fn actions_with(runs: &[Run], runners: &[(&str, i64)], connected_for: i64) -> Vec<Action> {
    let mut hearing = Hearing {
        since: Some(at(NOW - connected_for)),
        ..Hearing::new(Cadence::default())
    };
    let mut known = BTreeMap::new();
    for (runner, silence) in runners {
        let presence = Presence {
            runner_id: id(runner),
            at: at(NOW),
            runs: Default::default(),
            max_runs: 1,
            draining: false,
            silence_seconds: None,
        };
        hearing.hear(presence, at(NOW - silence));
        let runner_row = Runner {
            registration: registration(&["type:procedural"]),
            registered_at: at(0),
            registered_sequence: 1,
            synced: None,
            left_at: None,
        };
        known.insert(id(runner), runner_row);
    }
    let situation = Situation {
        live: runs,
        runners: &known,
        hearing: &hearing,
        now: at(NOW),
    };
    actions(&situation, Patience::of(Cadence::default()))
}

/// One runner that is there and offers what every run here needs, with so many slots.
fn with_slots(run: Run, max_runs: u32) -> Vec<Action> {
    let presence = Presence {
        runner_id: id("a"),
        at: at(NOW),
        runs: Default::default(),
        max_runs,
        draining: false,
        silence_seconds: None,
    };
    let mut hearing = Hearing {
        since: Some(at(NOW - 1_000)),
        ..Hearing::new(Cadence::default())
    };
    hearing.hear(presence, at(NOW - 5));
    let row = Runner {
        registration: events::runner::Registration {
            max_runs,
            ..registration(&["type:procedural"])
        },
        registered_at: at(0),
        registered_sequence: 1,
        synced: None,
        left_at: None,
    };
    let situation = Situation {
        live: &[run],
        runners: &[(id("a"), row)].into(),
        hearing: &hearing,
        now: at(NOW),
    };
    actions(&situation, Patience::of(Cadence::default()))
}

#[test]
fn who_holds_scripts_only_is_nobody_to_wait_for() {
    let run = || pending_run(at(NOW - 301));
    assert_eq!(with_slots(run(), 1), []);
    let found = with_slots(run(), 0);
    let [Action::Append { step, .. }] = &found[..] else {
        panic!("{found:?}");
    };
    let RunEvent::Failed { error, .. } = step else {
        panic!("{step:?}");
    };
    assert!(
        error.contains("a offers these tags and holds scripts only"),
        "{error}"
    );
}

fn run_in(status: RunStatus, max_attempts: u32) -> Run {
    let mut run = pending_run(at(NOW - 60));
    run.request.max_attempts = max_attempts;
    let (runner_id, attempt) = (id("a"), 1);
    let claimed = RunEvent::Claimed {
        runner_id: runner_id.clone(),
        attempt,
    };
    let started = RunEvent::Started { runner_id, attempt };
    let steps = match status {
        RunStatus::Pending => vec![],
        RunStatus::Claimed => vec![claimed],
        RunStatus::Running => vec![claimed, started],
        _ => vec![claimed, started, RunEvent::StopRequested],
    };
    stepped(run, steps)
}

fn step_of(action: &Action) -> &'static str {
    match action {
        Action::AskThenAppend { step, .. } | Action::Append { step, .. } => step.name(),
    }
}

#[rstest]
#[case::running(RunStatus::Running, 1, Some("failed"))]
#[case::idempotent(RunStatus::Running, 3, None)]
#[case::stopping(RunStatus::Stopping, 1, Some("stopped"))]
#[case::not_started(RunStatus::Claimed, 1, None)]
#[case::pending_for_a_minute(RunStatus::Pending, 1, None)]
fn the_runs_of_a_silent_runner(
    #[case] status: RunStatus,
    #[case] max_attempts: u32,
    #[case] expected: Option<&str>,
) {
    let runs = [run_in(status, max_attempts)];
    let found = actions_with(&runs, &[("a", 60)], 1_000);
    assert_eq!(found.first().map(step_of), expected);
    let asked = |a: &Action| matches!(a, Action::AskThenAppend { .. });
    assert!(found.iter().all(asked), "a runner is asked first");
}

#[rstest]
#[case::its_runner_serves_the_lane(&[("a", 5)], 1_000)]
#[case::somebody_else_serves_the_lane(&[("a", 60), ("b", 5)], 1_000)]
#[case::we_were_away_ourselves(&[("a", 60)], 30)]
fn nothing_follows_when(#[case] runners: &[(&str, i64)], #[case] connected_for: i64) {
    let runs = [run_in(RunStatus::Running, 1)];
    assert_eq!(actions_with(&runs, runners, connected_for), []);
}

#[rstest]
#[case::silent_for_long(60, true)]
#[case::silent_for_less(40, false)]
fn no_answer_counts_only_from_who_was_not_heard(#[case] silence: i64, #[case] expected: bool) {
    let runs = [run_in(RunStatus::Running, 1)];
    let found = actions_with(&runs, &[("a", silence)], 1_000);
    let [Action::AskThenAppend { silent, .. }] = found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(silent, expected);
}

#[test]
fn what_was_claimed_and_never_started_ends_where_nobody_comes() {
    let mut run = run_in(RunStatus::Claimed, 1);
    run.queued_at = at(NOW - 1_000);
    let found = actions_with(&[run], &[("a", 400)], 1_000);
    let [Action::AskThenAppend { step, .. }] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(
        matches!(
            step,
            RunEvent::Failed {
                reason: FailureReason::NoMatch,
                ..
            }
        ),
        "{step:?}"
    );
}

#[test]
fn nobody_came_for_five_minutes() {
    let runs = [pending_run(at(NOW - 301))];
    let found = actions_with(&runs, &[], 1_000);
    let [
        Action::Append {
            step: RunEvent::Failed { reason, error, .. },
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(*reason, FailureReason::NoMatch);
    assert!(error.contains("{type:procedural}"), "{error}");
    assert_eq!(actions_with(&runs, &[("a", 5)], 1_000), []);
}

#[rstest]
#[case::nobody_is_expected(&[], None, 1, Some("failed"))]
#[case::one_may_be_there_that_we_have_not_heard(&["a"], None, 1, None)]
#[case::one_was_never_heard(&["a"], None, 1_000, Some("failed"))]
#[case::one_left_long_ago(&["a"], Some(400), 1, Some("failed"))]
#[case::one_left_a_moment_ago(&["a"], Some(20), 1_000, None)]
fn a_run_that_nobody_takes(
    #[case] runners: &[&str],
    #[case] left_ago: Option<i64>,
    #[case] connected_for: i64,
    #[case] expected: Option<&str>,
) {
    let runners = runners.iter().map(|runner| {
        let row = Runner {
            registration: registration(&["type:procedural"]),
            registered_at: at(0),
            registered_sequence: 1,
            synced: None,
            left_at: left_ago.map(|ago| at(NOW - ago)),
        };
        (id(runner), row)
    });
    let hearing = Hearing {
        since: Some(at(NOW - connected_for)),
        ..Hearing::new(Cadence::default())
    };
    let found = actions(
        &Situation {
            live: &[pending_run(at(NOW - 1_000))],
            runners: &runners.collect(),
            hearing: &hearing,
            now: at(NOW),
        },
        Patience::of(Cadence::default()),
    );
    assert_eq!(found.first().map(step_of), expected);
}

#[test]
fn a_run_may_bring_its_own_patience() {
    let mut run = pending_run(at(NOW - 60));
    assert_eq!(actions_with(&[run.clone()], &[], 1_000), []);
    run.request.schedule_timeout_seconds = Some(30);
    assert_eq!(actions_with(&[run], &[], 1_000).len(), 1);
}
