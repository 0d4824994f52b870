//! What happened to a script, an agent, a capability, a runner or a run, or through an actor; and who
//! ran something. Answered from what the projection has noted; only a run's steps are read from the log.

use super::stored_event::{EventFilter, StoredEvent};
use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use crate::projections::{Before, Line, Topic, TrailPage, TrailQuery};
use events::catalog::{Catalog, ScriptVersion};
use events::history::RunSummary;
use events::run::{Run, RunEvent, RunStep};
use events::subject::{self, Stream};
use events::{RunId, Timestamp};
use schemas::{Digest, Name};
use std::str::FromStr as _;

/// Steps of a run that are looked through: a run has about five, and one that was handed round for
/// weeks some hundreds.
const STEPS_MAX: usize = 10_000;
/// The fewest characters of a digest that stand for it: what a table shows of one, and less.
const DIGEST_MIN_CHARS: usize = 6;

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

/// What is asked of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// These bytes; a digest, or how it begins.
    Digest(String),
    /// A script, or an agent where there is no such script.
    Name { name: Name, version: Option<u32> },
}

/// Whose runs they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    Digest(Digest),
    Script { name: Name, version: Option<u32> },
    Agent { name: Name, version: Option<u32> },
}

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WhoRanQuery {
    pub time: TimelineQuery,
    pub runner: Option<String>,
    pub status: Option<events::run::RunStatus>,
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

    /// Who ran something.
    pub async fn who_ran(
        &self,
        ran: &Ran,
        query: &WhoRanQuery,
    ) -> Result<(Of, Timeline), AppError> {
        let of = self.resolve(ran)?;
        let topic = self.topic_of(&of).await?;
        let takes = |line: &Line| match line {
            Line::Run(run) => of.is_of(run) && query.takes(run),
            Line::Event(_) => false,
        };
        let page = self.projections().trail(&query.time.of(topic), takes)?;
        let by = |run: &Run| of.is_in(run) && query.takes_unfinished(run);
        let unfinished = self.unfinished(&query.time, by);
        Ok((of, Timeline { page, unfinished }))
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

    fn unfinished(&self, query: &TimelineQuery, is_wanted: impl Fn(&Run) -> bool) -> Vec<Run> {
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
            Topic::Script(name) => is_script(&catalog, name),
            Topic::Agent(name) => is_agent(&catalog, name),
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

    fn resolve(&self, ran: &Ran) -> Result<Of, AppError> {
        match ran {
            Ran::Digest(text) => self.digest_like(text),
            Ran::Name { name, version } => {
                let (name, version) = (name.clone(), *version);
                let catalog = self.projections().catalog().catalog;
                let known = |topic| self.projections().is_known(&topic);
                if is_script(&catalog, &name) || known(Topic::Script(name.clone()))? {
                    return Ok(Of::Script { name, version });
                }
                if is_agent(&catalog, &name) || known(Topic::Agent(name.clone()))? {
                    return Ok(Of::Agent { name, version });
                }
                Err(Rejection::from(AuditRejection::NothingNamed { name }).into())
            }
        }
    }

    fn digest_like(&self, text: &str) -> Result<Of, AppError> {
        if let Ok(digest) = Digest::from_str(text) {
            let live = self
                .projections()
                .of_live_runs(|run| (run.request.digest == digest).then_some(()));
            if !live.is_empty() || self.projections().is_known(&Topic::Digest(digest))? {
                return Ok(Of::Digest(digest));
            }
        }
        let digest = schemas::shown(text);
        let digits = text.trim_start_matches("sha256:").len();
        let found = match digits >= DIGEST_MIN_CHARS {
            true => self.projections().topics_like(&format!("digest/{text}"))?,
            false => Vec::new(),
        };
        let mut digests = found.iter().filter_map(|topic| {
            let text = topic.strip_prefix("digest/")?;
            Digest::from_str(text).ok()
        });
        match (digests.next(), digests.next()) {
            (Some(digest), None) => Ok(Of::Digest(digest)),
            (None, _) => Err(Rejection::from(AuditRejection::NothingWithDigest { digest }).into()),
            (Some(_), Some(_)) => {
                Err(Rejection::from(AuditRejection::SeveralDigests { digest }).into())
            }
        }
    }

    /// Where the runs stand, in the narrowest list.
    async fn topic_of(&self, of: &Of) -> Result<Topic, AppError> {
        Ok(match of {
            Of::Digest(digest) => Topic::Digest(*digest),
            Of::Script {
                name,
                version: Some(version),
            } => {
                let version = self.version::<ScriptVersion>(name, *version).await?;
                Topic::Digest(version.is.digest)
            }
            Of::Script {
                name,
                version: None,
            } => Topic::Script(name.clone()),
            Of::Agent { name, .. } => Topic::Agent(name.clone()),
        })
    }
}

/// Messages of a run read at once; a piece of a result has up to 700 KiB.
const STEPS_AT_ONCE: usize = 32;

impl TimelineQuery {
    fn of(&self, topic: Topic) -> TrailQuery {
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

impl WhoRanQuery {
    fn takes(&self, run: &RunSummary) -> bool {
        let actor = self.time.filter.actor.as_ref();
        let runner = run.runner_id.as_ref().map(events::RunnerId::as_str);
        let on = |wanted: &String| {
            runner == Some(wanted.as_str()) || run.hostname.as_ref() == Some(wanted)
        };
        actor.is_none_or(|actor| run.actor.name == *actor)
            && self.runner.as_ref().is_none_or(on)
            && self.status.is_none_or(|status| run.status == status)
    }

    fn takes_unfinished(&self, run: &Run) -> bool {
        let runner = run.state.runner_id.as_ref().map(events::RunnerId::as_str);
        let wanted = self.runner.as_deref();
        wanted.is_none_or(|wanted| runner == Some(wanted))
            && self.status.is_none_or(|status| run.state.status == status)
    }
}

impl Of {
    fn is_of(&self, run: &RunSummary) -> bool {
        self.fits(run.script(), (&run.agent, run.agent_version), run.digest)
    }

    fn is_in(&self, run: &Run) -> bool {
        let request = &run.request;
        let script = request
            .script()
            .map(|script| (&script.name, script.version));
        self.fits(
            script,
            (&request.agent, request.agent_version),
            request.digest,
        )
    }

    fn fits(&self, script: Option<(&Name, u32)>, agent: (&Name, u32), is: Digest) -> bool {
        let same = |(name, version): (&Name, Option<u32>), has: (&Name, u32)| {
            name == has.0 && version.is_none_or(|version| version == has.1)
        };
        match self {
            Self::Digest(digest) => *digest == is,
            Self::Script { name, version } => script.is_some_and(|has| same((name, *version), has)),
            Self::Agent { name, version } => same((name, *version), agent),
        }
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

fn is_script(catalog: &Catalog, name: &Name) -> bool {
    catalog.scripts.contains_key(name) || catalog.deleted_scripts.contains_key(name)
}

fn is_agent(catalog: &Catalog, name: &Name) -> bool {
    catalog.agents.contains_key(name) || catalog.deleted_agents.contains_key(name)
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
