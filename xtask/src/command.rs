//! Runs a program as a step: what of its output is seen, and how its end reads.

use std::io::{self, IsTerminal};
use std::process::{Command, ExitStatus, Stdio};

use crate::step::{Failure, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Passed on as it comes.
    Streamed,
    /// Kept back, and shown whole if the program fails.
    OnFailure,
}

impl Output {
    /// For what has a progress display: streamed to people, else kept back.
    pub fn progress() -> Output {
        if io::stderr().is_terminal() {
            Output::Streamed
        } else {
            Output::OnFailure
        }
    }
}

/// Runs `command` to its end, without input.
pub fn run(command: &mut Command, output: Output) -> Result<Outcome, Failure> {
    command.stdin(Stdio::null());
    let (status, kept) = match output {
        Output::Streamed => command.status().map(|status| (status, String::new())),
        Output::OnFailure => command.output().map(|ended| {
            let kept = [ended.stdout, ended.stderr].concat();
            (ended.status, String::from_utf8_lossy(&kept).into_owned())
        }),
    }
    .map_err(|problem| Failure::io(&format!("start {}", shown(command)), &problem))?;
    conclude(command, status, &kept)
}

/// Whether `command`, a question that every version answers, finds its program.
pub fn answers(mut command: Command) -> bool {
    run(&mut command, Output::OnFailure).is_ok()
}

fn conclude(command: &Command, status: ExitStatus, kept: &str) -> Result<Outcome, Failure> {
    if status.success() {
        return Ok(Outcome::Done);
    }
    Err(Failure::new(format!(
        "{kept}`{}` ended with {status}",
        shown(command)
    )))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failing_program_shows_all_it_said() {
        let failure =
            run(&mut sh("echo one; echo two >&2; exit 3"), Output::OnFailure).unwrap_err();
        let text = failure.to_string();
        assert!(text.starts_with("one\ntwo\n"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = run(&mut Command::new("no-such-program"), Output::OnFailure).unwrap_err();
        assert!(failure.to_string().contains("no-such-program"), "{failure}");
    }

    #[test]
    fn nothing_waits_for_input() {
        assert_eq!(
            run(&mut sh("cat"), Output::OnFailure).unwrap(),
            Outcome::Done
        );
    }
}
