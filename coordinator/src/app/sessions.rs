//! Sessions: the runs that make one, and going on with one.

use super::runs::{Requested, Submitted, repeated};
use super::{App, AppError};
use crate::domain::runs::RunCommand;
use crate::domain::{ids, resume};
use events::run::{HookPoint, Run, RunRequest};
use events::{Actor, RunId, SessionId, Via};
use schemas::Name;

impl App {
    /// The run that a session begins with, if there is one.
    pub fn run_of_session(&self, session_id: &SessionId) -> Result<Option<Run>, AppError> {
        let found = self.projections().run(&ids::run_of_session(session_id))?;
        Ok(found.filter(|run| run.request.session_id == *session_id))
    }

    /// All its runs, oldest first; none where there is no such session.
    pub fn runs_of_session(&self, session_id: &SessionId) -> Result<Vec<Run>, AppError> {
        let mut runs: Vec<Run> = self.run_of_session(session_id)?.into_iter().collect();
        runs.extend(self.projections().resumptions(session_id)?);
        Ok(runs)
    }

    /// The agent of a session that can go on.
    pub fn agent_of_session(&self, session_id: &SessionId) -> Result<Name, AppError> {
        let first = self.run_of_session(session_id)?;
        let first = resume::resumable(session_id, first.as_ref())?;
        Ok(first.request.agent.clone())
    }

    /// Goes on with a session.
    pub async fn resume_session(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        command: RunCommand,
    ) -> Result<Requested, AppError> {
        let first = self.run_of_session(session_id)?;
        let first = resume::resumable(session_id, first.as_ref())?;
        let (run_id, derived) = match &command.idempotency_key {
            Some(key) => (ids::run_of_key(actor, key), true),
            None => (RunId::from_bits(rand::random()), false),
        };
        if derived && let Some(existing) = self.projections().run(&run_id)? {
            return Ok(self.requested(repeated(existing, &command)?));
        }
        let request = self.checked_request(run_id, &command).await?;
        let request = resume::as_resumption(request, first);
        let submitted = self.submit(actor, request, derived, command.fail_fast);
        let run = match submitted.await? {
            Submitted::New(run) => run,
            Submitted::Existing(run) => repeated(run, &command)?,
        };
        Ok(self.requested(run))
    }

    /// Resumes the session that waits for the end of `child`. The id of that run follows from the
    /// child's, so it is one run, whoever else does the same.
    pub(crate) async fn call_back(
        &self,
        child: &Run,
        session_id: &SessionId,
    ) -> Result<(), AppError> {
        let parent = self.run_of_session(session_id)?;
        let parent = resume::resumable(session_id, parent.as_ref())?;
        let run_id = ids::run_of_callback(&child.request.run_id);
        let command = resume::callback(child, parent);
        let request = self.checked_request(run_id, &command).await?;
        let request = RunRequest {
            callback_of: Some(child.request.run_id.clone()),
            ..resume::as_resumption(request, parent)
        };
        let actor = Actor::new(child.actor.name.clone(), Via::Policy);
        self.submit(&actor, request, true, false).await.map(drop)
    }

    /// The runs of the run's hooks, as far as they were requested.
    pub fn hook_runs(&self, run: &Run) -> Result<Vec<(HookPoint, Run)>, AppError> {
        let mut found = Vec::new();
        for point in HookPoint::ALL {
            let hook = ids::run_of_hook(&run.request.run_id, point);
            let asked = point.of(&run.request.hooks).is_some();
            let hook = asked.then(|| self.projections().run(&hook)).transpose()?;
            found.extend(hook.flatten().map(|hook| (point, hook)));
        }
        Ok(found)
    }
}
