//! What happened to a script, an agent, a capability, a runner or a run, or through an actor. Answered
//! from what the projection has noted; only a run's steps are read from the log. Who ran what is
//! `who_ran`'s.

use super::stored_event::{EventFilter, StoredEvent};
use super::{App, AppError, who_ran};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use crate::projections::{Before, Line, Topic, TrailPage, TrailQuery};
use events::history::RunSummary;
use events::run::{Run, RunEvent, RunStep};
use events::subject::{self, Stream};
use events::{RunId, Timestamp};

/// Steps of a run that are looked through: a run has about five, and one that was handed round for
/// weeks some hundreds.
const STEPS_MAX: usize = 10_000;
/// Messages of a run read at once; a piece of a result has up to 700 KiB.
const STEPS_AT_ONCE: usize = 32;

/// Which part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimelineQuery {
    /// The `next` of the page before.
    pub before: Before,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Types and actors.
    pub filter: EventFilter,
    pub limit: usize,
}

/// What is noted of a topic, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    pub page: TrailPage,
    /// The runs about it that have not ended, newest first; on the first page only.
    pub unfinished: Vec<Run>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLine {
    /// In `RUNS`.
    pub sequence: u64,
    pub at: Timestamp,
    pub actor: events::Actor,
    pub step: RunEvent,
    pub attempt: u32,
}

/// The life of a run, newest step first.
#[derive(Clone, Debug, PartialEq)]
pub enum RunStory {
    Steps {
        steps: Vec<StepLine>,
        next: Option<Before>,
    },
    /// Retention has dropped its steps.
    Summary(Box<RunSummary>),
}

impl App {
    /// What is noted of a topic.
    pub fn timeline(&self, topic: &Topic, query: &TimelineQuery) -> Result<Timeline, AppError> {
        let takes = |line: &Line| query.takes(line);
        let page = self.projections().trail(&query.of(topic.clone()), takes)?;
        let unfinished = match query.filter.types.is_empty() {
            true => self.unfinished(query, |run| is_about(run, topic)),
            false => Vec::new(),
        };
        if page.entries.is_empty() && unfinished.is_empty() {
            self.check_known(topic)?;
        }
        Ok(Timeline { page, unfinished })
    }

    /// The life of a run.
    pub async fn run_story(
        &self,
        run_id: &RunId,
        query: &TimelineQuery,
    ) -> Result<RunStory, AppError> {
        let Some(run) = self.projections().run(run_id)? else {
            let summary = self.past_run(run_id)?.map(Box::new);
            let missing = || Rejection::RunNotFound {
                run_id: run_id.clone(),
            };
            return Ok(RunStory::Summary(summary.ok_or_else(missing)?));
        };
        let mut steps = self.steps(&run, query).await?;
        let next = (steps.len() > query.limit).then(|| {
            steps.truncate(query.limit);
            let last = steps.last().map_or(0, |step| step.sequence);
            Before([(Stream::Runs, last)].into())
        });
        Ok(RunStory::Steps { steps, next })
    }

    /// Those that are asked for, newest first.
    async fn steps(&self, run: &Run, query: &TimelineQuery) -> Result<Vec<StepLine>, AppError> {
        let filter = subject::run_all(&run.request.lane_tags.lane(), &run.request.run_id);
        let before = query.before.0.get(&Stream::Runs).copied();
        let (mut from, mut steps) = (run.first_sequence, Vec::new());
        // The projection stands there; what came since is the next reader's.
        while from <= run.last_sequence && steps.len() < STEPS_MAX {
            let log = &self.0.broker.log;
            let page = log.page(Stream::Runs, &filter, from, STEPS_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            from = last.sequence + 1;
            for stored in page {
                let sequence = stored.sequence;
                let Ok(read) = stored.envelope::<RunStep>() else {
                    continue;
                };
                let event = StoredEvent::of(Stream::Runs, stored);
                let is_before = before.is_none_or(|before| sequence < before);
                if is_before && query.filter.takes(&event) && query.is_in_time(read.at) {
                    steps.push(StepLine {
                        sequence,
                        at: read.at,
                        actor: read.actor,
                        attempt: read.event.state.attempt,
                        step: without_payload(read.event.step),
                    });
                }
            }
        }
        steps.reverse();
        Ok(steps)
    }

    pub(super) fn unfinished(
        &self,
        query: &TimelineQuery,
        is_wanted: impl Fn(&Run) -> bool,
    ) -> Vec<Run> {
        if query.before != Before::default() {
            return Vec::new();
        }
        let actor = query.filter.actor.as_ref();
        let takes = |run: &Run| {
            query.is_in_time(run.created_at)
                && actor.is_none_or(|actor| *actor == run.actor.name)
                && is_wanted(run)
        };
        let mut runs = self
            .projections()
            .of_live_runs(|run| takes(run).then(|| run.clone()));
        runs.reverse();
        runs.truncate(query.limit);
        runs
    }

    /// Something of which nothing is noted may still be there; otherwise its name is a mistake.
    fn check_known(&self, topic: &Topic) -> Result<(), AppError> {
        let catalog = self.projections().catalog().catalog;
        let there = match topic {
            Topic::Script(name) => who_ran::is_script(&catalog, name),
            Topic::Agent(name) => who_ran::is_agent(&catalog, name),
            Topic::Capability(name) => {
                catalog.capabilities.contains_key(name)
                    || catalog.deleted_capabilities.contains_key(name)
            }
            Topic::Runner(id) => self.projections().runners().contains_key(id),
            // Nobody keeps a list of all who may do something.
            Topic::Actor(_) | Topic::Digest(_) => false,
        };
        if there || self.projections().is_known(topic)? {
            return Ok(());
        }
        let topic = topic.to_string();
        Err(Rejection::from(AuditRejection::NothingKnown { topic }).into())
    }
}

impl TimelineQuery {
    pub(super) fn of(&self, topic: Topic) -> TrailQuery {
        TrailQuery {
            topic,
            before: self.before.clone(),
            since: self.since,
            until: self.until,
            limit: self.limit,
        }
    }

    fn takes(&self, line: &Line) -> bool {
        let EventFilter { types, actor } = &self.filter;
        let of_type = types.is_empty() || types.iter().any(|given| line.is_a(given));
        of_type && actor.as_ref().is_none_or(|actor| line.is_by(actor))
    }

    fn is_in_time(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }
}

fn is_about(run: &Run, topic: &Topic) -> bool {
    let request = &run.request;
    match topic {
        Topic::Script(name) => request.script().is_some_and(|script| script.name == *name),
        Topic::Agent(name) => request.agent == *name,
        Topic::Capability(_) => false,
        Topic::Runner(id) => run.state.runner_id.as_ref() == Some(id),
        Topic::Actor(name) => run.actor.name == *name,
        Topic::Digest(digest) => request.digest == *digest,
    }
}

/// A timeline tells what happened, not what was said.
fn without_payload(step: RunEvent) -> RunEvent {
    let mut step = match step {
        RunEvent::ResultChunk {
            runner_id,
            attempt,
            index,
            ..
        } => RunEvent::ResultChunk {
            runner_id,
            attempt,
            index,
            base64: String::new(),
        },
        step => step,
    };
    if let Some(outcome) = step.outcome_mut() {
        outcome.result_data = serde_json::Value::Null;
    }
    step
}
