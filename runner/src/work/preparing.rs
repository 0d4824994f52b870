//! Everything a script needs before it may be started: its bundle and an interpreter, or the
//! command of an agent of this runner's own; and a folder.

use crate::apply::{ApplyError, install};
use crate::disk::Disk;
use crate::execute::environment::{Environment, NotUnicode};
use crate::execute::interpreter::{Invocation, NoInterpreter};
use crate::execute::paths::{self, PathRefused};
use crate::execute::workspace::Workspace;
use crate::launcher::Spec;
use crate::shelf::Held;
use crate::station::Station;
use events::RunId;
use events::log::BundleError;
use events::run::{PinnedScript, Program, RunRequest, TraceParent};
use schemas::{Digest, Name, ScriptDocument};
use serde_json::Value;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::block_in_place;

/// Between TERM and KILL.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Files a script makes are its owner's and its group's to read.
const UMASK: u32 = 0o027;
/// How much of a script is looked at for its `#!` line, in bytes.
const FIRST_BYTES: u64 = 256;
/// A bundle that is collected between two looks is installed again; more often than this it is
/// somebody's doing.
const INSTALL_TRIES: u32 = 3;
/// How often a bundle that is missing or damaged is asked for again: a replica may be behind, and
/// a coordinator may be putting it right at this moment.
const NOT_WHOLE_TRIES: u32 = 4;
/// Between two tries to fetch a bundle.
const FETCH_PAUSE: Duration = Duration::from_millis(500);

/// A script or command that can be started.
pub struct Prepared {
    pub spec: Spec,
    /// What its result has to fit, of the very version that runs.
    pub output_schema: Option<Value>,
    pub kept: Kept,
}

/// What a run needs for as long as it goes on.
pub struct Kept {
    /// Removed when the run has ended.
    workspace: Workspace,
    /// Keeps the bundle in place, where there is one.
    held: Option<Held>,
}

/// All that a run's spec is made from.
pub struct Gathered {
    work: Work,
    workspace: Workspace,
}

/// Why this runner cannot execute the run.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the script's bundle cannot be had")]
    Bundle(#[from] ApplyError),
    #[error("the script's bundle {0} does not stay on the disk")]
    Vanishes(Digest),
    #[error("the script's bundle has no readable script.json")]
    Document(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("this runner has no agent {0} any more: its file in --agents-dir is gone or broken")]
    NoAgent(Name),
    #[error(
        "agent {0} is defined otherwise on this runner now than when the run was requested; request it again"
    )]
    AgentChanged(Name),
    #[error("this runner executes scripts and commands; an autonomous agent needs another one")]
    NoModel,
    #[error(transparent)]
    Interpreter(#[from] NoInterpreter),
    #[error(transparent)]
    Path(#[from] PathRefused),
    #[error(transparent)]
    Environment(#[from] NotUnicode),
    #[error("a folder for the run cannot be made")]
    Workspace(#[source] io::Error),
}

/// Gathers what is at hand for a run that may become ours; whatever else is to be said of it can wait
/// until it is. Nobody notices but who looks into the run's own folder.
pub async fn look_ahead(station: &Station, request: &RunRequest) -> Option<Gathered> {
    // Who asks the log at the same time goes first.
    tokio::task::yield_now().await;
    station.disk.work(|| at_hand(station, request))
}

fn at_hand(station: &Station, request: &RunRequest) -> Option<Gathered> {
    let held = match &request.program {
        Program::Script(_) => station.shelf.hold_known(&request.digest).ok()?,
        Program::Command | Program::Model => None,
    };
    gather(station, request, held).ok()
}

pub async fn prepare(
    station: &Station,
    request: &RunRequest,
    attempt: u32,
    ahead: Option<Gathered>,
) -> Result<Prepared, Refusal> {
    let Gathered { work, workspace } = match ahead {
        Some(gathered) => gathered,
        None => {
            let held = match &request.program {
                Program::Script(_) => Some(hold(station, &request.digest).await?),
                Program::Command | Program::Model => None,
            };
            block_in_place(|| gather(station, request, held))?
        }
    };
    let env = environment(station, request, attempt, &work.folder, &workspace)?;
    Ok(Prepared {
        spec: Spec {
            program: work.invocation.program,
            args: work.invocation.args,
            env,
            cwd: station.settings.project_dir.clone(),
            umask: UMASK,
            limits: station.settings.limits,
            sandbox: station.confinement.rules(&work.reads, workspace.root()),
            grace: KILL_GRACE,
        },
        output_schema: work.output_schema,
        kept: Kept {
            workspace,
            held: work.held,
        },
    })
}

impl Kept {
    /// To be called when the run's last process is gone.
    pub fn clear_away(self, disk: &Disk, run_id: &RunId) {
        if let Err(touched) = disk.work(|| self.workspace.put_back())
            && let Err(error) = block_in_place(|| touched.remove())
        {
            tracing::warn!(run = %run_id, %error, "the run's folder cannot be removed");
        }
        drop(self.held);
    }
}

fn gather(
    station: &Station,
    request: &RunRequest,
    held: Option<Held>,
) -> Result<Gathered, Refusal> {
    let work = match (&request.program, held) {
        (Program::Script(script), Some(held)) => scripted(station, request, script, held)?,
        (Program::Script(_), None) => return Err(Refusal::Vanishes(request.digest)),
        (Program::Command, _) => own(station, request)?,
        (Program::Model, _) => return Err(Refusal::NoModel),
    };
    if let Some(schema) = &work.parameters_schema {
        paths::check(schema, &request.parameters, &station.settings.project_dir)?;
    }
    let parameters = serde_json::to_vec(&request.parameters).expect("JSON serializes");
    let workspace = station
        .workspaces
        .take(request.run_id.as_str(), &parameters)
        .map_err(Refusal::Workspace)?;
    Ok(Gathered { work, workspace })
}

/// What is executed, wherever it comes from.
struct Work {
    invocation: Invocation,
    /// What belongs to it is here.
    folder: PathBuf,
    /// What it reads, beside what all runs may.
    reads: Vec<PathBuf>,
    parameters_schema: Option<Value>,
    output_schema: Option<Value>,
    held: Option<Held>,
}

fn scripted(
    station: &Station,
    request: &RunRequest,
    script: &PinnedScript,
    held: Held,
) -> Result<Work, Refusal> {
    let document = document(held.path())?;
    let file = held.path().join(script.file.as_str());
    let first_bytes = first_bytes(&file).map_err(ApplyError::Disk)?;
    let tags = script.tags.iter().map(schemas::Tag::as_str);
    let chosen = station
        .interpreters
        .choose(tags, script.file.as_str(), &first_bytes)?;
    let invocation = station
        .interpreters
        .invocation(chosen, &file.to_string_lossy(), request.arguments.clone())
        .expect("a chosen interpreter was found");
    Ok(Work {
        invocation,
        folder: held.path().to_owned(),
        reads: vec![held.path().to_owned()],
        parameters_schema: document.parameters_schema,
        output_schema: document.output_schema,
        held: Some(held),
    })
}

/// The command of an agent of ours, where it is still the one that the run pinned.
fn own(station: &Station, request: &RunRequest) -> Result<Work, Refusal> {
    let agents = station.agents.now();
    let agent = agents.find(&request.agent);
    let agent = agent.ok_or_else(|| Refusal::NoAgent(request.agent.clone()))?;
    if agent.digest != request.digest {
        return Err(Refusal::AgentChanged(request.agent.clone()));
    }
    let first = agent.definition.command.arguments().iter();
    let mut reads = station.confinement.command(&agent.program);
    reads.push(agent.folder.clone());
    Ok(Work {
        invocation: Invocation {
            program: agent.program.clone(),
            args: first.chain(&request.arguments).cloned().collect(),
        },
        folder: agent.folder.clone(),
        reads,
        parameters_schema: agent.definition.parameters_schema.clone(),
        output_schema: agent.definition.output_schema.clone(),
        held: None,
    })
}

/// The bundle, in place and whole; fetched where it is missing or was changed. An absent broker
/// is waited for.
async fn hold(station: &Station, digest: &Digest) -> Result<Held, Refusal> {
    if let Some(held) = station.shelf.hold_known(digest).map_err(ApplyError::Disk)? {
        return Ok(held);
    }
    for _ in 0..INSTALL_TRIES {
        let (shelf, wanted) = (station.shelf.clone(), *digest);
        let held = tokio::task::spawn_blocking(move || shelf.hold(&wanted)).await;
        let held = held.map_err(io::Error::other).flatten();
        if let Some(held) = held.map_err(ApplyError::Disk)? {
            return Ok(held);
        }
        fetch(station, digest).await?;
    }
    Err(Refusal::Vanishes(*digest))
}

async fn fetch(station: &Station, digest: &Digest) -> Result<(), ApplyError> {
    let mut not_whole = 0;
    loop {
        match install(&station.shelf, &station.connection, digest).await {
            Err(ApplyError::Fetch(BundleError::Unavailable(_))) => {}
            Err(ApplyError::Fetch(BundleError::Missing(_) | BundleError::Changed { .. }))
                if not_whole < NOT_WHOLE_TRIES =>
            {
                not_whole += 1;
            }
            done => return done,
        }
        tokio::time::sleep(FETCH_PAUSE).await;
    }
}

fn document(bundle: &Path) -> Result<ScriptDocument, Refusal> {
    let text = std::fs::read(bundle.join("script.json"));
    let text = text.map_err(|error| Refusal::Document(error.into()))?;
    ScriptDocument::from_json(&text).map_err(|error| Refusal::Document(error.into()))
}

fn first_bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(FIRST_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn environment(
    station: &Station,
    request: &RunRequest,
    attempt: u32,
    script_dir: &Path,
    workspace: &Workspace,
) -> Result<Vec<(String, String)>, NotUnicode> {
    let found: Vec<(_, PathBuf)> = station
        .interpreters
        .found()
        .map(|(interpreter, program)| (interpreter, program.to_owned()))
        .collect();
    let run_id = request.run_id.as_str();
    Environment {
        run_id,
        attempt,
        idempotency_key: run_id,
        script_dir,
        project_dir: &station.settings.project_dir,
        params_file: &workspace.params_file(),
        home: &workspace.home(),
        tmpdir: &workspace.tmpdir(),
        uv_cache_dir: &station.settings.uv_cache_dir,
        interpreters: found.iter().map(|(_, program)| program.as_path()).collect(),
        traceparent: request.traceparent.as_ref().map(TraceParent::as_str),
        passed: &station.settings.passed_env,
    }
    .variables()
}
