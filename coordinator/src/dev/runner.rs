//! The runner as our child: found, started, told to end, and never left behind.

use crate::access::AdminToken;
use crate::cli::DevArgs;
use crate::tether;
use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long scripts may go on after somebody has ended us: less than a runner's own default, for
/// somebody is waiting at a terminal.
const GRACE_SECONDS: &str = "10";
/// The grace, and time to deliver what came of it.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const PROGRAM: &str = "runner";

/// What a runner is started with.
pub struct Setup<'a> {
    pub program: &'a Path,
    pub url: &'a str,
    pub token: &'a AdminToken,
    pub project_dir: &'a Path,
    pub data_dir: &'a Path,
    pub state_dir: &'a Path,
    pub args: &'a DevArgs,
}

/// A running runner. Dropped, it is killed, and its launcher ends all scripts with it.
pub struct Runner(Child);

/// The given program, or the one beside ours.
pub fn locate(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => std::env::current_exe()
            .context("our own program's folder is not known; name the runner with --runner")?
            .with_file_name(PROGRAM),
    };
    anyhow::ensure!(
        path.is_file(),
        "there is no runner program at {}; build it (cargo build), or name it with --runner",
        path.display()
    );
    Ok(path)
}

impl Runner {
    /// Must be called on a thread that lives as long as the process: a death signal follows the
    /// thread that spawned. The main future runs on the main thread.
    pub fn start(setup: &Setup) -> anyhow::Result<Self> {
        let child = command(setup)
            .and_then(|mut command| command.spawn())
            .with_context(|| format!("cannot start the runner {}", setup.program.display()))?;
        Ok(Self(child))
    }

    /// Resolves when it has ended by itself, with how.
    pub async fn ended(&mut self) -> String {
        match self.0.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// TERM, and KILL for one that takes too long.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // It has not been waited for, so its id is still its own.
            kill(Pid::from_raw(id), Signal::SIGTERM).context("cannot end the runner")?;
        }
        if tokio::time::timeout(STOP_PATIENCE, self.0.wait())
            .await
            .is_err()
        {
            tracing::warn!("the runner does not end on TERM, killing it");
            self.0.kill().await.context("cannot kill the runner")?;
        }
        Ok(())
    }
}

fn command(setup: &Setup) -> io::Result<Command> {
    let args = setup.args;
    let mut command = Command::new(setup.program);
    command
        .args(["start", "--coordinator", setup.url, "--project-dir"])
        .arg(setup.project_dir)
        .arg("--state-dir")
        .arg(setup.state_dir)
        // Named, so that the sandbox of scripts keeps out of it.
        .arg("--data-dir")
        .arg(setup.data_dir)
        .args(["--profile", &args.profile])
        .args(["--grace-seconds", GRACE_SECONDS])
        // Not an argument: those are for everybody on this host to see.
        .env("COORDINATOR_TOKEN", setup.token.expose())
        .stdin(Stdio::null())
        // Our own stdout holds one line and nothing else.
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        // Ctrl-C on the terminal is for us; we tell the runner.
        .process_group(0)
        .kill_on_drop(true);
    if !args.tags.is_empty() {
        command.args(["--tags", &args.tags.join(",")]);
    }
    if let Some(max_runs) = args.max_runs {
        command.args(["--max-runs", &max_runs.to_string()]);
    }
    for name in &args.pass_env {
        command.args(["--pass-env", name]);
    }
    if args.no_sandbox {
        command.arg("--no-sandbox");
    }
    for path in &args.allow_read {
        command.arg("--allow-read").arg(path);
    }
    for path in &args.allow_write {
        command.arg("--allow-write").arg(path);
    }
    // Its launcher notices and ends all scripts, whatever the runner itself is doing.
    tether::tie(command.as_std_mut());
    Ok(command)
}
