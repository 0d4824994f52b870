//! The runner's binary: parse, trace, run, and say once what went wrong.

use clap::Parser as _;
use runner::config::{Cli, Command, FleetArgs, FloorArgs, StartArgs};
use runner::join::JoinError;
use runner::launcher;
use runner::supervisor::{self, RunnerError};
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Exit codes that users know from the coordinator's CLI.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_ALLOWED: u8 = 4;

fn main() -> ExitCode {
    // Does not return in the launcher, which is this very image started again.
    launcher::take_over();
    let Cli { command } = Cli::parse();
    match command {
        Command::Start(args) => {
            trace();
            start(*args)
        }
        Command::Verify(args) => verify(&args.scripts_dir()),
        Command::Fleet(args) => {
            trace();
            fleet(*args)
        }
        Command::Floor(args) => floor(*args),
    }
}

fn verify(scripts_dir: &Path) -> ExitCode {
    // Whose eyes they are does not matter to who only looks.
    let nobody = "verify".parse().expect("a word is a runner id");
    match runner::verify::verify(scripts_dir, &nobody) {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(if report.is_good() { 0 } else { FAILED })
        }
        Err(error) => {
            eprintln!(
                "error: no runner keeps its scripts in {scripts_dir:?}: {error}\n  try: --project-dir, or --scripts-dir where the runner has one"
            );
            ExitCode::from(USAGE)
        }
    }
}

#[tokio::main]
async fn start(args: StartArgs) -> ExitCode {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return ended(&error, USAGE),
    };
    match supervisor::run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ RunnerError::Join(JoinError::NotAllowed { .. })) => ended(&error, NOT_ALLOWED),
        Err(error) => ended(&error, FAILED),
    }
}

#[tokio::main]
async fn fleet(args: FleetArgs) -> ExitCode {
    match args.members() {
        Ok(members) => match supervisor::fleet(members).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ended(&error, FAILED),
        },
        Err(error) => ended(&error, USAGE),
    }
}

#[tokio::main]
async fn floor(args: FloorArgs) -> ExitCode {
    let settings = match args.start.settings() {
        Ok(settings) => settings,
        Err(error) => return ended(&error, USAGE),
    };
    match runner::floor::floor(&settings, args.count).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ended(&error, FAILED),
    }
}

fn ended(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("error: {}", runner::apply::describe(error));
    ExitCode::from(code)
}

/// What is logged unless `RUST_LOG` says otherwise: the broker client's own lines repeat ours.
const FILTER: &str = "info,async_nats=warn";

/// The log goes to stderr; `RUST_LOG` chooses what is in it.
fn trace() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
