//! Who ran something: a script or an agent, one of its versions, or exactly these bytes. Runs that have
//! ended are found by their summaries, under the narrowest topic that has them all.

use super::timeline::{Timeline, TimelineQuery};
use super::{App, AppError};
use crate::domain::Rejection;
use crate::domain::audit::AuditRejection;
use crate::projections::{Line, Topic};
use events::catalog::{Catalog, ScriptVersion};
use events::history::RunSummary;
use events::run::{Run, RunStatus};
use schemas::{Digest, Name};
use std::str::FromStr as _;

/// The fewest characters of a digest that stand for it: what a table shows of one, and less.
const DIGEST_MIN_CHARS: usize = 6;

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
    pub status: Option<RunStatus>,
}

impl App {
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

/// Whether there is such a script, or was.
pub(super) fn is_script(catalog: &Catalog, name: &Name) -> bool {
    catalog.scripts.contains_key(name) || catalog.deleted_scripts.contains_key(name)
}

/// Whether there is such an agent, or was.
pub(super) fn is_agent(catalog: &Catalog, name: &Name) -> bool {
    catalog.agents.contains_key(name) || catalog.deleted_agents.contains_key(name)
}
