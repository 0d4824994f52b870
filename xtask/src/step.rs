//! A step of a task: one line with its outcome, its name and how long it took,
//! and below it, when it failed, everything there is to know.
//!
//! All of it goes to stderr; stdout belongs to what the steps run.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// How a step ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    ThereAlready,
    /// Not done, and why: shown as loudly as a failure.
    Skipped(&'static str),
}

/// Why a step failed, for the reader of the screen: what happened and what to try.
#[derive(Debug)]
pub struct Failure(String);

/// A step failed and has said so; nothing is left to print.
#[derive(Debug)]
pub struct Stopped;

pub fn step(name: &str, work: impl FnOnce() -> Result<Outcome, Failure>) -> Result<(), Stopped> {
    reported(name, work, |outcome| *outcome).map(drop)
}

/// A step that later ones need something of.
pub fn step_making<T>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Stopped> {
    reported(name, work, |_| Outcome::Done)
}

fn reported<T>(
    name: &str,
    work: impl FnOnce() -> Result<T, Failure>,
    outcome: impl FnOnce(&T) -> Outcome,
) -> Result<T, Stopped> {
    let started = Instant::now();
    let result = work();
    eprintln!(
        "{}",
        line(name, result.as_ref().ok().map(outcome), started.elapsed())
    );
    result.map_err(|failure| {
        eprintln!("{failure}");
        Stopped
    })
}

/// No outcome is a failure.
fn line(name: &str, outcome: Option<Outcome>, took: Duration) -> String {
    let (outcome, remark) = match outcome {
        Some(Outcome::Done) => ("ok", String::new()),
        Some(Outcome::ThereAlready) => ("there already", String::new()),
        Some(Outcome::Skipped(why)) => ("SKIPPED", format!("  ({why})")),
        None => ("FAILED", String::new()),
    };
    format!(
        "{outcome:<13}  {name:<34} {:>7.1} s{remark}",
        took.as_secs_f64()
    )
}

impl Failure {
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// `doing` completes the sentence "cannot …".
    pub fn io(doing: &str, problem: &io::Error) -> Failure {
        Failure(format!("cannot {doing}: {problem}"))
    }

    /// Adds what to try, below what happened.
    pub fn advise(self, advice: &str) -> Failure {
        Failure(format!("{}\n{advice}", self.0.trim_end()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_line_with_outcome_name_and_time() {
        let took = Duration::from_millis(12_340);
        let cases = [
            (Some(Outcome::Done), "ok"),
            (Some(Outcome::ThereAlready), "there already"),
            (Some(Outcome::Skipped("not installed")), "SKIPPED"),
            (None, "FAILED"),
        ];
        for (ended, outcome) in cases {
            let line = line("format", ended, took);
            assert!(line.starts_with(outcome), "{line}");
            assert!(line.contains("format") && line.contains("12.3 s"), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }

    #[test]
    fn only_a_failure_stops_the_task() {
        assert!(step("skipped", || Ok(Outcome::Skipped("not installed"))).is_ok());
        assert!(step("failed", || Err(Failure::new("because"))).is_err());
    }
}
