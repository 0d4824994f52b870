//! How a step of a run is appended: beside the state it leads to, expecting the run's last step.

use super::{App, AppError};
use events::log::{Append, AppendError, Expect};
use events::run::{Run, RunEvent, RunStep};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Actor, Envelope, EventId, Lane, RunId};

/// What an append of a step comes to.
pub(crate) enum StepOutcome {
    Stored {
        sequence: u64,
    },
    /// Somebody else's step came first, in `RUNS` at `last`.
    Overtaken {
        last: u64,
    },
}

impl App {
    /// Appends the coordinator's next step of a run.
    pub(crate) async fn append_step(
        &self,
        actor: &Actor,
        run: &Run,
        event: RunEvent,
    ) -> Result<StepOutcome, AppError> {
        let writer = match &event {
            // The queue entry of a run that was held.
            RunEvent::Requested(_) => Writer::Request,
            _ => Writer::Coordinator,
        };
        let step = event.after(&run.state).map_err(AppError::internal)?;
        let (lane, run_id) = (run.request.lane_tags.lane(), run.request.run_id.clone());
        let expect = Expect::Subjects {
            filter: subject::run_all(&lane, &run_id),
            sequence: run.last_sequence,
        };
        self.append_run(actor, lane, run_id, writer, step, expect)
            .await
    }

    pub(super) async fn append_run(
        &self,
        actor: &Actor,
        lane: Lane,
        run_id: RunId,
        writer: Writer,
        step: RunStep,
        expect: Expect,
    ) -> Result<StepOutcome, AppError> {
        let envelope = Envelope {
            id: EventId::fresh(),
            at: self.now(),
            actor: actor.clone(),
            previous: None,
            event: step,
        };
        let subject = RunSubject {
            lane,
            run_id,
            writer,
        };
        let append = Append {
            stream: Stream::Runs,
            subject: subject.as_string(),
            id: envelope.id,
            payload: envelope.to_bytes(),
            expect,
        };
        match self.0.broker.log.append(append).await {
            Ok(appended) => Ok(StepOutcome::Stored {
                sequence: appended.sequence,
            }),
            Err(AppendError::Conflict { last }) => Ok(StepOutcome::Overtaken { last }),
            Err(error) => Err(error.into()),
        }
    }
}
