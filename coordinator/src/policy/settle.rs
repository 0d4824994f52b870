//! Runs that nobody works on any more: their runner is gone, or none ever came. Where another
//! runner serves the lane, it settles them itself; this is for where nobody does.

use crate::projections::{Hearing, Runner};
use events::run::{FailureReason, Run, RunEvent, RunStatus};
use events::{Cadence, LaneTags, RunnerId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long things may take before something follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without a sign of life from a runner, while we would have heard it. Longer than an
    /// election, and than several heartbeats.
    pub silence: Duration,
    /// For a run that no online runner can take.
    pub schedule: Duration,
}

impl Patience {
    pub fn of(cadence: Cadence) -> Self {
        Self {
            silence: cadence.silence(),
            schedule: Duration::from_secs(5 * 60),
        }
    }
}

/// What is known.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The runs that have not ended.
    pub live: &'a [Run],
    pub runners: &'a BTreeMap<RunnerId, Runner>,
    pub hearing: &'a Hearing,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append the step, unless something else came first.
    Append { run: Run, step: RunEvent },
    /// Ask the runner whether it holds the run; append the step if it says no.
    AskThenAppend {
        runner: RunnerId,
        run: Run,
        step: RunEvent,
        /// It was not heard either, so no answer is as good as a no.
        silent: bool,
    },
}

/// What follows now.
pub fn actions(situation: &Situation<'_>, patience: Patience) -> Vec<Action> {
    let heard_for = situation
        .hearing
        .since
        .map(|since| elapsed(since, situation.now));
    let Some(heard_for) = heard_for else {
        return Vec::new();
    };
    let unserved = situation
        .live
        .iter()
        .filter(|run| !situation.is_served(&run.request.lane_tags))
        // Before that, silence may be ours.
        .filter(|run| heard_for >= patience.silence || situation.nobody_can_come(run));
    unserved
        .filter_map(|run| situation.action(run, patience))
        .collect()
}

impl Situation<'_> {
    /// Somebody is there who settles the lane's runs itself.
    pub fn is_served(&self, tags: &LaneTags) -> bool {
        self.serving(tags)
            .any(|(id, runner)| runner.left_at.is_none() && self.hearing.is_online(id, self.now))
    }

    /// Nobody holds the run, and no runner that could take it is expected to be there at all.
    fn nobody_can_come(&self, run: &Run) -> bool {
        let mut serving = self.serving(&run.request.lane_tags);
        run.state.status == RunStatus::Pending && serving.all(|(_, r)| r.left_at.is_some())
    }

    fn action(&self, run: &Run, patience: Patience) -> Option<Action> {
        let waited = elapsed(self.unserved_since(run), self.now);
        let schedule = run.request.schedule_timeout_seconds;
        let schedule = schedule.map_or(patience.schedule, |s| Duration::from_secs(s.into()));
        match (&run.state.runner_id, run.state.status) {
            // A held run asks for no runner yet; its hook's run does.
            (_, RunStatus::Pending) if !run.state.held && waited > schedule => {
                Some(Action::Append {
                    step: self.no_match(run, waited),
                    run: run.clone(),
                })
            }
            // Settled by what is known of that runner alone, whoever else serves the lane.
            (Some(runner), _) if runner.is_over_http() => None,
            (Some(runner), RunStatus::Running | RunStatus::Stopping) => {
                self.ask(runner, run, lost(runner, run)?, patience)
            }
            // The next runner that comes would claim what was not started; none has come.
            (Some(runner), RunStatus::Claimed) if waited > schedule => {
                self.ask(runner, run, self.no_match(run, waited), patience)
            }
            _ => None,
        }
    }

    /// A runner that is online and does not serve the lane any more knows best what it holds.
    fn ask(
        &self,
        runner: &RunnerId,
        run: &Run,
        step: RunEvent,
        patience: Patience,
    ) -> Option<Action> {
        Some(Action::AskThenAppend {
            silent: !self.is_heard(runner, patience),
            runner: runner.clone(),
            run: run.clone(),
            step,
        })
    }

    /// Since when nobody could take the run. A runner that was there until a moment ago has that
    /// long to come back, however long the run has waited for it before.
    fn unserved_since(&self, run: &Run) -> Timestamp {
        let tags = &run.request.lane_tags;
        let serving = self.serving(tags).filter_map(|(id, runner)| {
            let heard = self.hearing.presences.of(id).map(|heard| heard.at);
            runner.left_at.or(heard)
        });
        serving.fold(run.queued_at, Timestamp::max)
    }

    /// Runners that take the lane's runs, whether they are there or not.
    fn serving(&self, tags: &LaneTags) -> impl Iterator<Item = (&RunnerId, &Runner)> {
        let all = self.runners.iter();
        all.filter(|(_, runner)| runner.registration.executes(tags))
    }

    fn no_match(&self, run: &Run, waited: Duration) -> RunEvent {
        let (tags, seconds) = (&run.request.lane_tags, waited.as_secs());
        let error = match self.unfit(tags) {
            None => format!(
                "no online runner offered all of {tags} for {seconds} s; start one with these \
                 tags, or demand fewer"
            ),
            Some((runner, why)) => format!(
                "no online runner took runs of {tags} for {seconds} s; {runner} offers these tags \
                 and {why}"
            ),
        };
        RunEvent::Failed {
            reason: FailureReason::NoMatch,
            error,
            outcome: None,
        }
    }

    /// One that is there, offers all tags and takes no such runs, and why not.
    fn unfit(&self, tags: &LaneTags) -> Option<(&RunnerId, &'static str)> {
        let offering = self.runners.iter().filter(|(id, runner)| {
            let is_there = runner.left_at.is_none() && self.hearing.is_online(id, self.now);
            is_there
                && tags
                    .missing_from(&runner.registration.tags)
                    .next()
                    .is_none()
        });
        let why = |(id, runner): (_, &Runner)| {
            let why = match runner.registration.holds_scripts_only() {
                true => "holds scripts only",
                false => "takes only work that demands tags of its own",
            };
            (id, why)
        };
        offering.map(why).next()
    }

    fn is_heard(&self, runner: &RunnerId, patience: Patience) -> bool {
        let presences = &self.hearing.presences;
        presences.heard_within(runner, patience.silence, self.now)
    }
}

/// The end of a run whose runner is gone; `None` where the next runner may repeat it.
fn lost(runner: &RunnerId, run: &Run) -> Option<RunEvent> {
    if run.state.status == RunStatus::Stopping {
        return Some(RunEvent::Stopped { outcome: None });
    }
    if run.state.attempt < run.request.max_attempts {
        return None;
    }
    let repeated = match run.request.max_attempts {
        1 => "it is not marked idempotent, so it was not repeated".to_owned(),
        attempts => format!("it was the last of {attempts} attempts"),
    };
    Some(RunEvent::Failed {
        reason: FailureReason::Lost,
        error: format!("runner {runner} was lost while the script was running; {repeated}"),
        outcome: None,
    })
}

/// Clocks of others may be ahead of ours: then nothing has passed yet.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
