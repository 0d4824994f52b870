//! Runs once more.

use super::runs::{Requested, Submitted};
use super::{App, AppError};
use crate::domain::retry::{self, RetryCommand};
use crate::domain::{Rejection, ids, resume};
use events::log::BundleError;
use events::run::{Run, RunKind, RunRequest};
use events::{Actor, RunId};

impl App {
    /// Repeats a run that has ended: the same bytes with the same parameters, also where the
    /// script has moved on or is gone; or what the agent has become.
    pub async fn retry_run(
        &self,
        actor: &Actor,
        command: RetryCommand,
    ) -> Result<Requested, AppError> {
        let (run_id, derived) = match &command.idempotency_key {
            Some(key) => (ids::run_of_key(actor, key), true),
            None => (RunId::from_bits(rand::random()), false),
        };
        if derived && let Some(existing) = self.projections().run(&run_id)? {
            return Ok(self.requested(same_retry(existing, &command)?));
        }
        self.room_for_runs().await?;
        let run = self.run(&command.run_id)?;
        retry::check(&self.projections().catalog().catalog, &run)?;
        let request = match command.current {
            true => {
                let request = self.checked_request(run_id, &retry::current(&run)).await?;
                match run.request.kind {
                    RunKind::StartSession => request,
                    RunKind::ResumeSession => resume::as_resumption(request, &run),
                }
            }
            false => self.exact(&run, run_id).await?,
        };
        let request = RunRequest {
            retry_of: Some(run.request.run_id),
            fingerprint: derived.then(|| command.fingerprint()),
            ..request
        };
        let submitted = self.submit(actor, request, derived, command.fail_fast);
        let run = match submitted.await? {
            Submitted::New(run) => run,
            Submitted::Existing(run) => same_retry(run, &command)?,
        };
        Ok(self.requested(run))
    }

    async fn exact(&self, run: &Run, run_id: RunId) -> Result<RunRequest, AppError> {
        if run.request.script().is_some() {
            match self.0.broker.bundles.get(&run.request.digest).await {
                Err(BundleError::Missing(digest)) => {
                    let run_id = run.request.run_id.clone();
                    return Err(Rejection::BundleGone { run_id, digest }.into());
                }
                found => found?,
            };
        }
        let session_id = ids::session_of_run(&run_id);
        Ok(retry::exact(run, run_id, session_id))
    }
}

/// The key was used before: by the same retry, or by another request.
fn same_retry(existing: Run, command: &RetryCommand) -> Result<Run, Rejection> {
    if existing.request.fingerprint == Some(command.fingerprint()) {
        return Ok(existing);
    }
    Err(Rejection::KeyReused {
        run_id: existing.request.run_id,
    })
}
