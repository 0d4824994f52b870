//! What to do with a run that is handed to us, or whose append met a conflict. Pure: the run's
//! state in, a verdict out.

use crate::RunnerId;
use crate::question::Answer;
use crate::run::{FailureReason, RunEvent, RunState, RunStatus};

/// What a delivery, or a conflict, calls for.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Append this, and then work on the run.
    Claim { attempt: u32 },
    /// Append this; nobody works on the run any more.
    Settle(RunEvent),
    /// It has ended: never deliver it again.
    Over,
    /// Its holder has to be asked before anything else.
    Ask(RunnerId),
    /// It is in good hands, or we cannot know: deliver it again later.
    HandBack,
}

/// What is known about who holds the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody was asked yet.
    Unknown,
    /// It answered.
    Said(Answer),
    /// It did not answer, and we have been connected, and awake, long enough to believe that.
    SilentForLong,
    /// It did not answer, but we were away ourselves until a moment ago.
    SilentForAMoment,
}

/// The verdict on a run in `state` that was handed to `me`, who is not at work on it.
pub fn verdict(state: &RunState, max_attempts: u32, me: &RunnerId, holder: Holder) -> Verdict {
    let Some(holding) = &state.runner_id else {
        return unheld(state);
    };
    if state.status.is_final() {
        return Verdict::Over;
    }
    // Whether such a runner lives only coordinators know, and they settle what it leaves.
    if holding.is_over_http() {
        return Verdict::HandBack;
    }
    // We hold it and know nothing of it: an earlier life of ours did.
    if holding == me {
        return orphaned(state, max_attempts, me);
    }
    match holder {
        Holder::Unknown => Verdict::Ask(holding.clone()),
        Holder::Said(Answer::Yes) | Holder::SilentForAMoment => Verdict::HandBack,
        Holder::Said(Answer::No) | Holder::SilentForLong => orphaned(state, max_attempts, holding),
    }
}

fn unheld(state: &RunState) -> Verdict {
    if state.status.is_final() {
        Verdict::Over
    } else {
        Verdict::Claim {
            attempt: state.attempt,
        }
    }
}

/// The run's holder is gone: what the rules allow next.
fn orphaned(state: &RunState, max_attempts: u32, holder: &RunnerId) -> Verdict {
    match state.status {
        RunStatus::Stopping => Verdict::Settle(RunEvent::Stopped { outcome: None }),
        _ if !state.started => Verdict::Claim {
            attempt: state.attempt,
        },
        _ if state.attempt < max_attempts => Verdict::Claim {
            attempt: state.attempt + 1,
        },
        _ => Verdict::Settle(lost(holder)),
    }
}

fn lost(holder: &RunnerId) -> RunEvent {
    RunEvent::Failed {
        reason: FailureReason::Lost,
        error: format!(
            "runner {holder} was lost while the script ran; the script is not idempotent, so it was not repeated"
        ),
        outcome: None,
    }
}

/// What becomes of our own event after somebody else's came first.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// It still fits: append it after the newer state.
    Again(Box<RunEvent>),
    /// It is what the log says already: our own, whose acknowledgement was lost.
    Stands,
    /// The run is no longer ours; what the script left is kept as evidence.
    Evidence(Box<RunEvent>),
    /// There is nothing left to say.
    Nothing,
}

/// The verdict on `event`, which `me` wanted to append in `attempt`, when the run turned out to be
/// in `state`.
pub fn after_conflict(state: &RunState, me: &RunnerId, attempt: u32, event: RunEvent) -> Next {
    let ours = state.is_held_by(me, attempt) && !state.status.is_final();
    if ours && state.after(&event).is_ok() {
        return Next::Again(Box::new(event));
    }
    if ours && state.status == RunStatus::Stopping && !state.started {
        return Next::Again(Box::new(RunEvent::Stopped { outcome: None }));
    }
    // Only the holder writes these, so they are our own.
    match &event {
        RunEvent::Started { .. } if ours && state.status == RunStatus::Running => {
            return Next::Stands;
        }
        // Nothing was spawned yet, and now nothing will be.
        RunEvent::Started { .. } if ours && state.status == RunStatus::Stopping => {
            return Next::Again(Box::new(RunEvent::Stopped { outcome: None }));
        }
        RunEvent::Released { .. } if state.status == RunStatus::Pending => return Next::Stands,
        end if state.is_held_by(me, attempt) && is_end(state, end) => return Next::Stands,
        _ => {}
    }
    match outcome(event) {
        Some(outcome) => Next::Evidence(Box::new(RunEvent::LateResult {
            runner_id: me.clone(),
            attempt,
            outcome,
        })),
        None => Next::Nothing,
    }
}

/// Whether the run ended in just the way that `event` says.
fn is_end(state: &RunState, event: &RunEvent) -> bool {
    match event {
        RunEvent::Completed { .. } => state.status == RunStatus::Completed,
        RunEvent::Failed { reason, .. } => state.reason == Some(*reason),
        RunEvent::Stopped { .. } => state.status == RunStatus::Stopped,
        _ => false,
    }
}

fn outcome(event: RunEvent) -> Option<crate::run::Outcome> {
    match event {
        RunEvent::Completed { outcome, .. } => Some(outcome),
        RunEvent::Failed { outcome, .. } | RunEvent::Stopped { outcome } => outcome,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Outcome;
    use rstest::rstest;

    fn id(name: &str) -> RunnerId {
        name.parse().unwrap()
    }

    fn held_by(name: &str, status: RunStatus, started: bool) -> RunState {
        RunState {
            status,
            runner_id: Some(id(name)),
            started,
            ..RunState::requested()
        }
    }

    fn completed(attempt: u32) -> RunEvent {
        RunEvent::Completed {
            runner_id: id("me"),
            attempt,
            outcome: Outcome {
                exit_code: 0,
                result_data: serde_json::json!(1),
                result_chunks: None,
                duration_ms: 1,
            },
        }
    }

    #[test]
    fn a_waiting_run_is_claimed() {
        let verdict = verdict(&RunState::requested(), 1, &id("me"), Holder::Unknown);
        assert_eq!(verdict, Verdict::Claim { attempt: 1 });
    }

    #[test]
    fn a_redelivery_alone_is_no_proof_of_death() {
        let running = held_by("other", RunStatus::Running, true);
        let ask = |holder| verdict(&running, 1, &id("me"), holder);
        assert_eq!(ask(Holder::Unknown), Verdict::Ask(id("other")));
        assert_eq!(ask(Holder::Said(Answer::Yes)), Verdict::HandBack);
        assert_eq!(ask(Holder::SilentForAMoment), Verdict::HandBack);
    }

    #[rstest]
    fn what_a_runner_over_http_holds_is_settled_by_coordinators(
        #[values("me", "http-0123456789abcdef")] me: &str,
        #[values(Holder::Unknown, Holder::SilentForLong)] holder: Holder,
    ) {
        let running = held_by("http-0123456789abcdef", RunStatus::Running, true);
        assert_eq!(verdict(&running, 3, &id(me), holder), Verdict::HandBack);
        let ended = held_by("http-0123456789abcdef", RunStatus::Stopped, true);
        assert_eq!(verdict(&ended, 3, &id(me), holder), Verdict::Over);
    }

    #[rstest]
    #[case(RunStatus::Claimed, false, 1, "claim 1")]
    #[case(RunStatus::Running, true, 1, "lost")]
    #[case(RunStatus::Running, true, 3, "claim 2")]
    #[case(RunStatus::Stopping, true, 3, "stopped")]
    #[case(RunStatus::Stopping, false, 1, "stopped")]
    #[case(RunStatus::Completed, true, 1, "over")]
    fn a_dead_holder_is_settled(
        #[case] status: RunStatus,
        #[case] started: bool,
        #[case] max_attempts: u32,
        #[case] expected: &str,
        #[values("me", "other")] holder: &str,
    ) {
        let state = held_by(holder, status, started);
        let found = verdict(&state, max_attempts, &id("me"), Holder::SilentForLong);
        let found = match found {
            Verdict::Claim { attempt } => format!("claim {attempt}"),
            Verdict::Settle(RunEvent::Stopped { .. }) => "stopped".to_owned(),
            Verdict::Settle(RunEvent::Failed {
                reason: FailureReason::Lost,
                ..
            }) => "lost".to_owned(),
            Verdict::Over => "over".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_result_after_a_stop_was_requested_still_counts() {
        let stopping = held_by("me", RunStatus::Stopping, true);
        let next = after_conflict(&stopping, &id("me"), 1, completed(1));
        assert_eq!(next, Next::Again(Box::new(completed(1))));
    }

    #[test]
    fn a_result_of_a_run_that_was_given_up_is_evidence() {
        let lost = held_by("me", RunStatus::Failed, true);
        let next = after_conflict(&lost, &id("me"), 1, completed(1));
        assert!(matches!(next, Next::Evidence(_)), "{next:?}");
        let taken_over = RunState {
            attempt: 2,
            ..held_by("other", RunStatus::Running, true)
        };
        let next = after_conflict(&taken_over, &id("me"), 1, completed(1));
        assert!(matches!(next, Next::Evidence(_)), "{next:?}");
    }

    #[test]
    fn an_event_whose_acknowledgement_was_lost_is_not_repeated() {
        let done = held_by("me", RunStatus::Completed, true);
        let next = after_conflict(&done, &id("me"), 1, completed(1));
        assert_eq!(next, Next::Stands);
    }

    fn started() -> RunEvent {
        RunEvent::Started {
            runner_id: id("me"),
            attempt: 1,
        }
    }

    #[test]
    fn a_start_whose_acknowledgement_was_lost_is_a_start() {
        let running = held_by("me", RunStatus::Running, true);
        let next = after_conflict(&running, &id("me"), 1, started());
        assert_eq!(next, Next::Stands);
        let stopping = held_by("me", RunStatus::Stopping, true);
        let next = after_conflict(&stopping, &id("me"), 1, started());
        assert_eq!(
            next,
            Next::Again(Box::new(RunEvent::Stopped { outcome: None }))
        );
        let taken_over = held_by("other", RunStatus::Running, true);
        let next = after_conflict(&taken_over, &id("me"), 1, started());
        assert_eq!(next, Next::Nothing);
    }

    #[test]
    fn a_release_whose_acknowledgement_was_lost_is_a_release() {
        let released = RunEvent::Released {
            runner_id: id("me"),
            attempt: 1,
        };
        let next = after_conflict(&RunState::requested(), &id("me"), 1, released);
        assert_eq!(next, Next::Stands);
    }

    #[test]
    fn a_stop_before_the_start_ends_the_run_without_a_script() {
        let stopping = held_by("me", RunStatus::Stopping, false);
        let next = after_conflict(&stopping, &id("me"), 1, started());
        assert_eq!(
            next,
            Next::Again(Box::new(RunEvent::Stopped { outcome: None }))
        );
    }
}
