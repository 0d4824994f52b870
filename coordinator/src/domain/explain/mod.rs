//! Why a run is where it is: one sentence that begins with the true cause, what it waits for, and
//! how every runner stands to it. Pure: given what is known, the answer follows.
//!
//! `fleet` judges each runner, `waiting` a run that nobody holds, `held` one that somebody does,
//! and `ended` one that is over.

mod ended;
mod fleet;
mod held;
mod no_runner;
#[cfg(test)]
mod tests;
mod waiting;
mod words;

pub use fleet::{Candidate, Contact, RunnerNote, Standing};
pub use no_runner::NoRunner;

use events::run::{FailureReason, Run, RunStatus};
use events::{Lane, LaneTags, RunId, Timestamp};
use schemars::JsonSchema;
use schemas::Name;
use serde::Serialize;
use std::time::Duration;

/// What is known.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub run: &'a Run,
    pub fleet: &'a [Candidate],
    /// Where the requests of the same lane stand that wait for a runner, this one among them.
    pub waiting: &'a [u64],
    /// Since when the broker does not answer; `None` while it does.
    pub broker_away_since: Option<Timestamp>,
    /// How long the run may wait for a runner that could take it.
    pub schedule_timeout: Duration,
    pub now: Timestamp,
}

/// Where a run is, and why.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    pub run_id: RunId,
    pub agent_name: Name,
    pub status: RunStatus,
    pub reason: Option<FailureReason>,
    pub cause: Cause,
    /// One sentence, the true cause first.
    pub summary: String,
    /// What has to happen next; `None` where nothing more will.
    pub waits_for: Option<String>,
    /// Since when the run is in its status.
    pub since: Timestamp,
    /// A command or a change that helps.
    pub hint: Option<String>,
    /// Its place in the lane while it waits.
    pub position: Option<Position>,
    /// It fails as `no_match` when nobody could take it for so long.
    pub schedule_timeout_seconds: Option<u64>,
    pub attempt: u32,
    pub max_attempts: u32,
    pub lane: Lane,
    pub lane_tags: LaneTags,
    /// The runners that could matter, the nearest first.
    pub runners: Vec<RunnerNote>,
    /// Further ones that lack tags.
    pub more_runners: usize,
}

/// What decides at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    BrokerAway,
    /// Its `on_run_start` hook has not answered.
    HookWaiting,
    /// There is no runner at all.
    NoRunner,
    /// No runner offers all tags.
    MissingTags,
    /// Those that do hold scripts only.
    HoldsOnly,
    /// Those that do take only what demands their own tags.
    OwnTagsOnly,
    /// Those that do are not there.
    Offline,
    /// Those that do take no new runs.
    Draining,
    /// Those that do are busy.
    SlotsFull,
    /// One that does has a free slot.
    Claimable,
    /// Whether one is there is not known yet.
    Unknown,
    /// A runner prepares it.
    Claimed,
    Running,
    Stopping,
    /// The runner that holds it is not heard.
    RunnerSilent,
    /// Its runner is lost, and another attempt is due.
    RetryWaiting,
    Completed,
    Failed,
    Stopped,
}

/// Where a waiting run stands among those of its lane, by the order of their requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PlaceInLane")]
pub struct Position {
    /// Those that go before it.
    pub ahead: usize,
    /// All that wait, this one among them.
    pub waiting: usize,
}

/// Runners that lack tags, listed at most; the rest is a number.
const LACKING_MAX: usize = 50;

/// What `waiting`, `held` and `ended` find.
struct Verdict {
    cause: Cause,
    summary: String,
    waits_for: Option<String>,
    since: Timestamp,
    hint: Option<String>,
}

/// Explains one run.
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let Facts { run, .. } = *facts;
    let verdict = match run.state.status {
        status if status.is_final() => ended::verdict(facts),
        _ if facts.broker_away_since.is_some() => away(facts),
        RunStatus::Pending => waiting::verdict(facts),
        _ => held::verdict(facts),
    };
    let (runners, more_runners) = notes(facts);
    // A held run stands in no lane yet.
    let pending = run.state.status == RunStatus::Pending && !run.state.held;
    Explanation {
        run_id: run.request.run_id.clone(),
        agent_name: run.request.agent.clone(),
        status: run.state.status,
        reason: run.state.reason,
        cause: verdict.cause,
        summary: verdict.summary,
        waits_for: verdict.waits_for,
        since: verdict.since,
        hint: verdict.hint,
        position: pending.then(|| facts.position()),
        schedule_timeout_seconds: pending.then_some(facts.schedule_timeout.as_secs()),
        attempt: run.state.attempt,
        max_attempts: run.request.max_attempts,
        lane: run.request.lane_tags.lane(),
        lane_tags: run.request.lane_tags.clone(),
        runners,
        more_runners,
    }
}

impl Facts<'_> {
    fn tags(&self) -> &LaneTags {
        &self.run.request.lane_tags
    }

    fn position(&self) -> Position {
        let first = self.run.first_sequence;
        let ahead = self.waiting.iter().filter(|waiting| **waiting < first);
        Position {
            ahead: ahead.count(),
            waiting: self.waiting.len().max(1),
        }
    }

    /// `12 s`
    fn lasted(&self, since: Timestamp) -> String {
        words::lasted(since, self.now)
    }
}

fn away(facts: &Facts<'_>) -> Verdict {
    let since = facts.broker_away_since.unwrap_or(facts.now);
    let (status, lasted) = (facts.run.state.status, facts.lasted(since));
    Verdict {
        cause: Cause::BrokerAway,
        summary: format!(
            "The broker has not answered for {lasted}, so no run can be taken or reported; when it \
             was last heard of, this one was {status}."
        ),
        waits_for: Some("the broker".to_owned()),
        since,
        hint: Some("coordinator status".to_owned()),
    }
}

/// Who left does not matter unless it would have served; of those that lack tags, the nearest.
fn notes(facts: &Facts<'_>) -> (Vec<RunnerNote>, usize) {
    if matches!(
        facts.run.state.status,
        RunStatus::Completed | RunStatus::Stopped
    ) {
        return (Vec::new(), 0);
    }
    let tags = facts.tags();
    let gone = |c: &&Candidate| matches!(c.contact, Contact::Left { .. }) && !c.executes(tags);
    let there = facts.fleet.iter().filter(|candidate| !gone(candidate));
    let mut notes: Vec<RunnerNote> = there
        .map(|candidate| candidate.note(tags, &facts.run.request.run_id))
        .collect();
    notes.sort_by(|a, b| {
        let key = |note: &RunnerNote| (note.state, !note.online, note.missing.len());
        key(a).cmp(&key(b)).then(a.runner_id.cmp(&b.runner_id))
    });
    let serving = notes.iter().filter(|note| note.missing.is_empty()).count();
    let shown = notes.len().min(serving + LACKING_MAX);
    let more = notes.len() - shown;
    notes.truncate(shown);
    (notes, more)
}
