//! Sessions: the runs that make one, going on with one, and wanting to see one no more.

use super::runs::{Requested, Submitted, repeated};
use super::steps::StepOutcome;
use super::{App, AppError, TRIES};
use crate::domain::runs::RunCommand;
use crate::domain::{Rejection, ids, resume};
use crate::projections::RunQuery;
use events::run::{HookPoint, Run, RunEvent, RunRequest};
use events::subject::Stream;
use events::{Actor, RunId, SessionId, Via};
use schemas::Name;

/// Sessions, each as its runs, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPage {
    pub sessions: Vec<Vec<Run>>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

impl App {
    /// The run that a session begins with, if there is one.
    pub fn run_of_session(&self, session_id: &SessionId) -> Result<Option<Run>, AppError> {
        let found = self.projections().run(&ids::run_of_session(session_id))?;
        Ok(found.filter(|run| run.request.session_id == *session_id))
    }

    /// Sessions with all their runs, newest first.
    pub fn sessions(&self, limit: usize, cursor: Option<u64>) -> Result<SessionPage, AppError> {
        let mut page = SessionPage {
            sessions: Vec::new(),
            next: cursor,
        };
        loop {
            let runs = self.projections().runs(&RunQuery {
                status: None,
                agent: None,
                since: None,
                prefix: None,
                limit: limit - page.sessions.len(),
                cursor: page.next,
            })?;
            page.next = runs.next;
            let begun = runs
                .runs
                .into_iter()
                .filter(|run| run.request.kind.is_start());
            for first in begun.filter(|run| run.session_deleted_at.is_none()) {
                let resumed = self.projections().resumptions(&first.request.session_id)?;
                page.sessions.push([vec![first], resumed].concat());
            }
            if page.next.is_none() || page.sessions.len() >= limit {
                return Ok(page);
            }
        }
    }

    /// The runs of a session that is shown, oldest first; none where there is no such session.
    pub fn shown_session(&self, session_id: &SessionId) -> Result<Vec<Run>, AppError> {
        let mut runs = self.runs_of_session(session_id)?;
        if runs
            .first()
            .is_some_and(|first| first.session_deleted_at.is_some())
        {
            runs.clear();
        }
        Ok(runs)
    }

    /// Shows a session no more; the log keeps it. Gives its runs.
    ///
    /// # Errors
    /// When there is no such session, or a run of it is at work.
    pub async fn delete_session(
        &self,
        actor: &Actor,
        session_id: &SessionId,
    ) -> Result<Vec<Run>, AppError> {
        for _ in 0..TRIES {
            let runs = self.shown_session(session_id)?;
            let Some(first) = runs.first() else {
                let session_id = session_id.clone();
                return Err(Rejection::SessionNotFound { session_id }.into());
            };
            if runs.iter().any(|run| !run.state.status.is_final()) {
                return Err(Rejection::SessionAtWork.into());
            }
            match self
                .append_step(actor, first, RunEvent::SessionDeleted)
                .await?
            {
                StepOutcome::Stored { sequence } => {
                    self.visible(Stream::Runs, sequence).await?;
                    return Ok(runs);
                }
                StepOutcome::Overtaken { last } => self.visible(Stream::Runs, last).await?,
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    /// All its runs, oldest first; none where there is no such session.
    pub fn runs_of_session(&self, session_id: &SessionId) -> Result<Vec<Run>, AppError> {
        let mut runs: Vec<Run> = self.run_of_session(session_id)?.into_iter().collect();
        runs.extend(self.projections().resumptions(session_id)?);
        Ok(runs)
    }

    /// The agent of a session that can go on.
    pub fn agent_of_session(&self, session_id: &SessionId) -> Result<Name, AppError> {
        let shown = self.shown_session(session_id)?;
        let first = resume::resumable(session_id, shown.first())?;
        Ok(first.request.agent.clone())
    }

    /// Goes on with a session.
    pub async fn resume_session(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        command: RunCommand,
    ) -> Result<Requested, AppError> {
        let shown = self.shown_session(session_id)?;
        let first = resume::resumable(session_id, shown.first())?;
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
        let shown = self.shown_session(session_id)?;
        let parent = resume::resumable(session_id, shown.first())?;
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
