//! `coordinator dev`: a coordinator, its broker and one runner in one command. Says `ready <url>` on
//! stdout when a run would be taken, and leaves nothing behind.

mod runner;

use crate::app::{App, RunnerView};
use crate::cli::DevArgs;
use crate::config::Settings;
use crate::serve::{Server, Stop, start_log};
use anyhow::{Context as _, bail};
use events::Timestamp;
use runner::{Runner, Setup};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at whether the runner's heartbeat has arrived: far shorter than a person
/// notices. Heartbeats are no events, so there is nothing to follow.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// In the data folder, so that the same project has the same runner at the next start.
const RUNNER_STATE: &str = "dev-runner";

pub async fn run(data_dir: PathBuf, args: DevArgs) -> anyhow::Result<()> {
    start_log(&args.serve)?;
    let settings = Settings::check(data_dir, &args.serve)?;
    let program = runner::locate(args.runner.clone())?;
    let project_dir = project_dir(&args.project_dir)?;
    let stop = Stop::listen()?;
    let server = tokio::select! {
        server = Server::start(settings) => server?,
        () = stop.asked() => return Ok(()),
    };
    let runner = Runner::start(&Setup {
        program: &program,
        url: &server.url(),
        token: &server.token,
        project_dir: &project_dir,
        data_dir: server.data_dir.path(),
        state_dir: &server.data_dir.path().join(RUNNER_STATE),
        args: &args,
    });
    let ended = match runner {
        Ok(runner) => live(&server, runner, &project_dir, &stop).await,
        Err(error) => Err(error),
    };
    server.stop().await;
    ended
}

/// Until somebody ends us, or the runner ends by itself.
async fn live(
    server: &Server,
    mut runner: Runner,
    project_dir: &Path,
    stop: &Stop,
) -> anyhow::Result<()> {
    let since = server.app.now();
    tokio::select! {
        () = online(&server.app, project_dir, since) => {}
        ended = runner.ended() => bail!("the runner did not come up: {ended}; its log lines say why"),
        () = stop.asked() => return runner.stop().await,
    }
    writeln!(io::stdout(), "ready {}", server.url()).context("nobody reads our standard output")?;
    tokio::select! {
        ended = runner.ended() => bail!("the runner ended by itself: {ended}; its log lines say why"),
        unfit = server.app.projections().unfit() => {
            runner.stop().await?;
            Err(unfit.into())
        }
        () = stop.asked() => runner.stop().await,
    }
}

async fn online(app: &App, project_dir: &Path, since: Timestamp) {
    let is_ours = |runner: &RunnerView| {
        let heard = runner.last_heartbeat.is_some_and(|at| at >= since);
        runner.online && heard && Path::new(&runner.registration.project_dir) == project_dir
    };
    loop {
        if app.runners().iter().any(is_ours) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Links resolved, so that the runner registers the same path that we compare.
fn project_dir(given: &Path) -> anyhow::Result<PathBuf> {
    let made = std::fs::create_dir_all(given).and_then(|()| given.canonicalize());
    made.with_context(|| format!("cannot use the project folder {}", given.display()))
}
