//! The runs of hooks, and what becomes of a run that waits for one. Policy decides when.

use super::steps::StepOutcome;
use super::{App, AppError, off_thread};
use crate::domain::draft::document_of;
use crate::domain::{hooks, ids, runs};
use events::log::Expect;
use events::run::{HookPoint, Program, Run, RunEvent, RunRequest, RunStep};
use events::subject::{self, Stream, Writer};
use events::{Actor, Via};
use schemas::Hook;
use serde_json::{Map, Value};

impl App {
    /// Requests the run of a hook. Its id follows from the run it is for, so it is one run,
    /// whoever else does the same.
    pub(crate) async fn start_hook(
        &self,
        of: &Run,
        point: HookPoint,
        hook: &Hook,
        parameters: Map<String, Value>,
    ) -> Result<(), AppError> {
        let run_id = ids::run_of_hook(&of.request.run_id, point);
        let command = hooks::command(of, hook, parameters);
        let request = self.checked_request(run_id.clone(), &command).await?;
        let request = hooks::as_hook(request, of, point);
        self.ensure_lane(&request.lane_tags).await?;
        let (lane, lane_tags) = (request.lane_tags.lane(), request.lane_tags.clone());
        let expect = Expect::Subjects {
            filter: subject::run_in_any_lane(&run_id),
            sequence: 0,
        };
        let actor = Actor::new(of.actor.name.clone(), Via::Hook);
        let step = RunStep::first(request);
        let appended = self.append_run(&actor, lane, run_id, Writer::Request, step, expect);
        self.seen(appended.await?).await?;
        self.keep_lane(&lane_tags).await;
        Ok(())
    }

    /// Puts a held run into its lane's queue.
    pub(crate) async fn release_run(
        &self,
        actor: &Actor,
        run: &Run,
        parameters: Option<Map<String, Value>>,
    ) -> Result<(), AppError> {
        let request = match parameters {
            Some(changed) if changed != run.request.parameters => {
                self.rechecked(run.request.clone(), changed).await?
            }
            _ => run.request.clone(),
        };
        self.ensure_lane(&request.lane_tags).await?;
        let lane_tags = request.lane_tags.clone();
        let requested = RunEvent::Requested(Box::new(request));
        self.seen(self.append_step(actor, run, requested).await?)
            .await?;
        self.keep_lane(&lane_tags).await;
        Ok(())
    }

    /// The request with other parameters, held against the schema of the version it pinned.
    async fn rechecked(
        &self,
        request: RunRequest,
        parameters: Map<String, Value>,
    ) -> Result<RunRequest, AppError> {
        let written = match request.program {
            Program::Script(_) => {
                document_of(&*self.folder(&request.digest).await?)?.parameters_schema
            }
            // No definition is kept beside the present one.
            Program::Command | Program::Model => {
                let catalog = self.projections().catalog().catalog;
                let now = runs::runnable(&catalog, &request.agent)?;
                now.parameters_schema().cloned()
            }
        };
        let schema = self
            .parameters_schema(&request.digest, written.as_ref())
            .await?;
        let changed =
            move || hooks::changed(&request, written.as_ref(), schema.as_ref(), parameters);
        Ok(off_thread(changed).await??)
    }

    /// Waits until our own view has what came of an append.
    async fn seen(&self, outcome: StepOutcome) -> Result<(), AppError> {
        let (StepOutcome::Stored { sequence } | StepOutcome::Overtaken { last: sequence }) =
            outcome;
        self.visible(Stream::Runs, sequence).await
    }
}
