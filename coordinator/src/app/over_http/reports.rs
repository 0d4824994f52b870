//! What a runner over HTTP says of its runs, appended in its name; and the session that its executor has
//! begun for one.

use super::super::steps::StepOutcome;
use super::super::{App, AppError, TRIES};
use super::members::refused;
use super::{OverHttpRejection, Report, Visitor};
use crate::domain::over_http;
use events::run::{BoundExecutor, Run, RunEvent};
use events::subject::Stream;
use events::{RunId, RunnerId, SessionId};

impl App {
    /// # Errors
    /// When the runner is not known, does not hold the run, or the run has ended otherwise.
    pub async fn report(
        &self,
        visitor: &Visitor,
        id: &RunnerId,
        run_id: &RunId,
        report: &Report,
    ) -> Result<Run, AppError> {
        self.reporting(visitor, id).await?;
        for _ in 0..TRIES {
            let run = self.run(run_id)?;
            let event = over_http::next(&run, id, report, None).map_err(refused)?;
            let event = match event {
                None => return self.told(id, run).await,
                Some(start @ RunEvent::Started { .. }) => start,
                // The end brings what the runner has left before.
                Some(_) => match self.ending(id, &run, report).await? {
                    None => return self.told(id, run).await,
                    Some(end) => end,
                },
            };
            let is_done = matches!(
                (&event, report),
                (RunEvent::Started { .. }, Report::Started)
            );
            match self.append_as(id, &run, event).await? {
                StepOutcome::Stored { sequence } => {
                    self.visible(Stream::Runs, sequence).await?;
                    let run = self.run(run_id)?;
                    if is_done || run.state.status.is_final() {
                        return self.told(id, run).await;
                    }
                }
                StepOutcome::Overtaken { last } => self.visible(Stream::Runs, last).await?,
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    /// The executor of the session's present run has begun a session of its own.
    ///
    /// # Errors
    /// When no run of the session is at work on a runner over HTTP.
    pub async fn bind_session(
        &self,
        visitor: &Visitor,
        session_id: &SessionId,
        executor: BoundExecutor,
    ) -> Result<Run, AppError> {
        for _ in 0..TRIES {
            let (id, run) = self.at_work(session_id)?;
            self.reporting(visitor, &id).await?;
            if run.executor.as_ref() == Some(&executor) {
                return Ok(run);
            }
            if run.state.status.is_final() {
                return Err(not_at_work(session_id));
            }
            let bound = RunEvent::SessionBound {
                runner_id: id.clone(),
                attempt: run.state.attempt,
                executor: executor.clone(),
            };
            match self.append_as(&id, &run, bound).await? {
                StepOutcome::Stored { sequence } => {
                    self.visible(Stream::Runs, sequence).await?;
                    return self.run(&run.request.run_id);
                }
                StepOutcome::Overtaken { last } => self.visible(Stream::Runs, last).await?,
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    /// Whoever reports is there.
    pub(super) async fn reporting(&self, visitor: &Visitor, id: &RunnerId) -> Result<(), AppError> {
        self.heard_over_http(visitor, id).await
    }

    /// The newest run of a session, and the runner over HTTP that has it, or had it last.
    pub(super) fn at_work(&self, session_id: &SessionId) -> Result<(RunnerId, Run), AppError> {
        let newest = self.runs_of_session(session_id)?.pop();
        let run = newest.ok_or_else(|| not_at_work(session_id))?;
        let holder = run.state.runner_id.clone();
        let holder = holder.filter(RunnerId::is_over_http);
        Ok((holder.ok_or_else(|| not_at_work(session_id))?, run))
    }

    /// Its end, with what it has left.
    async fn ending(
        &self,
        id: &RunnerId,
        run: &Run,
        report: &Report,
    ) -> Result<Option<RunEvent>, AppError> {
        let outcome = self.left_by(run, report).await?;
        let end = over_http::next(run, id, report, outcome.as_ref()).map_err(refused)?;
        match end {
            Some(RunEvent::Completed { outcome, .. }) if report == &Report::Completed => {
                self.checked_end(id, run, outcome).await.map(Some)
            }
            end => Ok(end),
        }
    }

    /// After a report: the lease of what has ended is not needed any more, and others may know.
    async fn told(&self, id: &RunnerId, run: Run) -> Result<Run, AppError> {
        if run.state.status.is_final() {
            self.0.desk.ack(&run.request.run_id).await;
            self.speak_now(id).await;
        }
        Ok(run)
    }
}

pub(super) fn not_at_work(session_id: &SessionId) -> AppError {
    let session_id = session_id.clone();
    refused(OverHttpRejection::NotAtWork { session_id })
}
