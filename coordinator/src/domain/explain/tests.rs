//! Prepared puzzles: what is known, and the first line that has to come out.

use super::*;
use crate::testing::{pending_run, stepped};
use events::RunnerId;
use events::run::{Outcome, RunEvent};
use schemas::Tag;
use std::collections::BTreeSet;

const NOW: i64 = 100_000;

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).unwrap()
}

fn id(text: &str) -> RunnerId {
    text.parse().unwrap()
}

fn tags(texts: &[&str]) -> BTreeSet<Tag> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// In the lane `{gpu, team, type:procedural}`, requested 10 s ago.
fn pending() -> Run {
    let mut run = pending_run(at(10));
    let lane = tags(&["gpu", "team", "type:procedural"]);
    run.request.lane_tags = lane.into_iter().collect();
    run.first_sequence = 7;
    run
}

/// Offers all of it, with one of two slots busy.
fn runner(name: &str, contact: Contact) -> Candidate {
    Candidate {
        runner_id: id(name),
        hostname: format!("{name}.example"),
        offers: tags(&["gpu", "team", "bash", "type:procedural"]),
        one_of: BTreeSet::new(),
        slots: 2,
        holds: held(&[1_000]),
        contact,
    }
}

fn held(runs: &[u64]) -> BTreeSet<RunId> {
    runs.iter().map(|bits| RunId::from_bits(*bits)).collect()
}

fn offering(name: &str, offers: &[&str]) -> Candidate {
    Candidate {
        offers: tags(offers),
        ..runner(name, Contact::Online)
    }
}

fn full(name: &str) -> Candidate {
    Candidate {
        holds: held(&[1_000, 1_001]),
        ..runner(name, Contact::Online)
    }
}

fn claimed(runner: &str, attempt: u32) -> RunEvent {
    RunEvent::Claimed {
        runner_id: id(runner),
        attempt,
    }
}

fn started(runner: &str, attempt: u32) -> RunEvent {
    RunEvent::Started {
        runner_id: id(runner),
        attempt,
    }
}

fn held_by(runner: &str, status: RunStatus) -> Run {
    let steps = [
        claimed(runner, 1),
        started(runner, 1),
        RunEvent::StopRequested,
    ];
    let count = match status {
        RunStatus::Claimed => 1,
        RunStatus::Running => 2,
        _ => 3,
    };
    stepped(pending(), steps.into_iter().take(count))
}

fn failed(reason: FailureReason, error: &str) -> Run {
    let event = RunEvent::Failed {
        reason,
        error: error.to_owned(),
        outcome: None,
    };
    match reason {
        FailureReason::NoMatch => stepped(pending(), [event]),
        _ => stepped(held_by("a", RunStatus::Running), [event]),
    }
}

fn idempotent(mut run: Run) -> Run {
    run.request.max_attempts = 3;
    run
}

fn explained(run: &Run, fleet: &[Candidate]) -> Explanation {
    explained_among(run, fleet, &[], None)
}

fn explained_among(
    run: &Run,
    fleet: &[Candidate],
    waiting: &[u64],
    broker_away_since: Option<Timestamp>,
) -> Explanation {
    explain(&Facts {
        run,
        fleet,
        waiting,
        broker_away_since,
        schedule_timeout: Duration::from_secs(300),
        now: at(0),
    })
}

fn line(name: &str, explanation: &Explanation) -> String {
    let cause = serde_json::to_value(explanation.cause).unwrap();
    let waits = explanation.waits_for.as_deref().unwrap_or("-");
    let hint = explanation.hint.as_deref().unwrap_or("-");
    format!(
        "{name}\n  {} {}\n  waits for: {waits}\n  try: {hint}\n",
        cause.as_str().unwrap(),
        explanation.summary
    )
}

#[test]
fn why_nobody_takes_it() {
    let silent = |ago| Contact::Silent {
        since: Some(at(ago)),
    };
    let draining = Contact::Draining { since: at(20) };
    let left = Contact::Left { at: at(7_200) };
    let unknown = Contact::Silent { since: None };
    let nearly = || offering("b", &["team", "type:procedural"]);
    let puzzles = [
        ("no runner at all", vec![]),
        (
            "only one that lacks tags and is gone",
            vec![Candidate {
                contact: silent(90),
                ..nearly()
            }],
        ),
        (
            "a tag that nobody offers",
            vec![offering("a", &["x"]), nearly()],
        ),
        (
            "tags that nobody offers together",
            vec![offering("a", &["gpu", "type:procedural"]), nearly()],
        ),
        ("offline host", vec![runner("a", silent(90)), nearly()]),
        ("stopped in order", vec![runner("a", left)]),
        ("offline since before we looked", vec![runner("a", unknown)]),
        (
            "all offline",
            vec![runner("a", silent(400)), runner("b", silent(90))],
        ),
        ("drained", vec![runner("a", draining), nearly()]),
        (
            "one drained, one offline",
            vec![runner("a", draining), runner("b", silent(90))],
        ),
        (
            "one that holds scripts only",
            vec![
                nearly(),
                Candidate {
                    slots: 0,
                    ..runner("a", Contact::Online)
                },
            ],
        ),
        (
            "one that is kept for other work",
            vec![
                nearly(),
                Candidate {
                    one_of: tags(&["bash", "lab", "runner:a"]),
                    ..runner("a", Contact::Online)
                },
            ],
        ),
        ("full slots", vec![full("a"), runner("b", silent(90))]),
        ("full slots everywhere", vec![full("a"), full("b")]),
        ("not heard yet", vec![runner("a", Contact::Unheard)]),
        ("a free slot", vec![full("a"), runner("b", Contact::Online)]),
    ];
    let table = puzzles.map(|(name, fleet)| line(name, &explained(&pending(), &fleet)));
    insta::assert_snapshot!(table.concat());
}

#[test]
fn what_became_of_it_since() {
    let there = || vec![runner("a", Contact::Online)];
    let gone = || {
        vec![runner(
            "a",
            Contact::Silent {
                since: Some(at(50)),
            },
        )]
    };
    let gone_and_full = || [gone(), vec![full("b")]].concat();
    let puzzles = [
        ("claimed", held_by("a", RunStatus::Claimed), there()),
        (
            "claimed, runner silent",
            held_by("a", RunStatus::Claimed),
            gone_and_full(),
        ),
        ("running", held_by("a", RunStatus::Running), there()),
        (
            "running, runner silent",
            held_by("a", RunStatus::Running),
            gone_and_full(),
        ),
        (
            "retry waiting",
            idempotent(held_by("a", RunStatus::Running)),
            gone_and_full(),
        ),
        (
            "retry waiting for anybody",
            idempotent(held_by("a", RunStatus::Running)),
            gone(),
        ),
        ("stopping", held_by("a", RunStatus::Stopping), there()),
        (
            "stopping, runner silent",
            held_by("a", RunStatus::Stopping),
            gone(),
        ),
        (
            "runner forgotten",
            held_by("z", RunStatus::Running),
            there(),
        ),
    ];
    let table = puzzles.map(|(name, run, fleet)| line(name, &explained(&run, &fleet)));
    insta::assert_snapshot!(table.concat());
}

#[test]
fn a_held_run_waits_for_its_hook_and_for_nothing_else() {
    let mut run = pending();
    run.state = events::run::RunState::held();
    run.request.hooks = serde_json::from_value(serde_json::json!({
        "on_run_start": {"type": "agent", "agent_name": "gatekeeper"}
    }))
    .unwrap();
    let explained = explained(&run, &[]);
    assert_eq!(explained.cause, Cause::HookWaiting);
    let expected = "The on_run_start hook, agent gatekeeper, has not answered for 10 s; no runner \
                    can take the run before that.";
    assert_eq!(explained.summary, expected);
    assert_eq!(explained.position, None);
}

#[test]
fn how_it_ended() {
    let not_allowed = "\"x.js\" needs node, which this runner does not allow; it allows bash";
    let outcome = Outcome {
        exit_code: 0,
        result_data: serde_json::Value::Null,
        duration_ms: 1,
        result_chunks: None,
    };
    let completed = RunEvent::Completed {
        runner_id: id("a"),
        attempt: 1,
        outcome,
    };
    let stopped = RunEvent::Stopped { outcome: None };
    let puzzles = [
        (
            "completed",
            stepped(held_by("a", RunStatus::Running), [completed]),
        ),
        ("stopped before", stepped(pending(), [stopped.clone()])),
        (
            "stopped",
            stepped(held_by("a", RunStatus::Stopping), [stopped]),
        ),
        (
            "exit",
            failed(FailureReason::ExitCode, "it ended with exit code 3"),
        ),
        (
            "timeout",
            failed(FailureReason::Timeout, "it took longer than 300 s"),
        ),
        (
            "lost",
            failed(
                FailureReason::Lost,
                "runner a was lost while the script ran",
            ),
        ),
        (
            "no match",
            failed(FailureReason::NoMatch, "nobody offered {gpu} for 300 s."),
        ),
        (
            "interpreter not allowed",
            failed(FailureReason::Rejected, not_allowed),
        ),
        (
            "bundle rejected",
            failed(FailureReason::Rejected, "the script's bundle cannot be had"),
        ),
        ("blocked", failed(FailureReason::Blocked, "not today")),
        (
            "output",
            failed(FailureReason::OutputInvalid, "$.a is missing"),
        ),
    ];
    let table = puzzles.map(|(name, run)| line(name, &explained(&run, &[])));
    insta::assert_snapshot!(table.concat());
}

#[test]
fn without_the_broker_nothing_else_matters_but_an_end() {
    let away = Some(at(12));
    let waiting = explained_among(&pending(), &[], &[], away);
    let ended = failed(FailureReason::Lost, "x");
    assert_eq!(explained_among(&ended, &[], &[], away).cause, Cause::Failed);
    insta::assert_snapshot!(line("broker away", &waiting));
}

#[test]
fn the_place_in_the_lane_is_by_the_order_of_requests() {
    let explanation = explained_among(&pending(), &[full("a")], &[3, 7, 9], None);
    let expected = Position {
        ahead: 1,
        waiting: 3,
    };
    assert_eq!(explanation.position, Some(expected));
    assert!(
        explanation.summary.contains("1 run of its lane goes first"),
        "{}",
        explanation.summary
    );
}

#[test]
fn a_free_runner_that_takes_nothing_is_suspect() {
    let mut run = pending();
    run.created_at = at(60);
    let explanation = explained(&run, &[runner("a", Contact::Online)]);
    assert_eq!(explanation.cause, Cause::Claimable);
    insta::assert_snapshot!(line("free for long", &explanation));
}

#[test]
fn runners_are_listed_by_how_near_they_are() {
    let left = Contact::Left { at: at(9) };
    let fleet = [
        offering("lacks-two", &["gpu"]),
        Candidate {
            contact: left,
            ..offering("left-and-lacks", &[])
        },
        runner("left", left),
        offering("lacks-one", &["gpu", "team"]),
        full("full"),
        runner("free", Contact::Online),
    ];
    let listed = explained(&pending(), &fleet).runners;
    let listed: Vec<&str> = listed.iter().map(|note| note.runner_id.as_str()).collect();
    assert_eq!(listed, ["free", "full", "left", "lacks-one", "lacks-two"]);
}

#[test]
fn a_large_fleet_is_cut_where_it_lacks_tags() {
    let fleet: Vec<Candidate> = (0..200)
        .map(|number| offering(&format!("r{number}"), &["x"]))
        .chain([runner("a", Contact::Online)])
        .collect();
    let explanation = explained(&pending(), &fleet);
    let counts = (explanation.runners.len(), explanation.more_runners);
    assert_eq!(counts, (LACKING_MAX + 1, 200 - LACKING_MAX));
}

#[test]
fn only_what_no_present_runner_could_take_is_warned_of() {
    let nobody = |fleet: &[Candidate]| NoRunner::of(&explained(&pending(), fleet));
    assert_eq!(nobody(&[full("a")]), None);
    assert_eq!(nobody(&[runner("a", Contact::Unheard)]), None);
    let closest = |fleet: &[Candidate]| nobody(fleet).unwrap().closest;
    assert_eq!(closest(&[]), None);
    let missing = vec!["gpu".parse().unwrap()];
    assert_eq!(
        closest(&[
            offering("b", &["team", "type:procedural"]),
            offering("c", &[])
        ]),
        Some((id("b"), missing))
    );
}

#[test]
fn an_attempt_that_rests_says_for_how_long() {
    let mut run = idempotent(held_by("a", RunStatus::Claimed));
    // Its pause is 16 s, of which 10 have passed.
    run.state.attempt = 6;
    let found = explained(&run, &[runner("a", Contact::Online)]);
    assert_eq!(found.cause, Cause::RetryWaiting);
    let line = &found.summary;
    assert!(
        line.starts_with("Attempt 6 of 3 rests on a for 7 s more"),
        "{line}"
    );
    run.claimed_at = Some(at(20));
    let found = explained(&run, &[runner("a", Contact::Online)]);
    assert_eq!(found.cause, Cause::Claimed);
}
