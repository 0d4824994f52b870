//! Why a run is where it is: gathers what is known for `domain::explain`.

use super::runners::Drained;
use super::{App, AppError};
use crate::domain::explain::{Candidate, Contact, Explanation, Facts, NoRunner, explain};
use crate::domain::runs::DEFAULT_SCHEDULE_TIMEOUT;
use crate::projections::{Hearing, Ordered, Runner};
use events::run::{Run, RunStatus, RunStep};
use events::{Actor, Envelope, EventId, LaneTags, RunId, RunnerId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a busy host may add to the time between two heartbeats.
const BUSY: Duration = Duration::from_secs(5);

/// A runner, and a run that it holds.
type Held = (RunnerId, RunId);

impl App {
    /// Why the run is where it is.
    pub fn explain(&self, run_id: &RunId) -> Result<Explanation, AppError> {
        let run = self.run(run_id)?;
        let held = self.projections().of_live_runs(|run| {
            let holder = run.state.runner_id.clone()?;
            Some((holder, run.request.run_id.clone()))
        });
        let lane = &run.request.lane_tags;
        let waiting = self.projections().of_live_runs(|other| {
            let waits = other.state.status == RunStatus::Pending;
            (waits && other.request.lane_tags == *lane).then_some(other.first_sequence)
        });
        Ok(self.explanation(&run, held, &waiting))
    }

    /// The warning that nobody could take the run, whatever else is to be done.
    pub(super) fn no_runner_for(&self, run: &Run) -> Option<NoRunner> {
        // Nearly always somebody is there, and requests are many.
        if self.is_served(&run.request.lane_tags) {
            return None;
        }
        NoRunner::of(&self.explanation(run, Vec::new(), &[]))
    }

    /// The same of a request that is not stored yet.
    pub(super) fn no_runner_foreseen(&self, actor: &Actor, request: &RunStep) -> Option<NoRunner> {
        let envelope = Envelope {
            id: EventId::fresh(),
            at: self.now(),
            actor: actor.clone(),
            previous: None,
            event: request.clone(),
        };
        self.no_runner_for(&Run::begin(u64::MAX, envelope)?)
    }

    fn is_served(&self, tags: &LaneTags) -> bool {
        let (hearing, now) = (self.hearing(), self.now());
        let orders = self.projections().runner_orders();
        self.projections().runners().iter().any(|(id, runner)| {
            runner.registration.executes(tags)
                && contact(id, runner, orders.get(id), &hearing, now) == Contact::Online
        })
    }

    fn explanation(&self, run: &Run, held: Vec<Held>, waiting: &[u64]) -> Explanation {
        let now = self.now();
        let schedule_timeout = run.request.schedule_timeout_seconds;
        let schedule_timeout = schedule_timeout.map_or_else(
            || DEFAULT_SCHEDULE_TIMEOUT.duration(),
            |seconds| Duration::from_secs(seconds.into()),
        );
        explain(&Facts {
            run,
            fleet: &self.fleet(held, now),
            waiting,
            broker_away_since: self.broker_away_since(now),
            schedule_timeout,
            now,
        })
    }

    /// All runners, as far as placing a run goes.
    fn fleet(&self, held: Vec<Held>, now: Timestamp) -> Vec<Candidate> {
        let hearing = self.hearing();
        let mut holds: BTreeMap<RunnerId, BTreeSet<RunId>> = BTreeMap::new();
        for (holder, run_id) in held {
            holds.entry(holder).or_default().insert(run_id);
        }
        let runners = self.projections().runners();
        let orders = self.projections().runner_orders();
        let candidate = |(id, runner): (&RunnerId, &Runner)| Candidate {
            runner_id: id.clone(),
            hostname: runner.registration.hostname.clone(),
            offers: runner.registration.tags.clone(),
            one_of: runner.registration.one_of.clone(),
            slots: runner.registration.max_runs,
            holds: holds.get(id).cloned().unwrap_or_default(),
            contact: contact(id, runner, orders.get(id), &hearing, now),
        };
        runners.iter().map(candidate).collect()
    }

    fn broker_away_since(&self, now: Timestamp) -> Option<Timestamp> {
        let link = *self.0.broker.wire.link().borrow();
        let away = jiff::SignedDuration::try_from(link.since.elapsed()).unwrap_or_default();
        (!link.connected).then(|| now.checked_sub(away).unwrap_or(now))
    }
}

/// A runner that left in order is gone, whatever heartbeat came last; one that was drained takes
/// no runs as soon as it hears of it.
fn contact(
    id: &RunnerId,
    runner: &Runner,
    ordered: Option<&Ordered>,
    hearing: &Hearing,
    now: Timestamp,
) -> Contact {
    if let Some(at) = runner.left_at {
        return Contact::Left { at };
    }
    let heard = hearing.presences.of(id);
    if hearing.is_online(id, now) {
        let drained = ordered.and_then(Drained::of).map(|drained| drained.since);
        let draining = drained.or_else(|| heard.and_then(|heard| heard.draining_since));
        return draining.map_or(Contact::Online, |since| Contact::Draining { since });
    }
    // Whoever is there was heard by then.
    let heard_within = hearing.cadence.heartbeat() + BUSY;
    let listened = hearing.since.map(|since| now.duration_since(since));
    let long = listened.is_some_and(|listened| listened.unsigned_abs() > heard_within);
    // One that has only just registered sends its first heartbeat in a moment.
    let new = now.duration_since(runner.registered_at).unsigned_abs() <= heard_within;
    match heard {
        None if !long || new => Contact::Unheard,
        heard => Contact::Silent {
            since: heard.map(|heard| heard.at),
        },
    }
}
