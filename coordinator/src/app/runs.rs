//! Runs: request, show, list, stop, wait for the end.

use super::steps::StepOutcome;
use super::{App, AppError, TRIES, off_thread};
use crate::domain::explain::NoRunner;
use crate::domain::runs::{self, RunCommand};
use crate::domain::{Rejection, ids, stop};
use crate::projections::{RunPage, RunQuery};
use events::log::Expect;
use events::run::{Run, RunEvent, RunRequest, RunStatus, RunStep};
use events::subject::{self, Stream, Writer};
use events::{Actor, RunId};
use schemas::Digest;
use schemas::Timeout;
use schemas::check::CompiledSchema;
use serde_json::Value;
use std::time::Duration;

/// A run that is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Requested {
    pub run: Run,
    /// Nobody could take it at this moment; it waits.
    pub warning: Option<NoRunner>,
}

/// What became of a request.
pub(super) enum Submitted {
    New(Run),
    /// The id was used before.
    Existing(Run),
}

/// The answer to a stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Stopped {
    pub run: Run,
    pub outcome: StopOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// Nobody held it: it has ended.
    Stopped,
    /// Its runner has been told.
    Stopping,
    /// It had ended before.
    HadEnded,
}

impl App {
    pub async fn request_run(
        &self,
        actor: &Actor,
        command: RunCommand,
    ) -> Result<Requested, AppError> {
        let (run_id, derived) = identify(actor, &command);
        // What the agent has become since does not matter to a request that was answered before.
        if derived && let Some(existing) = self.projections().run(&run_id)? {
            return Ok(self.requested(repeated(existing, &command)?));
        }
        self.room_for_runs().await?;
        let request = self.checked_request(run_id, &command).await?;
        let run = match self
            .submit(actor, request, derived, command.fail_fast)
            .await?
        {
            Submitted::New(run) => run,
            Submitted::Existing(run) => repeated(run, &command)?,
        };
        Ok(self.requested(run))
    }

    /// Appends the request. Where its id follows from something else it must be new in every lane;
    /// a random one only where it stands.
    pub(super) async fn submit(
        &self,
        actor: &Actor,
        request: RunRequest,
        derived: bool,
        fail_fast: bool,
    ) -> Result<Submitted, AppError> {
        let (lane, run_id) = (request.lane_tags.lane(), request.run_id.clone());
        let lane_tags = request.lane_tags.clone();
        let step = RunStep::first(request);
        if fail_fast && let Some(nobody) = self.no_runner_foreseen(actor, &step) {
            return Err(Rejection::NoRunner(Box::new(nobody)).into());
        }
        self.ensure_lane(&lane_tags).await?;
        let filter = match derived {
            true => subject::run_in_any_lane(&run_id),
            false => subject::run_all(&lane, &run_id),
        };
        let expect = Expect::Subjects {
            filter,
            sequence: 0,
        };
        // No runner looks where a held run begins.
        let writer = match step.state.held {
            true => Writer::Coordinator,
            false => Writer::Request,
        };
        let appended = self
            .append_run(actor, lane, run_id.clone(), writer, step, expect)
            .await?;
        match appended {
            StepOutcome::Stored { sequence } => {
                self.visible(Stream::Runs, sequence).await?;
                self.keep_lane(&lane_tags).await;
                Ok(Submitted::New(self.run(&run_id)?))
            }
            StepOutcome::Overtaken { last } => {
                self.visible(Stream::Runs, last).await?;
                Ok(Submitted::Existing(self.run(&run_id)?))
            }
        }
    }

    /// The answer, with the warning that nobody could take the run.
    pub(super) fn requested(&self, run: Run) -> Requested {
        let warning = self.no_runner_for(&run);
        Requested { run, warning }
    }

    pub fn run(&self, run_id: &RunId) -> Result<Run, AppError> {
        match self.projections().run(run_id)? {
            Some(run) => Ok(run),
            None => Err(self.no_run(run_id)?.into()),
        }
    }

    /// Newest first.
    pub fn runs(&self, query: &RunQuery) -> Result<RunPage, AppError> {
        Ok(self.projections().runs(query)?)
    }

    pub async fn stop_run(&self, actor: &Actor, run_id: &RunId) -> Result<Stopped, AppError> {
        for _ in 0..TRIES {
            let run = self.run(run_id)?;
            let Some(event) = stop::stop(&run.state) else {
                let outcome = match run.state.status {
                    RunStatus::Stopping => StopOutcome::Stopping,
                    _ => StopOutcome::HadEnded,
                };
                return Ok(Stopped { run, outcome });
            };
            let outcome = match &event {
                RunEvent::Stopped { .. } => StopOutcome::Stopped,
                _ => StopOutcome::Stopping,
            };
            match self.append_step(actor, &run, event).await? {
                StepOutcome::Stored { sequence } => {
                    self.visible(Stream::Runs, sequence).await?;
                    let run = self.run(run_id)?;
                    return Ok(Stopped { run, outcome });
                }
                StepOutcome::Overtaken { last } => self.visible(Stream::Runs, last).await?,
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    /// The run when it has ended, or as it stands after `patience`.
    pub async fn wait_for_end(&self, run_id: &RunId, patience: Duration) -> Result<Run, AppError> {
        let ended = self.projections().ended(run_id);
        self.run(run_id)?;
        // Neither running out of patience nor having ended before is an error.
        let _ = tokio::time::timeout(patience, ended).await;
        self.run(run_id)
    }

    /// What the agent's present version makes of the command.
    pub(super) async fn checked_request(
        &self,
        run_id: RunId,
        command: &RunCommand,
    ) -> Result<RunRequest, AppError> {
        let catalog = self.projections().catalog().catalog;
        let runnable = runs::runnable(&catalog, &command.agent)?;
        let schema = self
            .parameters_schema(&runnable.digest(), runnable.parameters_schema())
            .await?;
        let session_id = command.session_id.clone();
        let session_id = session_id.unwrap_or_else(|| ids::session_of_run(&run_id));
        let command = command.clone();
        let request =
            move || runs::request(&runnable, &command, schema.as_ref(), run_id, session_id);
        let request = off_thread(request).await??;
        let own = self.0.defaults.schedule_timeout.map(Timeout::seconds);
        Ok(RunRequest {
            schedule_timeout_seconds: request.schedule_timeout_seconds.or(own),
            ..request
        })
    }

    /// The schema `written` in the script or definition with this digest, compiled.
    pub(super) async fn parameters_schema(
        &self,
        digest: &Digest,
        written: Option<&Value>,
    ) -> Result<Option<CompiledSchema>, AppError> {
        let Some(written) = written.cloned() else {
            return Ok(None);
        };
        if let Some(schema) = self.0.schemas.get(digest) {
            return Ok(Some(schema));
        }
        let field = "parameters_schema";
        let compiled = off_thread(move || CompiledSchema::compile(&written)).await?;
        let schema = compiled.map_err(|rejected| Rejection::Schema { field, rejected })?;
        self.0.schemas.put(*digest, schema.clone(), 1);
        Ok(Some(schema))
    }
}

/// The id of the run, and whether it follows from something else.
fn identify(actor: &Actor, command: &RunCommand) -> (RunId, bool) {
    match (&command.session_id, &command.idempotency_key) {
        (Some(session), _) => (ids::run_of_session(session), true),
        (None, Some(key)) => (ids::run_of_key(actor, key), true),
        (None, None) => (RunId::from_bits(rand::random()), false),
    }
}

/// The id was used before: by the same request, or by another one.
pub(super) fn repeated(existing: Run, command: &RunCommand) -> Result<Run, Rejection> {
    let keyed = command.idempotency_key.is_some();
    if keyed && existing.request.fingerprint == Some(command.fingerprint()) {
        return Ok(existing);
    }
    Err(match &command.session_id {
        Some(session_id) => Rejection::SessionTaken {
            session_id: session_id.clone(),
        },
        None => Rejection::KeyReused {
            run_id: existing.request.run_id,
        },
    })
}
