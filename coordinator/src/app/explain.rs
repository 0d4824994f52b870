//! Why a run is where it is: gathers what is known for `domain::explain`.

use super::{App, AppError};
use crate::domain::explain::{Candidate, Contact, Explanation, Facts, explain};
use crate::domain::runs::DEFAULT_SCHEDULE_TIMEOUT;
use crate::projections::{Hearing, Runner};
use events::run::{Run, RunStatus, RunStep};
use events::runner::HEARTBEAT_SECONDS;
use events::{Actor, Envelope, EventId, RunId, RunnerId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Whoever is there was heard by then: one heartbeat, and what a busy host adds.
const HEARD_WITHIN: Duration = Duration::from_secs(HEARTBEAT_SECONDS + 5);

impl App {
    pub fn explain(&self, run_id: &RunId) -> Result<Explanation, AppError> {
        Ok(self.explanation(&self.run(run_id)?))
    }

    /// Of a run that stands, or that is about to.
    pub(super) fn explanation(&self, run: &Run) -> Explanation {
        let (now, live) = (Timestamp::now(), self.projections().live_runs());
        let fleet = self.fleet(&live, now);
        let waiting: Vec<Run> = live
            .into_iter()
            .filter(|other| {
                other.state.status == RunStatus::Pending
                    && other.request.lane_tags == run.request.lane_tags
            })
            .collect();
        let schedule_timeout = run.request.schedule_timeout_seconds;
        let schedule_timeout = schedule_timeout.map_or_else(
            || DEFAULT_SCHEDULE_TIMEOUT.duration(),
            |seconds| Duration::from_secs(seconds.into()),
        );
        explain(&Facts {
            run,
            fleet: &fleet,
            waiting: &waiting,
            broker_away_since: self.broker_away_since(now),
            schedule_timeout,
            now,
        })
    }

    /// Of a request that is not stored yet.
    pub(super) fn foreseen(&self, actor: &Actor, request: &RunStep) -> Option<Explanation> {
        let envelope = Envelope {
            id: EventId::fresh(),
            at: Timestamp::now(),
            actor: actor.clone(),
            previous: None,
            event: request.clone(),
        };
        let run = Run::begin(u64::MAX, &envelope)?;
        Some(self.explanation(&run))
    }

    /// All runners, as far as placing a run goes.
    fn fleet(&self, live: &[Run], now: Timestamp) -> Vec<Candidate> {
        let hearing = self.hearing();
        let mut holds: BTreeMap<&RunnerId, BTreeSet<RunId>> = BTreeMap::new();
        for run in live {
            if let Some(holder) = &run.state.runner_id {
                let held = holds.entry(holder).or_default();
                held.insert(run.request.run_id.clone());
            }
        }
        let runners = self.projections().runners();
        let candidate = |(id, runner): (&RunnerId, &Runner)| Candidate {
            runner_id: id.clone(),
            hostname: runner.registration.hostname.clone(),
            offers: runner.registration.tags.clone(),
            slots: runner.registration.max_runs,
            holds: holds.get(id).cloned().unwrap_or_default(),
            contact: contact(id, runner, &hearing, now),
        };
        runners.iter().map(candidate).collect()
    }

    fn broker_away_since(&self, now: Timestamp) -> Option<Timestamp> {
        let link = *self.0.broker.wire.link().borrow();
        let away = jiff::SignedDuration::try_from(link.since.elapsed()).unwrap_or_default();
        (!link.connected).then(|| now.checked_sub(away).unwrap_or(now))
    }
}

/// A runner that left in order is gone, whatever heartbeat came last.
fn contact(id: &RunnerId, runner: &Runner, hearing: &Hearing, now: Timestamp) -> Contact {
    if let Some(at) = runner.left_at {
        return Contact::Left { at };
    }
    let heard = hearing.presences.of(id);
    if hearing.presences.is_online(id, now) {
        let draining = heard.and_then(|heard| heard.draining_since);
        return draining.map_or(Contact::Online, |since| Contact::Draining { since });
    }
    let listened = hearing.since.map(|since| now.duration_since(since));
    let long = listened.is_some_and(|listened| listened.unsigned_abs() > HEARD_WITHIN);
    // One that has only just registered sends its first heartbeat in a moment.
    let new = now.duration_since(runner.registered_at).unsigned_abs() <= HEARD_WITHIN;
    match heard {
        None if !long || new => Contact::Unheard,
        heard => Contact::Silent {
            since: heard.map(|heard| heard.at),
        },
    }
}
