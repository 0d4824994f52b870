//! Runs that runners over HTTP hold: what becomes of them when their runner is gone, or when they take
//! too long. Only coordinators know whether such a runner lives, so nobody else settles them.

use crate::domain::over_http::timekeeper;
use crate::projections::{Hearing, Runner};
use events::run::{FailureReason, Run, RunEvent, RunStatus};
use events::{Actor, Cadence, RunnerId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is to be appended.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// In the runner's own name.
    AsRunner(RunEvent),
    AsCoordinator(Actor, RunEvent),
}

/// What follows now for a run that such a runner holds, one after the other; nothing where all is well.
/// `silence` is how long one may be silent that is not known any more.
pub fn steps(
    run: &Run,
    runners: &BTreeMap<RunnerId, Runner>,
    hearing: &Hearing,
    now: Timestamp,
) -> Vec<Step> {
    let Some(holder) = &run.state.runner_id else {
        return Vec::new();
    };
    match is_gone(holder, runners, hearing, now) {
        true => settled(run, holder),
        false => overdue(run, hearing.cadence, now).into_iter().collect(),
    }
}

fn is_gone(
    holder: &RunnerId,
    runners: &BTreeMap<RunnerId, Runner>,
    hearing: &Hearing,
    now: Timestamp,
) -> bool {
    // Forgotten, or it said itself that it leaves.
    let Some(runner) = runners.get(holder).filter(|r| r.left_at.is_none()) else {
        return true;
    };
    let silence = runner.registration.over_http.as_ref();
    let silence = silence.map_or(hearing.cadence.silence(), |http| http.silence());
    // Before that, silence may be ours.
    let heard_for = hearing.since.map(|since| elapsed(since, now));
    heard_for.is_some_and(|long| long >= silence)
        && elapsed(runner.registered_at, now) >= silence
        && !hearing.presences.heard_within(holder, silence, now)
}

fn settled(run: &Run, holder: &RunnerId) -> Vec<Step> {
    let attempt = run.state.attempt;
    let released = |attempt| {
        Step::AsRunner(RunEvent::Released {
            runner_id: holder.clone(),
            attempt,
        })
    };
    let policy = Actor::policy("settle");
    match run.state.status {
        RunStatus::Stopping => {
            let stopped = RunEvent::Stopped { outcome: None };
            vec![Step::AsCoordinator(policy, stopped)]
        }
        RunStatus::Claimed => vec![released(attempt)],
        // The next attempt begins in the queue, where any runner finds it.
        RunStatus::Running if attempt < run.request.max_attempts => {
            let again = RunEvent::Claimed {
                runner_id: holder.clone(),
                attempt: attempt + 1,
            };
            vec![Step::AsRunner(again), released(attempt + 1)]
        }
        RunStatus::Running => vec![Step::AsCoordinator(policy, lost(run, holder))],
        _ => Vec::new(),
    }
}

fn lost(run: &Run, holder: &RunnerId) -> RunEvent {
    let repeated = match run.request.max_attempts {
        1 => "it is not marked idempotent, so it was not repeated".to_owned(),
        attempts => format!("it was the last of {attempts} attempts"),
    };
    RunEvent::Failed {
        reason: FailureReason::Lost,
        error: format!("runner {holder} was lost while the script was running; {repeated}"),
        outcome: None,
    }
}

/// Such a runner is not trusted to keep the time, and knows nothing of a run whose way to it was lost.
fn overdue(run: &Run, cadence: Cadence, now: Timestamp) -> Option<Step> {
    if run.state.status == RunStatus::Stopping && !run.state.started {
        let unheard = elapsed(run.claimed_at?, now) > 2 * cadence.lease();
        let stopped = RunEvent::Stopped { outcome: None };
        return unheard.then(|| Step::AsCoordinator(Actor::policy("settle"), stopped));
    }
    let started = run.started_at?;
    let limit = Duration::from_secs(run.request.timeout_seconds.into());
    let late = run.state.status == RunStatus::Running && elapsed(started, now) > limit;
    late.then(|| Step::AsCoordinator(timekeeper(), RunEvent::StopRequested))
}

/// Clocks of others may be ahead of ours: then nothing has passed yet.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{registration, request, requested_run, stepped};
    use events::runner::{OverHttp, Presence};
    use rstest::rstest;

    const SILENCE: i64 = 150;
    const NOW: i64 = 10_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id() -> RunnerId {
        RunnerId::over_http(1)
    }

    /// A run that the runner holds, not yet started.
    fn held(max_attempts: u32) -> Run {
        let claimed = RunEvent::Claimed {
            runner_id: id(),
            attempt: 1,
        };
        let request = events::run::RunRequest {
            max_attempts,
            timeout_seconds: u32::MAX,
            ..request(1)
        };
        stepped(requested_run(request), [claimed])
    }

    fn started(max_attempts: u32) -> Run {
        let started = RunEvent::Started {
            runner_id: id(),
            attempt: 1,
        };
        stepped(held(max_attempts), [started])
    }

    /// Of a runner heard so many seconds ago, by who has listened for so long.
    fn told(run: &Run, silent_for: i64, listened_for: i64) -> Vec<String> {
        let mut hearing = Hearing {
            since: Some(at(NOW - listened_for)),
            ..Hearing::new(Cadence::default())
        };
        let presence = Presence {
            runner_id: id(),
            at: at(NOW),
            runs: Default::default(),
            max_runs: 1,
            draining: false,
            silence_seconds: Some(150),
        };
        hearing.hear(presence, at(NOW - silent_for));
        let mut registration = registration(&["type:procedural"]);
        registration.over_http = Some(Box::new(OverHttp {
            executor: Default::default(),
            token: "t".to_owned(),
            silence_seconds: 150,
        }));
        let runner = Runner {
            registration,
            registered_at: at(0),
            registered_sequence: 1,
            synced: None,
            left_at: None,
        };
        let steps = steps(run, &[(id(), runner)].into(), &hearing, at(NOW));
        steps.into_iter().map(name).collect()
    }

    fn name(step: Step) -> String {
        match step {
            Step::AsRunner(event) => format!("runner {}", event.name()),
            Step::AsCoordinator(actor, event) => format!("{} {}", actor.name, event.name()),
        }
    }

    #[rstest]
    #[case::not_started(held(1), &["runner released"])]
    #[case::started(started(1), &["settle failed"])]
    #[case::idempotent(started(2), &["runner claimed", "runner released"])]
    #[case::stopping(stepped(started(2), [RunEvent::StopRequested]), &["settle stopped"])]
    fn what_a_silent_runner_leaves_is_settled(#[case] run: Run, #[case] expected: &[&str]) {
        assert_eq!(told(&run, SILENCE + 1, 1_000), expected);
        assert!(told(&run, SILENCE - 1, 1_000).is_empty(), "it may come");
        assert!(
            told(&run, SILENCE + 1, SILENCE - 1).is_empty(),
            "or was not heard"
        );
    }

    #[rstest]
    fn who_is_forgotten_is_gone_at_once() {
        let hearing = Hearing::new(Cadence::default());
        let steps = steps(&held(1), &BTreeMap::new(), &hearing, at(NOW));
        assert_eq!(steps.len(), 1);
    }

    #[test]
    fn what_takes_too_long_is_asked_to_end_once() {
        let mut run = started(1);
        run.request.timeout_seconds = 60;
        assert_eq!(told(&run, 1, 1_000), ["timeout stop_requested"]);
        let stopping = stepped(run, [RunEvent::StopRequested]);
        assert!(told(&stopping, 1, 1_000).is_empty());
    }
}
