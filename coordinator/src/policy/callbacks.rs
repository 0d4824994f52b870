//! What follows from the end of a run whose parent waits to be called back: the parent's session is
//! resumed with it, once; or the run says in its own log why that is not possible.

use crate::domain::resume::resumable;
use events::SessionId;
use events::run::{Run, RunEvent};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Request the run that goes on with the session. It is one run, however often this is done.
    Resume { child: Run, session_id: SessionId },
    /// Append the step, unless something else came first.
    Append { run: Run, step: RunEvent },
}

/// What follows from an ended run that owes a callback; `parent` began the session that waits.
pub fn of_ended(child: &Run, parent: Option<&Run>) -> Option<Action> {
    let session_id = child.calls_back()?.clone();
    Some(match resumable(&session_id, parent) {
        Ok(_) => Action::Resume {
            child: child.clone(),
            session_id,
        },
        Err(why) => Action::Append {
            run: child.clone(),
            step: not_made(&why.to_string()),
        },
    })
}

/// How an ended run says that nobody was called back.
pub fn not_made(error: &str) -> RunEvent {
    RunEvent::CallbackNotMade {
        error: error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{completed_run, request, requested_run};
    use events::run::{ExecutionMode, Program, RunRequest};
    use serde_json::json;

    fn child() -> Run {
        let mut run = completed_run(json!(1));
        run.request.execution_mode = ExecutionMode::AsyncCallback;
        run.request.parent_session_id = Some(SessionId::from_bits(2));
        run
    }

    fn parent(program: Program) -> Run {
        requested_run(RunRequest {
            program,
            ..request(2)
        })
    }

    fn told(parent: Option<&Run>) -> String {
        match of_ended(&child(), parent) {
            Some(Action::Resume { session_id, .. }) => format!("resume {session_id}"),
            Some(Action::Append {
                step: RunEvent::CallbackNotMade { error },
                ..
            }) => error,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_models_session_is_resumed() {
        let told = told(Some(&parent(Program::Model)));
        assert_eq!(told, "resume ses_0000000000000002");
    }

    #[test]
    fn what_cannot_be_resumed_is_said_in_the_childs_log() {
        assert_eq!(told(None), "Session not found: ses_0000000000000002");
        let procedural = told(Some(&parent(request(2).program)));
        assert!(procedural.contains("is procedural"), "{procedural}");
    }

    #[test]
    fn who_did_not_ask_is_not_called() {
        let mut polling = child();
        polling.request.execution_mode = ExecutionMode::AsyncPoll;
        assert_eq!(of_ended(&polling, None), None);
    }
}
