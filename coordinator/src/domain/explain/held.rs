//! A run that a runner holds: what it does with it, and what follows if it is not heard any more.

use super::waiting::{blocker, contact};
use super::{Candidate, Cause, Facts, Verdict};
use events::RunnerId;
use events::run::{RunStatus, back_off};
use std::time::Duration;

pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    let state = &facts.run.state;
    let Some(holder) = &state.runner_id else {
        return working(facts, "a runner");
    };
    let candidate = facts.fleet.iter().find(|c| c.runner_id == *holder);
    match candidate {
        Some(there) if there.may_be_there() => match rest_left(facts) {
            Some(left) => resting(facts, holder, left),
            None => working(facts, holder.as_str()),
        },
        gone => silent(facts, holder, gone),
    }
}

/// How much longer a run rests that was lost, before its script is begun again.
fn rest_left(facts: &Facts<'_>) -> Option<Duration> {
    let run = facts.run;
    let claimed_at = run.claimed_at?;
    let rested = Duration::try_from(facts.now.duration_since(claimed_at)).unwrap_or_default();
    let left = back_off(run.state.attempt).checked_sub(rested)?;
    (run.state.status == RunStatus::Claimed && !left.is_zero()).then_some(left)
}

fn resting(facts: &Facts<'_>, holder: &RunnerId, left: Duration) -> Verdict {
    let run = facts.run;
    let (attempt, all) = (run.state.attempt, run.request.max_attempts);
    Verdict {
        cause: Cause::RetryWaiting,
        summary: format!(
            "Attempt {attempt} of {all} rests on {holder} for {} s more, because the runner of the \
             one before was lost.",
            left.as_secs() + 1
        ),
        waits_for: Some("the rest to be over".to_owned()),
        since: run.claimed_at.unwrap_or(run.created_at),
        hint: None,
    }
}

/// As it should be.
fn working(facts: &Facts<'_>, holder: &str) -> Verdict {
    let run = facts.run;
    let since = run.started_at.or(run.claimed_at).unwrap_or(run.created_at);
    let lasted = facts.lasted(since);
    let id = &run.request.run_id;
    let (cause, summary, waits_for, hint) = match run.state.status {
        RunStatus::Stopping => (
            Cause::Stopping,
            format!("Somebody asked for a stop; {holder} is ending the script."),
            "the script's processes to end".to_owned(),
            None,
        ),
        RunStatus::Claimed => (
            Cause::Claimed,
            format!("{holder} claimed it {lasted} ago and is making the script ready."),
            format!("{holder} to start the script"),
            None,
        ),
        _ => (
            Cause::Running,
            format!(
                "The script is running on {holder}, for {lasted} of at most {} s.",
                run.request.timeout_seconds
            ),
            "the script to end".to_owned(),
            Some(format!("coordinator run logs -f {id}")),
        ),
    };
    Verdict {
        cause,
        summary,
        waits_for: Some(waits_for),
        since,
        hint,
    }
}

/// The holder is not heard: what the rules make of it.
fn silent(facts: &Facts<'_>, holder: &RunnerId, gone: Option<&Candidate>) -> Verdict {
    let run = facts.run;
    let silence = match gone {
        Some(candidate) => contact(facts, candidate),
        None => "it is not known any more".to_owned(),
    };
    let since = run.started_at.or(run.claimed_at).unwrap_or(run.created_at);
    let next = run.state.attempt + 1;
    let all = run.request.max_attempts;
    let (cause, summary, waits_for, hint) = match run.state.status {
        RunStatus::Stopping => (
            Cause::RunnerSilent,
            format!("{holder}, which was told to stop it, is offline ({silence})."),
            "another runner or the coordinator to settle it".to_owned(),
            None,
        ),
        RunStatus::Running if next <= all => {
            let other = blocker(facts, Some(holder));
            (
                Cause::RetryWaiting,
                format!(
                    "{holder} was lost while it ran the script ({silence}); attempt {next} of \
                     {all} waits: {}",
                    other.summary
                ),
                other.waits_for,
                other.hint,
            )
        }
        RunStatus::Running => (
            Cause::RunnerSilent,
            format!(
                "{holder} runs the script and is offline ({silence}); unless it comes back, the \
                 run fails as lost."
            ),
            format!("a sign of life from {holder}"),
            None,
        ),
        _ => {
            let other = blocker(facts, Some(holder));
            (
                Cause::RunnerSilent,
                format!(
                    "{holder} claimed it and is offline ({silence}); another may take it over: {}",
                    other.summary
                ),
                other.waits_for,
                other.hint,
            )
        }
    };
    Verdict {
        cause,
        summary,
        waits_for: Some(waits_for),
        since,
        hint,
    }
}
