//! The runner's one loop: everything that happens is an [`Input`], `state` says what follows,
//! and the effects are carried out here.

mod effects;
mod fleet;
mod inputs;
mod orders;
mod own_agents;
mod rounds;
mod state;
mod voice;

pub use fleet::fleet;
pub use state::{Effect, Input, State};

use crate::agents::AgentsFolder;
use crate::config::Settings;
use crate::confine::Confinement;
use crate::disk::Disk;
use crate::execute::interpreter::Interpreters;
use crate::execute::workspace::Workspaces;
use crate::join::{JoinError, Membership};
use crate::lanes::Lanes;
use crate::launcher::Launcher;
use crate::offer;
use crate::sandbox::SandboxError;
use crate::shelf::Shelf;
use crate::spool::Spool;
use crate::station::Station;
use effects::Effects;
use events::claim::Pulls;
use events::log::jetstream::{ConnectError, Connection, Deliveries, Queue, QueueError};
use schemas::Interpreter as Program;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Inputs that may wait for the loop, which never takes long over one.
const INPUTS_AHEAD: usize = 4096;
/// Between two tries to reach a broker that is away at start.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Between two tries to be let in, the first: our own broker learns of a key within milliseconds.
const KNOCK_PAUSE: Duration = Duration::from_millis(50);
/// An operator takes longer.
const KNOCK_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Waiting for so long is worth a line in the log.
const KNOCK_LOUDER: Duration = Duration::from_millis(400);

/// Why a runner cannot work, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("the broker does not let this runner in")]
    Connect(#[from] ConnectError),
    #[error(
        "another runner is at work with the state in {state_dir:?}; give each its own --state-dir, or stop the other one first"
    )]
    Twice { state_dir: std::path::PathBuf },
    #[error("the folder for state or scripts cannot be used")]
    Disk(#[source] io::Error),
    #[error("the launcher cannot be started")]
    Launcher(#[source] io::Error),
    #[error(
        "the launcher died, and all running scripts with it; the runner has to be started again"
    )]
    LauncherGone,
    #[error("the sandbox of scripts cannot be set up")]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Joins, works until it is told to leave, and leaves in order.
pub async fn run(settings: Settings) -> Result<(), RunnerError> {
    let launcher = Launcher::start().map_err(RunnerError::Launcher)?;
    let _only_one = only_one(&settings)?;
    let membership = crate::join::membership(&settings).await?;
    let interpreters = Interpreters::detect(&allowed(&settings), &settings.search_path).await;
    let host = Host {
        launcher: Arc::new(launcher),
        interpreters,
    };
    work_on(&host, settings, membership).await
}

/// What runners of one process have in common.
struct Host {
    launcher: Arc<Launcher>,
    interpreters: Interpreters,
}

/// Works until it is told to leave.
async fn work_on(
    host: &Host,
    settings: Settings,
    membership: Membership,
) -> Result<(), RunnerError> {
    let settings = Settings {
        runner_id: membership.runner_id.clone(),
        ..settings
    };
    let confinement = Confinement::prepare(&settings, &host.interpreters)?;
    let connection = connect(&settings, membership).await?;
    let (connection, membership) = connection;
    let (queue, deliveries) = Queue::open(&connection).await?;
    let agents_dir = settings.agents_dir.as_deref();
    let station = Station {
        agents: AgentsFolder::open(agents_dir, &settings.search_path).map_err(RunnerError::Disk)?,
        shelf: Shelf::open(&settings.scripts_dir, &settings.runner_id)
            .map_err(RunnerError::Disk)?,
        spool: Spool::open(&settings.state_dir).map_err(RunnerError::Disk)?,
        workspaces: Workspaces::open(&settings.state_dir.join("runs"))
            .map_err(RunnerError::Disk)?,
        disk: Disk::default(),
        cadence: membership.cadence(),
        settings,
        connection,
        queue,
        launcher: host.launcher.clone(),
        interpreters: host.interpreters.clone(),
        confinement,
    };
    work(Arc::new(station), deliveries).await
}

async fn work(station: Arc<Station>, deliveries: Deliveries) -> Result<(), RunnerError> {
    let found = station.interpreters.found().map(|(program, _)| program);
    let tags = offer::tags(&station.settings, found);
    tracing::info!(runner = %station.runner_id(), tags = ?tags.iter().map(schemas::Tag::as_str).collect::<Vec<_>>(), "at work");
    let sandbox = station.confinement.sandbox;
    let registration = offer::registration(&station.settings, tags, sandbox);
    let kept = station.spool.all().map_err(RunnerError::Disk)?;
    let (sender, mut inputs) = mpsc::channel(INPUTS_AHEAD);
    let lanes = Lanes::new(registration.tags.clone(), registration.one_of.clone());
    let pulls = Pulls::of(station.runner_id());
    let mut state = State::new(lanes, pulls, station.settings.max_runs, kept);
    let mut effects = Effects::new(station.clone(), registration, sender.clone());
    inputs::start(&station, deliveries, &sender);
    for effect in state.begin() {
        effects.carry_out(effect).await;
    }
    loop {
        let Some(input) = inputs.recv().await else {
            return Ok(());
        };
        if matches!(input, Input::LauncherGone) {
            crate::launcher::end_all_descendants(Duration::from_secs(5));
            return Err(RunnerError::LauncherGone);
        }
        if let Input::ShutOut(no) = input {
            // Whatever they come to, nobody would take it from us.
            crate::launcher::end_all_descendants(Duration::from_secs(5));
            return Err(no.into());
        }
        for effect in state.handle(input, Instant::now()) {
            if matches!(effect, Effect::Leave) {
                effects.leave().await;
                return Ok(());
            }
            effects.carry_out(effect).await;
        }
    }
}

/// Holds the runner's state folder for one process.
fn only_one(settings: &Settings) -> Result<std::fs::File, RunnerError> {
    let state_dir = &settings.state_dir;
    crate::private::private_folder(state_dir).map_err(RunnerError::Disk)?;
    let lock = std::fs::File::create(state_dir.join("lock")).map_err(RunnerError::Disk)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(_) => Err(RunnerError::Twice {
            state_dir: state_dir.clone(),
        }),
    }
}

fn allowed(settings: &Settings) -> Vec<Program> {
    let named = |program: &Program| {
        settings
            .allow_interpreters
            .iter()
            .any(|name| name == program.tag())
    };
    Program::ALL.into_iter().filter(named).collect()
}

/// Connects; while the broker is away, or does not know our key yet, asks the coordinator again
/// whether it has moved, or whether we belong to it at all.
async fn connect(
    settings: &Settings,
    membership: Membership,
) -> Result<(Connection, Membership), RunnerError> {
    let mut membership = membership;
    let mut pause = KNOCK_PAUSE;
    loop {
        match Connection::open(membership.access()).await {
            Ok(connection) => return Ok((connection, membership)),
            Err(error @ ConnectError::Unreachable { .. }) => {
                tracing::warn!(error = %crate::apply::describe(&error), "the broker is away; trying again");
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            // It learns of a key a moment after the coordinator, or from an operator.
            Err(error @ ConnectError::NotAllowed { .. }) => {
                if pause >= KNOCK_LOUDER {
                    tracing::warn!(error = %crate::apply::describe(&error), "the broker does not know this runner's key yet; trying again. A broker of your own is told by `coordinator broker config --print`");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(KNOCK_PAUSE_MAX);
            }
            Err(error) => return Err(error.into()),
        }
        membership = crate::join::membership(settings).await?;
    }
}
