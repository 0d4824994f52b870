//! What may be said to a runner: drain, resume, forget. Whether it is there is a fact that the caller
//! brings; carrying an order out is the runner's own.

use super::Rejection;
use events::RunnerId;
use events::runner::RunnerOrder;

/// The longest reason for a drain, in characters: a line on a screen.
const REASON_MAX_CHARS: usize = 200;

/// A runner as far as orders go.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub runner_id: &'a RunnerId,
    /// The last word to it, where it still counts.
    pub order: Option<&'a RunnerOrder>,
    pub online: bool,
}

/// What somebody wants of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerCommand {
    Drain { reason: Option<String> },
    Resume,
    Forget,
}

/// The word that is due; `None` where it has been said already.
pub fn order(
    standing: Standing<'_>,
    command: &RunnerCommand,
) -> Result<Option<RunnerOrder>, Rejection> {
    match command {
        RunnerCommand::Drain { reason } => drain(standing, reason.as_deref()),
        RunnerCommand::Resume => {
            let drained = standing.order.is_some_and(RunnerOrder::is_drained);
            Ok(drained.then_some(RunnerOrder::Resumed))
        }
        RunnerCommand::Forget if standing.online => Err(Rejection::RunnerOnline {
            runner_id: standing.runner_id.clone(),
        }),
        RunnerCommand::Forget => Ok(Some(RunnerOrder::Forgotten)),
    }
}

/// A drained runner that is drained for another reason is told so; the reason is for people.
fn drain(standing: Standing<'_>, reason: Option<&str>) -> Result<Option<RunnerOrder>, Rejection> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if let Some(reason) = reason {
        let chars = reason.chars().count();
        if chars > REASON_MAX_CHARS || reason.chars().any(char::is_control) {
            let allowed = REASON_MAX_CHARS;
            return Err(Rejection::DrainReason { chars, allowed });
        }
    }
    let said = match standing.order {
        Some(RunnerOrder::Drained { reason: said }) => {
            reason.is_none() || reason == said.as_deref()
        }
        _ => false,
    };
    let drained = RunnerOrder::Drained {
        reason: reason.map(str::to_owned),
    };
    Ok((!said).then_some(drained))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn drained(reason: &str) -> RunnerOrder {
        RunnerOrder::Drained {
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
        }
    }

    fn decide(
        order: Option<&RunnerOrder>,
        online: bool,
        command: &RunnerCommand,
    ) -> Result<Option<RunnerOrder>, Rejection> {
        let runner_id = "web-1".parse().unwrap();
        let standing = Standing {
            runner_id: &runner_id,
            order,
            online,
        };
        super::order(standing, command)
    }

    fn drain(reason: &str) -> RunnerCommand {
        RunnerCommand::Drain {
            reason: Some(reason.to_owned()),
        }
    }

    #[rstest]
    #[case::first(None, "disk", Some(drained("disk")))]
    #[case::again(Some(drained("disk")), "disk", None)]
    #[case::no_reason_keeps_the_old_one(Some(drained("disk")), " ", None)]
    #[case::other_reason(Some(drained("disk")), "kernel", Some(drained("kernel")))]
    #[case::after_resume(Some(RunnerOrder::Resumed), "", Some(drained("")))]
    fn draining_says_only_what_is_new(
        #[case] before: Option<RunnerOrder>,
        #[case] reason: &str,
        #[case] expected: Option<RunnerOrder>,
    ) {
        assert_eq!(decide(before.as_ref(), true, &drain(reason)), Ok(expected));
    }

    #[test]
    fn only_a_drained_runner_is_resumed() {
        assert_eq!(decide(None, true, &RunnerCommand::Resume), Ok(None));
        let resumed = decide(Some(&drained("")), false, &RunnerCommand::Resume);
        assert_eq!(resumed, Ok(Some(RunnerOrder::Resumed)));
    }

    #[test]
    fn who_is_there_is_not_forgotten() {
        decide(None, true, &RunnerCommand::Forget).unwrap_err();
        let forgotten = decide(None, false, &RunnerCommand::Forget);
        assert_eq!(forgotten, Ok(Some(RunnerOrder::Forgotten)));
    }

    #[test]
    fn a_reason_is_one_line() {
        decide(None, true, &drain(&"x".repeat(REASON_MAX_CHARS + 1))).unwrap_err();
        decide(None, true, &drain("a\u{1b}[2J")).unwrap_err();
    }
}
