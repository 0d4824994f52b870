//! `cargo demo`: the product on this machine, from nothing to two results on the screen.
//!
//! Knows the coordinator by its command line only, as its users do.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::checkout::Checkout;
use crate::command::{Output, run};
use crate::dev::Dev;
use crate::next_commands::next_commands;
use crate::step::{Failure, Outcome, Stopped, step, step_making};
use crate::task::Task;
use crate::tools;

/// What uv needs to know on a machine behind a proxy or a mirror. Scripts inherit
/// nothing, so each that is set is handed on by name.
const PASSED_ON: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_FIND_LINKS",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
];

/// The user's own, for another coordinator or broker: the demo has its own of each.
const NOT_OURS: [&str; 3] = ["COORDINATOR_TOKEN", "NATS_URL", "NATS_CREDS"];

/// The example folder, from the clone's root.
const STARTER: &str = "coordinator/starter";

/// The two programs and nothing that only tests need.
const BUILD: [&str; 6] = ["build", "-p", "coordinator", "-p", "runner", "--locked"];

/// One agent per interpreter worth seeing: a Python script with dependencies, and a
/// Bash script that tells its steps as it goes.
const RUNS: [(&str, &[&str]); 2] = [
    (
        "notifier",
        &["message=Coordinator says hello", "channel=slack"],
    ),
    ("deploy", &["target=staging"]),
];

/// What becomes of the coordinator once everything was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    StayUp,
    End,
}

pub fn demo(checkout: &Checkout) -> Result<(), Stopped> {
    tools::step(checkout)?;
    step("build", || {
        run(&mut checkout.cargo(&BUILD), Output::progress())
    })?;
    // Both: `cargo demo </dev/null` at a prompt is a script's way of calling.
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        Err(shielded(checkout))
    } else {
        show(checkout, After::End)
    }
}

/// Goes on as `show(After::StayUp)` in this very process, with Ctrl-C ignored.
///
/// Ctrl-C is for the coordinator, which hears it too and ends in order; we only have
/// to outlive it. Without a dependency or unsafe code, ignoring a signal takes a shell.
/// Not done before the build, which Ctrl-C must still interrupt.
fn shielded(checkout: &Checkout) -> Stopped {
    let problem = Command::new("sh")
        .args(["-c", r#"trap '' INT; exec "$0" "$1""#])
        .arg(checkout.binary("xtask"))
        .arg(Task::DEMO_SHIELDED)
        .exec();
    eprintln!("cannot start sh: {problem}");
    Stopped
}

pub fn show(checkout: &Checkout, after: After) -> Result<(), Stopped> {
    let mut dev = step_making("start broker, coordinator, runner", || start(checkout))?;
    step("load coordinator/starter", || {
        let arguments = ["apply", "-f", STARTER, "-y"];
        run(client(checkout, &dev.url).args(arguments), Output::Streamed)
    })?;
    let runs = RUNS.map(|(agent, parameters)| run_agent(checkout, &dev.url, agent, parameters));

    eprintln!(
        "\nCoordinator: {}\nTry next:\n{}",
        dev.url,
        to_try(checkout, &dev.url)
    );
    if after == After::StayUp {
        stay_up(&mut dev)?;
    } else {
        eprintln!("Not on a terminal, so this ends here; on one it stays up.");
    }
    step_making("stop", || dev.end())?;
    runs.into_iter().collect()
}

fn start(checkout: &Checkout) -> Result<Dev, Failure> {
    let folder = Folder::in_clone(checkout);
    fs::create_dir_all(folder.project())
        .map_err(|problem| Failure::io("make the project folder", &problem))?;
    let mut command = coordinator(checkout);
    command
        .arg("dev")
        .arg("--data-dir")
        .arg(folder.data())
        .arg("--project-dir")
        .arg(folder.project());
    // The notifier's agent demands the tag; any free port, so that two demos are no trouble.
    command.args(["--listen", "127.0.0.1:0", "--tags", "messaging-team"]);
    command.args(passed_on(|name| env::var_os(name).is_some()));
    Dev::start(command, &folder.log())
}

fn run_agent(
    checkout: &Checkout,
    url: &str,
    agent: &str,
    parameters: &[&str],
) -> Result<(), Stopped> {
    let mut command = client(checkout, url);
    command.args(["agent", "run", agent]);
    for parameter in parameters {
        command.args(["-p", parameter]);
    }
    step(&format!("run agent {agent}"), || {
        run(&mut command, Output::Streamed)
    })
}

fn to_try(checkout: &Checkout, url: &str) -> String {
    let (coordinator, data) = (
        checkout.binary("coordinator"),
        Folder::in_clone(checkout).data(),
    );
    next_commands(
        url,
        checkout.relative(&coordinator),
        checkout.relative(&data),
    )
}

fn stay_up(dev: &mut Dev) -> Result<(), Stopped> {
    eprintln!("It stays up until you press Ctrl-C.");
    step("stay up", || {
        let status = dev.wait()?;
        if status.success() {
            Ok(Outcome::Done)
        } else {
            Err(Failure::new(format!("the coordinator ended with {status}")))
        }
    })
}

/// The command line client, speaking to the demo's coordinator.
fn client(checkout: &Checkout, url: &str) -> Command {
    let mut command = coordinator(checkout);
    command.env("COORDINATOR_URL", url);
    command.env("COORDINATOR_DATA_DIR", Folder::in_clone(checkout).data());
    command
}

fn coordinator(checkout: &Checkout) -> Command {
    let mut command = checkout.with_tools(Command::new(checkout.binary("coordinator")));
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command
}

fn passed_on(is_set: impl Fn(&str) -> bool) -> Vec<&'static str> {
    PASSED_ON
        .into_iter()
        .filter(|name| is_set(name))
        .flat_map(|name| ["--pass-env", name])
        .collect()
}

/// Where the demo keeps what it makes: all of it may be deleted when it is not running.
struct Folder(PathBuf);

impl Folder {
    fn in_clone(checkout: &Checkout) -> Folder {
        Folder(checkout.root().join(".demo"))
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn project(&self) -> PathBuf {
        self.0.join("project")
    }

    fn log(&self) -> PathBuf {
        self.0.join("coordinator.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_is_passed_on() {
        assert!(passed_on(|_| false).is_empty());
        let arguments = passed_on(|name| matches!(name, "SSL_CERT_FILE" | "NO_PROXY" | "HOME"));
        assert_eq!(
            arguments,
            ["--pass-env", "SSL_CERT_FILE", "--pass-env", "NO_PROXY"]
        );
    }

    #[test]
    fn the_demo_runs_agents_of_the_starter_folder() {
        let checkout = Checkout::locate().unwrap();
        for (agent, _) in RUNS {
            let file = checkout
                .root()
                .join(STARTER)
                .join("agents")
                .join(agent)
                .join("agent.json");
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
