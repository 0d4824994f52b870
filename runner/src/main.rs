//! The runner's binary: parse, trace, run, and say once what went wrong.

use runner::config::{Cli, Command, FleetArgs, FloorArgs, StartArgs};
use runner::join::JoinError;
use runner::launcher;
use runner::settings;
use runner::supervisor::{self, RunnerError};
use std::path::Path;
use std::process::ExitCode;

/// Exit codes that users know from the coordinator's CLI.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_ALLOWED: u8 = 4;

fn main() -> ExitCode {
    // Does not return in the launcher, which is this very image started again.
    launcher::take_over();
    startup::trust::install();
    let Cli { command } = match settings::parse() {
        Ok(cli) => cli,
        Err(error) => return ended(&error, USAGE),
    };
    match command {
        Command::Start(args) => match trace(&args) {
            Ok(()) => {
                let exit = start(*args);
                startup::traces::finish();
                exit
            }
            Err(error) => ended(&error, USAGE),
        },
        Command::Config(command) => match settings::show(&command) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => ended(&error, USAGE),
        },
        Command::Verify(args) => verify(&args.scripts_dir()),
        Command::Fleet(args) => match trace(&args.start) {
            Ok(()) => fleet(*args),
            Err(error) => ended(&error, USAGE),
        },
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

/// One thread for all tasks: between scripts a runner does a fraction of a millisecond per run, and with more
/// of them each step of that wakes another one. What takes long has threads of its own.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn start(args: StartArgs) -> ExitCode {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return ended(&error, USAGE),
    };
    match among_its_tasks(supervisor::run(settings)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ RunnerError::Join(JoinError::NotAllowed { .. })) => ended(&error, NOT_ALLOWED),
        Err(error @ RunnerError::Join(JoinError::Trust { .. })) => ended(&error, USAGE),
        Err(error) => ended(&error, FAILED),
    }
}

/// The main thread is none of those that run tasks: whatever reaches the supervisor's loop, and whatever that
/// begins, would wake one thread more.
async fn among_its_tasks<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(future).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
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

/// The log goes to stderr. `RUST_LOG` holds where nobody says `--log`: other programs go by it, too.
fn trace(args: &StartArgs) -> Result<(), startup::log::BadFilter> {
    let usual = std::env::var("RUST_LOG")
        .ok()
        .filter(|_| args.log == USUAL_LOG);
    startup::log::start(usual.as_deref().unwrap_or(&args.log), args.log_format)
}

/// What `--log` is by itself.
const USUAL_LOG: &str = "info";
