//! Run ids that follow from something else, so that two requests for the same thing meet.

use events::run::HookPoint;
use events::{Actor, RunId, SessionId};
use schemas::Digest;

/// The id of the run that a session is. A procedural run and its session are one and the same
/// life; a session id that a client chose is hashed.
pub fn run_of_session(session: &SessionId) -> RunId {
    let ours = session.as_str().strip_prefix("ses_");
    let ours = ours.and_then(|hex| format!("run_{hex}").parse().ok());
    ours.unwrap_or_else(|| hashed(&["session", session.as_str()]))
}

/// The id of the run that an actor's idempotency key stands for.
pub fn run_of_key(actor: &Actor, key: &str) -> RunId {
    hashed(&["key", &actor.name, key])
}

/// The id of the run of a run's hook: whoever starts it, and how often, it is one run.
pub fn run_of_hook(run: &RunId, point: HookPoint) -> RunId {
    hashed(&["hook", run.as_str(), point.as_str()])
}

/// The id of the run that resumes a parent's session with the end of this run.
pub fn run_of_callback(run: &RunId) -> RunId {
    hashed(&["callback", run.as_str()])
}

/// The session of a run whose client chose none.
pub fn session_of_run(run: &RunId) -> SessionId {
    let hex = run.as_str().trim_start_matches("run_");
    let session = format!("ses_{hex}").parse();
    session.expect("the digits of a run id make a session id")
}

fn hashed(parts: &[&str]) -> RunId {
    // The lengths keep ("ab", "c") and ("a", "bc") apart.
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let digest = Digest::of(format!("{lengths:?}{}", parts.concat()).as_bytes());
    let (bits, _) = digest.as_bytes().split_at(8);
    RunId::from_bits(
        bits.iter()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Via;

    #[test]
    fn a_session_of_ours_leads_back_to_its_run() {
        let run = RunId::from_bits(0x0123_4567_89ab_cdef);
        assert_eq!(run_of_session(&session_of_run(&run)), run);
    }

    #[test]
    fn other_sessions_and_keys_have_runs_of_their_own() {
        let session = |text: &str| run_of_session(&text.parse().unwrap());
        assert_eq!(session("mine"), session("mine"));
        assert_ne!(session("mine"), session("yours"));
        let key = |name: &str, key| run_of_key(&Actor::new(name, Via::Http), key);
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
