//! How a message of `RUNS` changes the runs: a step is applied only where subject, writer, content
//! and the run's state agree.

use super::changes::Changes;
use super::keys;
use super::quarantine::Quarantine;
use super::runs::{Debt, EndedCounts, Past, Runs};
use events::envelope::Unreadable;
use events::log::Stored;
use events::run::{FailureReason, HookOf, HookPoint, Run, RunEvent, RunKind, RunStep};
use events::subject::{RunSubject, Writer};
use events::{Envelope, RunId};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// One batch of messages on its way into the fold.
pub struct RunsBatch<'a> {
    runs: &'a mut Runs,
    past: &'a dyn Past,
    /// Runs that the batch touched and that have ended, by id.
    ended: HashMap<RunId, Box<Run>>,
    /// The live ones, by first sequence. A row is written once, however many steps a batch has.
    touched: BTreeSet<u64>,
    changes: Changes,
    counts_before: EndedCounts,
    ends: Vec<RunId>,
    /// How long runs waited that were claimed.
    pub claims: Vec<Duration>,
}

impl<'a> RunsBatch<'a> {
    pub fn new(runs: &'a mut Runs, past: &'a dyn Past) -> Self {
        Self {
            counts_before: runs.ended,
            runs,
            past,
            ended: HashMap::new(),
            touched: BTreeSet::new(),
            changes: Changes::default(),
            ends: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// Applies one message.
    pub fn apply(&mut self, message: &Stored) -> Result<(), Quarantine> {
        self.apply_read(message, message.envelope())
    }

    /// Applies one message whose content was read already.
    pub fn apply_read(
        &mut self,
        message: &Stored,
        envelope: Result<Envelope<RunStep>, Unreadable>,
    ) -> Result<(), Quarantine> {
        let subject = RunSubject::parse(&message.subject).ok_or(Quarantine::Subject)?;
        let mut run = match self.take(&subject) {
            Found::Its(run) => run,
            Found::Nothing => return self.begin(message, &subject, envelope?),
            Found::OfAnotherLane => return Err(beside(message, &subject, envelope?)),
        };
        let (was_final, claimed_before) = (run.state.status.is_final(), run.claimed_at);
        let applied = envelope.map_err(Quarantine::from).and_then(|envelope| {
            check_writer(&subject.writer, &run, &envelope.event.step)?;
            if run.state.after(&envelope.event.step)? != envelope.event.state {
                return Err(Quarantine::ClaimedState);
            }
            Ok(run.evolve(message.sequence, envelope)?)
        });
        if let Some(claimed_at) = run.claimed_at.filter(|at| Some(*at) != claimed_before) {
            let waited = claimed_at.duration_since(run.queued_at);
            self.claims.extend(Duration::try_from(waited));
        }
        // The broker counts what is skipped here: the run's next step has to expect it.
        run.last_sequence = run.last_sequence.max(message.sequence);
        self.store(run, was_final);
        applied
    }

    /// Drops the runs whose first message the stream has dropped.
    pub fn forget(&mut self, runs: impl IntoIterator<Item = Run>) {
        for run in runs {
            let (first, status) = (run.first_sequence, run.state.status);
            self.runs.drop_live(&run);
            self.touched.remove(&first);
            self.ended.remove(&run.request.run_id);
            if let Some(count) = self.runs.ended.of(status) {
                *count = count.saturating_sub(1);
                self.changes.delete(keys::ended_run(status, first));
            }
            if let Some(ended) = run.ended_sequence {
                self.changes.delete(keys::numbered(keys::ENDS, ended));
            }
            let agent = &run.request.agent;
            self.changes.delete(keys::agent_run(agent, first));
            self.changes.delete(keys::run(first));
            self.changes.delete(keys::live_run(first));
            for debt in Debt::ALL {
                self.pay(debt, first);
            }
            self.changes
                .delete(keys::session_run(&run.request.session_id, first));
            self.changes
                .delete(keys::run_by_id(first, &run.request.run_id));
            self.runs.eras.begin_at(first);
            self.ends.push(run.request.run_id);
        }
    }

    /// The rows to write, and the runs that have ended.
    pub fn finish(mut self) -> (Changes, Vec<RunId>) {
        let live = self.touched.iter();
        let live = live.filter_map(|first| self.runs.live().get(first));
        for run in live.chain(self.ended.values()) {
            self.changes.put(keys::run(run.first_sequence), &**run);
        }
        if self.runs.ended != self.counts_before {
            let row = keys::ENDED_COUNTS.to_vec();
            match self.runs.ended == EndedCounts::default() {
                true => self.changes.delete(row),
                false => self.changes.put(row, &self.runs.ended),
            }
        }
        (self.changes, self.ends)
    }

    /// A run that the batch touched and that has ended.
    pub fn into_ended(self) -> Option<Run> {
        self.ended.into_values().next().map(|run| *run)
    }

    /// The run that a subject is about; whoever takes it stores it again.
    fn take(&mut self, subject: &RunSubject) -> Found {
        // Under another lane's subject it is not this run's.
        let found = match self.runs.place(&subject.run_id) {
            Some(place) if place.lane == subject.lane => self.runs.take_live(&subject.run_id),
            Some(_) => return Found::OfAnotherLane,
            None => match self.ended(&subject.run_id) {
                Some(run) if run.request.lane_tags.lane() != subject.lane => {
                    return Found::OfAnotherLane;
                }
                ended => ended.map(Box::new),
            },
        };
        found.map_or(Found::Nothing, Found::Its)
    }

    fn begin(
        &mut self,
        message: &Stored,
        subject: &RunSubject,
        envelope: Envelope<RunStep>,
    ) -> Result<(), Quarantine> {
        let run = begun(message, subject, envelope)?;
        let request = &run.request;
        if let Some(HookOf {
            run_id,
            point: HookPoint::OnRunFinish,
        }) = &request.hook_of
            && let Some(of) = self.ended(run_id)
        {
            self.pay(Debt::Hook, of.first_sequence);
        }
        if let Some(of) = &request.callback_of
            && let Some(of) = self.ended(of)
        {
            self.pay(Debt::Callback, of.first_sequence);
        }
        if request.kind == RunKind::ResumeSession {
            let of_session = keys::session_run(&request.session_id, run.first_sequence);
            self.changes.mark(of_session);
        }
        let first = run.first_sequence;
        self.changes
            .put(keys::run_by_id(first, &request.run_id), &first);
        self.runs.eras.add(first, &request.run_id);
        self.changes.mark(keys::live_run(run.first_sequence));
        let of_agent = keys::agent_run(&request.agent, run.first_sequence);
        self.changes.mark(of_agent);
        self.store(Box::new(run), false);
        Ok(())
    }

    fn ended(&self, run_id: &RunId) -> Option<Run> {
        let touched = self.ended.get(run_id).map(|run| Run::clone(run));
        touched.or_else(|| self.past.ended(run_id, &self.runs.eras))
    }

    fn owe(&mut self, debt: Debt, first_sequence: u64) {
        self.runs.owed.of_mut(debt).insert(first_sequence);
        self.changes
            .mark(keys::numbered(debt.rows(), first_sequence));
    }

    fn pay(&mut self, debt: Debt, first_sequence: u64) {
        if self.runs.owed.of_mut(debt).remove(&first_sequence) {
            self.changes
                .delete(keys::numbered(debt.rows(), first_sequence));
        }
    }

    fn store(&mut self, run: Box<Run>, was_final: bool) {
        let (first, status) = (run.first_sequence, run.state.status);
        if !status.is_final() {
            self.touched.insert(first);
            return self.runs.keep(run);
        }
        if run.hook_errors.contains_key(&HookPoint::OnRunFinish) {
            self.pay(Debt::Hook, first);
        }
        if run.callback_error.is_some() {
            self.pay(Debt::Callback, first);
        }
        if !was_final {
            if run.request.hooks.on_run_finish.is_some() {
                self.owe(Debt::Hook, first);
            }
            if run.calls_back().is_some() {
                self.owe(Debt::Callback, first);
            }
            self.runs.drop_live(&run);
            self.changes.delete(keys::live_run(first));
            self.changes.mark(keys::ended_run(status, first));
            if let Some(ended) = run.ended_sequence {
                let end = keys::numbered(keys::ENDS, ended);
                self.changes.put(end, &run.request.run_id);
            }
            if let Some(count) = self.runs.ended.of(status) {
                *count += 1;
            }
            self.ends.push(run.request.run_id.clone());
        }
        self.ended.insert(run.request.run_id.clone(), run);
    }
}

/// What there is under a run's id.
enum Found {
    Its(Box<Run>),
    /// A run that the subject is not of.
    OfAnotherLane,
    Nothing,
}

/// The run that a message begins.
fn begun(
    message: &Stored,
    subject: &RunSubject,
    envelope: Envelope<RunStep>,
) -> Result<Run, Quarantine> {
    let claimed = envelope.event.state.clone();
    let run = Run::begin(message.sequence, envelope).ok_or(Quarantine::UnknownRun)?;
    // A held run is not in the queue, so it does not stand where the queue looks.
    let writer = match run.state.held {
        true => Writer::Coordinator,
        false => Writer::Request,
    };
    if subject.writer != writer {
        return Err(Quarantine::Writer);
    }
    let request = &run.request;
    if request.run_id != subject.run_id || request.lane_tags.lane() != subject.lane {
        return Err(Quarantine::Mismatch);
    }
    match claimed == run.state {
        true => Ok(run),
        false => Err(Quarantine::ClaimedState),
    }
}

/// Why a message is none of the run whose id it has.
fn beside(message: &Stored, subject: &RunSubject, envelope: Envelope<RunStep>) -> Quarantine {
    match begun(message, subject, envelope) {
        Ok(_) => Quarantine::RequestedTwice,
        Err(reason) => reason,
    }
}

/// A runner speaks for itself only; a request has its own subject; coordinators hold, stop and
/// settle.
fn check_writer(writer: &Writer, run: &Run, step: &RunEvent) -> Result<(), Quarantine> {
    let held_by = |id| run.state.runner_id.as_ref() == Some(id);
    let allowed = match (writer, step) {
        // The hook may change what the script is given, not where or as what it runs.
        (Writer::Request, RunEvent::Requested(request)) if run.state.held => {
            let before = &run.request;
            request.run_id == before.run_id
                && request.lane_tags == before.lane_tags
                && request.digest == before.digest
                && request.hooks == before.hooks
        }
        (Writer::Request, _) => return Err(Quarantine::RequestedTwice),
        (
            Writer::Coordinator,
            RunEvent::Failed { .. }
            | RunEvent::HookNotRun { .. }
            | RunEvent::CallbackNotMade { .. }
            | RunEvent::SessionDeleted
            | RunEvent::StopRequested
            | RunEvent::Stopped { .. },
        ) => true,
        (
            Writer::Runner(id),
            RunEvent::Claimed { runner_id, .. }
            | RunEvent::Started { runner_id, .. }
            | RunEvent::Released { runner_id, .. }
            | RunEvent::ResultChunk { runner_id, .. }
            | RunEvent::SessionBound { runner_id, .. }
            | RunEvent::Completed { runner_id, .. }
            | RunEvent::LateResult { runner_id, .. },
        ) => runner_id == id,
        // Runners settle what a dead one left: a lost run, and a stop it did not live to see.
        (
            Writer::Runner(_),
            RunEvent::Failed {
                reason: FailureReason::Lost,
                ..
            }
            | RunEvent::Stopped { .. },
        ) => true,
        (Writer::Runner(id), RunEvent::Failed { .. }) => {
            held_by(id) || run.state.runner_id.is_none()
        }
        _ => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(Quarantine::Writer)
    }
}
