//! A run that is over: how, and what to do about it.

use super::words::sentence;
use super::{Cause, Facts, Verdict};
use events::RunnerId;
use events::run::{FailureReason, RunStatus};

pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    let run = facts.run;
    let (cause, summary) = match run.state.status {
        RunStatus::Completed => (
            Cause::Completed,
            sentence(&format!("Completed{}", place(facts))),
        ),
        RunStatus::Stopped if run.state.runner_id.is_none() => (
            Cause::Stopped,
            "Stopped before any runner had taken it.".to_owned(),
        ),
        RunStatus::Stopped => (
            Cause::Stopped,
            sentence(&format!("Stopped{}", place(facts))),
        ),
        _ => (Cause::Failed, failed(facts)),
    };
    Verdict {
        cause,
        summary,
        waits_for: None,
        since: run.ended_at.unwrap_or(run.created_at),
        hint: hint(facts),
    }
}

fn failed(facts: &Facts<'_>) -> String {
    let run = facts.run;
    let holder = run.state.runner_id.as_ref();
    let holder = holder.map_or("a runner", RunnerId::as_str);
    let lead = match run.state.reason {
        Some(FailureReason::ExitCode) => format!("The script failed on {holder}"),
        Some(FailureReason::Timeout) => format!("The script took too long on {holder}"),
        Some(FailureReason::Lost) => "Its runner was lost".to_owned(),
        Some(FailureReason::NoMatch) => "Nobody could take it in time".to_owned(),
        Some(FailureReason::Blocked) => "A hook refused it".to_owned(),
        Some(FailureReason::Rejected) => format!("{holder} could not execute it"),
        Some(FailureReason::OutputInvalid) => "Its output was refused".to_owned(),
        None => "Failed".to_owned(),
    };
    match &run.error {
        Some(error) => sentence(&format!("{lead}: {error}")),
        None => sentence(&lead),
    }
}

fn place(facts: &Facts<'_>) -> String {
    let Some(holder) = &facts.run.state.runner_id else {
        return String::new();
    };
    match (facts.run.started_at, facts.run.ended_at) {
        (Some(started), Some(ended)) => {
            let seconds = ended.duration_since(started).as_secs_f64().max(0.0);
            format!(" on {holder} after {seconds:.1} s")
        }
        _ => format!(" on {holder}"),
    }
}

fn hint(facts: &Facts<'_>) -> Option<String> {
    let id = &facts.run.request.run_id;
    Some(match facts.run.state.reason? {
        FailureReason::ExitCode | FailureReason::OutputInvalid => {
            format!("coordinator run logs {id}")
        }
        FailureReason::Timeout => {
            "a longer timeout_seconds on the agent, then run it again".to_owned()
        }
        FailureReason::NoMatch | FailureReason::Lost => format!("coordinator run retry {id}"),
        FailureReason::Rejected => {
            format!("once that is mended: coordinator run retry {id}")
        }
        FailureReason::Blocked => return None,
    })
}
