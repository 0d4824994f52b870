//! The life of a run, step by step, or the summary that is left of it.

use super::audit::cursor_text;
use super::record::RecordView;
use crate::app::{RunStory, StepLine};
use events::RunId;
use events::run::RunEvent;
use events::subject::Stream;
use serde_json::{Value, json};

/// What a timeline of a run answers.
pub fn view(run_id: &RunId, story: RunStory) -> Value {
    let of = json!({"kind": "run", "name": run_id});
    match story {
        RunStory::Steps { steps, next } => {
            let entries: Vec<Value> = steps.iter().map(|line| step(run_id, line)).collect();
            let mut view = json!({"of": of, "entries": entries, "unfinished": []});
            if let Some(next) = next {
                view["next_cursor"] = cursor_text(&next).into();
            }
            view
        }
        RunStory::Summary(run) => json!({
            "of": of, "entries": [], "unfinished": [], "steps_gone": true,
            "summary": RecordView::from(*run),
        }),
    }
}

fn step(run_id: &RunId, line: &StepLine) -> Value {
    json!({
        "stream": Stream::Runs.name(), "seq": line.sequence, "at": line.at,
        "type": line.step.name(), "actor": line.actor, "kind": "run", "name": run_id,
        "attempt": line.attempt, "note": note(line),
    })
}

/// What a step says beside its name.
fn note(line: &StepLine) -> Option<String> {
    match &line.step {
        RunEvent::Held(request) | RunEvent::Requested(request) => {
            let script = request.script();
            Some(match script {
                Some(script) => format!("script {} v{}", script.name, script.version),
                None => format!("agent {} v{}", request.agent, request.agent_version),
            })
        }
        RunEvent::Claimed { runner_id, .. }
        | RunEvent::Started { runner_id, .. }
        | RunEvent::Released { runner_id, .. } => {
            Some(format!("on {runner_id}, attempt {}", line.attempt))
        }
        RunEvent::Completed { outcome, .. } | RunEvent::LateResult { outcome, .. } => {
            Some(format!("exit code {}", outcome.exit_code))
        }
        RunEvent::Failed { error, .. }
        | RunEvent::CallbackNotMade { error }
        | RunEvent::HookNotRun { error, .. } => Some(error.clone()),
        RunEvent::ResultChunk { index, .. } => Some(format!("piece {index} of the result")),
        RunEvent::SessionBound { executor, .. } => Some(format!(
            "session {} of the executor on {}",
            executor.session_id, executor.hostname
        )),
        RunEvent::StopRequested | RunEvent::Stopped { .. } | RunEvent::SessionDeleted => None,
    }
}
