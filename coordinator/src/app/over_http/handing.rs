//! Handing runs over: a delivery of the lane's queue is claimed in the runner's name by the rules that
//! runners claim by, and what was claimed and never confirmed is handed over again.

use super::super::steps::StepOutcome;
use super::super::{App, AppError};
use crate::projections::Runner;
use async_trait::async_trait;
use events::claim::{Ask, Claimed, HAND_BACK_DELAY, Hold, Holder, Voice, claim, readable};
use events::log::jetstream::Delivery;
use events::question::Question;
use events::run::{FailureReason, PinnedScript, Program, Run, RunEvent, RunRequest, RunStatus};
use events::subject::{self, Stream, Writer};
use events::{Actor, RunnerId};
use std::time::Duration;

/// How long a run rests that this coordinator cannot judge yet: its own view is a moment behind.
const BEHIND_DELAY: Duration = Duration::from_millis(200);

/// Whether a runner can execute just what a run has pinned.
enum Fit {
    Yes,
    /// Our own view, or what the runner was told, is behind.
    NotYet,
    /// It would execute something else.
    No(String),
}

impl App {
    /// Makes a delivered run the runner's; `None` where it is not, and the poll waits on. Goes on by
    /// itself where the poll does not wait any more.
    pub(super) async fn take(
        &self,
        id: &RunnerId,
        runner: &Runner,
        delivery: Delivery,
    ) -> Result<Option<Run>, AppError> {
        let (answered, answer) = tokio::sync::oneshot::channel();
        let (app, id, runner) = (self.clone(), id.clone(), runner.clone());
        tokio::spawn(async move {
            let taken = app.take_delivered(&id, &runner, delivery).await;
            if let Err(Ok(Some(run))) = answered.send(taken) {
                // Nobody was there to hear of it: the next poll hears of it at once.
                app.0.over_http.lock().unsent.insert(run.request.run_id);
                app.0.desk.look(Some(&[id].into()));
            }
        });
        answer.await.map_err(AppError::internal)?
    }

    async fn take_delivered(
        &self,
        id: &RunnerId,
        runner: &Runner,
        delivery: Delivery,
    ) -> Result<Option<Run>, AppError> {
        let desk = &self.0.desk;
        let run_id = delivery.run_id.clone();
        // From here on it is looked after, whatever happens to us.
        desk.keep(&run_id, delivery.lease.clone());
        let Some(request) = readable(&delivery) else {
            tracing::warn!(run = %run_id, "a request is not readable; it is left aside");
            desk.ack(&run_id).await;
            return Ok(None);
        };
        let known = self.projections().run(&run_id)?;
        let holder = known.as_ref().and_then(|run| run.state.runner_id.as_ref());
        let has_ended = known
            .as_ref()
            .is_some_and(|run| run.state.status.is_final());
        if !has_ended && holder.is_some_and(RunnerId::is_over_http) {
            // Delivered again because a lease was lost; it is in good hands, and its lease here.
            return Ok(None);
        }
        match self.fit(id, runner, &request) {
            Fit::Yes => self.claim_for(id, &delivery, request).await,
            Fit::NotYet => {
                desk.hand_back(&run_id, BEHIND_DELAY).await;
                Ok(None)
            }
            Fit::No(_) if has_ended => self.claim_for(id, &delivery, request).await,
            Fit::No(why) => self.pass_on(&delivery, &request, why).await,
        }
    }

    async fn claim_for(
        &self,
        id: &RunnerId,
        delivery: &Delivery,
        request: Box<RunRequest>,
    ) -> Result<Option<Run>, AppError> {
        let me = Voice {
            log: &*self.0.broker.log,
            runner_id: id,
        };
        let run_id = &delivery.run_id;
        match claim(me, delivery, request, self).await {
            Claimed::Ours(Hold { standing, .. }) => {
                self.visible(Stream::Runs, standing.sequence).await?;
                self.speak_now(id).await;
                tracing::info!(run = %run_id, runner = %id, "claimed for a runner over HTTP");
                Ok(Some(self.run(run_id)?))
            }
            Claimed::Over => {
                self.0.desk.ack(run_id).await;
                Ok(None)
            }
            Claimed::NotNow => {
                self.0.desk.hand_back(run_id, HAND_BACK_DELAY).await;
                Ok(None)
            }
        }
    }

    /// Such a runner executes a script as it is now, and the run pins what it was when it was requested.
    fn fit(&self, id: &RunnerId, runner: &Runner, request: &RunRequest) -> Fit {
        match &request.program {
            Program::Model => Fit::Yes,
            Program::Script(script) => self.fits_script(id, request, script),
            Program::Command => {
                let mut agents = runner.registration.agents.iter();
                let agent = agents.find(|agent| agent.name == request.agent);
                match agent.is_some_and(|agent| agent.digest() == request.digest) {
                    true => Fit::Yes,
                    false => Fit::No(format!(
                        "agent {} is defined otherwise on this runner now than when the run was requested; request it again",
                        request.agent
                    )),
                }
            }
        }
    }

    fn fits_script(&self, id: &RunnerId, request: &RunRequest, script: &PinnedScript) -> Fit {
        let holdings = self.projections().holdings();
        let held = holdings.holding(id, &script.name);
        let held = held.and_then(|holding| holding.held.as_ref());
        if held.is_some_and(|held| held.digest == request.digest) {
            return Fit::Yes;
        }
        let catalog = self.projections().catalog().catalog;
        let now = catalog
            .scripts
            .get(&script.name)
            .map(|entry| &entry.current);
        let is_behind =
            now.is_some_and(|now| now.digest == request.digest || now.version < script.version);
        match is_behind {
            true => {
                self.need_script(id, &script.name);
                Fit::NotYet
            }
            false => Fit::No(format!(
                "script {} is not v{} any more, and a runner over HTTP has the present version only; request it again",
                script.name, script.version
            )),
        }
    }

    /// Leaves a run that no runner over HTTP can execute to one that can, and ends it where none is.
    async fn pass_on(
        &self,
        delivery: &Delivery,
        request: &RunRequest,
        why: String,
    ) -> Result<Option<Run>, AppError> {
        let run_id = &delivery.run_id;
        let online = self.online();
        let mut native = online.iter().filter(|(id, _)| !id.is_over_http());
        if native.any(|(_, registration)| registration.executes(&request.lane_tags)) {
            self.0.desk.hand_back(run_id, HAND_BACK_DELAY).await;
            return Ok(None);
        }
        self.visible(Stream::Runs, delivery.sequence).await?;
        let failed = RunEvent::Failed {
            reason: FailureReason::Rejected,
            error: why,
            outcome: None,
        };
        let run = self.run(run_id)?;
        match self
            .append_step(&Actor::policy("lanes"), &run, failed)
            .await?
        {
            StepOutcome::Stored { .. } => self.0.desk.ack(run_id).await,
            StepOutcome::Overtaken { .. } => self.0.desk.hand_back(run_id, BEHIND_DELAY).await,
        }
        Ok(None)
    }

    /// Whether the run is to be handed over again. Who was handed it a moment ago may be about to say
    /// that it has begun.
    pub(super) fn is_unconfirmed(&self, run: &Run) -> bool {
        run.state.status == RunStatus::Claimed && self.confirmed_within(run).is_zero()
    }

    /// How long a run that was handed over may still wait to be confirmed.
    pub(super) fn confirmed_within(&self, run: &Run) -> Duration {
        if self.0.over_http.lock().unsent.contains(&run.request.run_id) {
            return Duration::ZERO;
        }
        let since = run.claimed_at.map(|at| self.now().duration_since(at));
        let since = since.and_then(|since| Duration::try_from(since).ok());
        self.cadence()
            .lease()
            .saturating_sub(since.unwrap_or_default())
    }

    /// Claims it once more, so that it is handed over by one coordinator, once; `None` where another one
    /// did, or it began meanwhile.
    pub(super) async fn hand_over_again(
        &self,
        id: &RunnerId,
        run: &Run,
    ) -> Result<Option<Run>, AppError> {
        let claimed = RunEvent::Claimed {
            runner_id: id.clone(),
            attempt: run.state.attempt,
        };
        let run_id = &run.request.run_id;
        self.0.over_http.lock().unsent.remove(run_id);
        match self.append_as(id, run, claimed).await? {
            StepOutcome::Stored { sequence } => {
                self.visible(Stream::Runs, sequence).await?;
                tracing::info!(run = %run_id, runner = %id, "handed over again: it was not confirmed");
                Ok(Some(self.run(run_id)?))
            }
            StepOutcome::Overtaken { last } => {
                self.visible(Stream::Runs, last).await?;
                Ok(None)
            }
        }
    }

    /// Appends the next step of a run in a runner's name.
    pub(crate) async fn append_as(
        &self,
        id: &RunnerId,
        run: &Run,
        event: RunEvent,
    ) -> Result<StepOutcome, AppError> {
        let step = event.after(&run.state).map_err(AppError::internal)?;
        let (lane, run_id) = (run.request.lane_tags.lane(), run.request.run_id.clone());
        let expect = events::log::Expect::Subjects {
            filter: subject::run_all(&lane, &run_id),
            sequence: run.last_sequence,
        };
        let writer = Writer::Runner(id.clone());
        self.append_run(&Actor::runner(id), lane, run_id, writer, step, expect)
            .await
    }
}

#[async_trait]
impl Ask for App {
    async fn ask(&self, runner: &RunnerId, question: Question) -> Holder {
        let wire = &self.0.broker.wire;
        match wire.ask(runner, &question).await {
            Some(answer) => Holder::Said(answer),
            None if wire.listening_for() >= self.cadence().silence() => Holder::SilentForLong,
            None => Holder::SilentForAMoment,
        }
    }
}
