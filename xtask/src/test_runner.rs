//! Runs the tests: by cargo-nextest where it is installed, else by `cargo test`.

use std::process::Command;

use crate::checkout::Checkout;
use crate::command::{Output, answers, run};
use crate::step::{self, Stopped};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestRunner {
    Nextest,
    CargoTest,
}

/// Which tests, and how thoroughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    Everything,
    /// The fault stories with full counts and real times.
    Soak,
}

impl TestRunner {
    pub fn installed(checkout: &Checkout) -> TestRunner {
        if answers(checkout.cargo(&["nextest", "--version"])) {
            TestRunner::Nextest
        } else {
            TestRunner::CargoTest
        }
    }

    /// Streams the runner's output, so that its own summary stands on the screen.
    pub fn step(self, checkout: &Checkout, selection: Selection) -> Result<(), Stopped> {
        step::step(self.title(), || {
            run(&mut self.command(checkout, selection), Output::Streamed)
        })
    }

    fn title(self) -> &'static str {
        match self {
            TestRunner::Nextest => "tests (cargo nextest)",
            TestRunner::CargoTest => "tests (cargo test: no nextest)",
        }
    }

    fn command(self, checkout: &Checkout, selection: Selection) -> Command {
        let mut command = checkout.with_tools(checkout.cargo(self.arguments(selection)));
        if selection == Selection::Soak {
            command.env("COORDINATOR_SOAK", "1");
        }
        command
    }

    /// `.config/nextest.toml` picks the fault stories for nextest by the same name.
    fn arguments(self, selection: Selection) -> &'static [&'static str] {
        match (self, selection) {
            (TestRunner::Nextest, Selection::Everything) => {
                &["nextest", "run", "--workspace", "--locked"]
            }
            (TestRunner::Nextest, Selection::Soak) => &[
                "nextest",
                "run",
                "--workspace",
                "--locked",
                "--profile",
                "soak",
            ],
            // Without doc tests, which nextest does not run either: they are a step of their own.
            (TestRunner::CargoTest, Selection::Everything) => &[
                "test",
                "--workspace",
                "--locked",
                "--lib",
                "--bins",
                "--tests",
                "--no-fail-fast",
            ],
            (TestRunner::CargoTest, Selection::Soak) => &[
                "test",
                "--package",
                "tests",
                "--locked",
                "--test",
                "fault_*",
                "--no-fail-fast",
                "--",
                "--test-threads=1",
                "--nocapture",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn tests_find_the_fetched_tools_and_know_a_soak() {
        let checkout = Checkout::locate().unwrap();
        let tools = checkout.tools().join("bin");
        for runner in [TestRunner::Nextest, TestRunner::CargoTest] {
            let environment = |selection, name| {
                let command = runner.command(&checkout, selection);
                let found = command.get_envs().find(|(key, _)| *key == name);
                found.and_then(|(_, value)| value).map(OsStr::to_owned)
            };
            assert_eq!(
                environment(Selection::Everything, "COORDINATOR_TOOLS"),
                Some(tools.clone().into())
            );
            assert_eq!(environment(Selection::Everything, "COORDINATOR_SOAK"), None);
            assert_eq!(
                environment(Selection::Soak, "COORDINATOR_SOAK"),
                Some("1".into())
            );
        }
    }
}
