//! One run as it stands: its request, its state, and when each step happened.

use super::{Illegal, Outcome, RunEvent, RunRequest, RunState, RunStep};
use crate::{Actor, Envelope};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The fold of a run's steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub request: RunRequest,
    pub state: RunState,
    /// Who asked for it.
    pub actor: Actor,
    pub created_at: Timestamp,
    pub claimed_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub error: Option<String>,
    /// In `RUNS`: its request. Runs sort by it.
    pub first_sequence: u64,
    /// In `RUNS`: its newest step, which the next one must expect.
    pub last_sequence: u64,
}

impl Run {
    /// The run that a first message begins; `None` where it is not a request.
    pub fn begin(sequence: u64, envelope: &Envelope<RunStep>) -> Option<Self> {
        let RunEvent::Requested(request) = &envelope.event.step else {
            return None;
        };
        Some(Self {
            request: (**request).clone(),
            state: RunState::requested(),
            actor: envelope.actor.clone(),
            created_at: envelope.at,
            claimed_at: None,
            started_at: None,
            ended_at: None,
            outcome: None,
            error: None,
            first_sequence: sequence,
            last_sequence: sequence,
        })
    }

    /// Applies the next step. One that was applied already changes nothing; one that cannot
    /// follow is refused and leaves the run as it was.
    pub fn evolve(&mut self, sequence: u64, envelope: &Envelope<RunStep>) -> Result<(), Illegal> {
        if sequence <= self.last_sequence {
            return Ok(());
        }
        let RunStep { step, .. } = &envelope.event;
        self.state = self.state.after(step)?;
        self.last_sequence = sequence;
        self.note(envelope.at, step);
        Ok(())
    }

    fn note(&mut self, at: Timestamp, step: &RunEvent) {
        match step {
            RunEvent::Requested(_) | RunEvent::StopRequested | RunEvent::LateResult { .. } => {}
            RunEvent::Claimed { .. } => {
                self.claimed_at = Some(at);
                self.started_at = None;
            }
            RunEvent::Started { .. } => self.started_at = Some(at),
            RunEvent::Released { .. } => self.claimed_at = None,
            RunEvent::Completed { outcome, .. } => self.end(at, Some(outcome), None),
            RunEvent::Failed { error, outcome, .. } => self.end(at, outcome.as_ref(), Some(error)),
            RunEvent::Stopped { outcome } => self.end(at, outcome.as_ref(), None),
        }
    }

    fn end(&mut self, at: Timestamp, outcome: Option<&Outcome>, error: Option<&String>) {
        self.ended_at = Some(at);
        self.outcome = outcome.cloned();
        self.error = error.cloned();
    }
}
