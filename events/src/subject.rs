//! How streams, subjects, consumers and buckets are named. No other file builds or takes apart
//! such a name.

use crate::catalog::Kind;
use crate::{Lane, RunId, RunnerId};
use schemas::Digest;
use schemas::Name;

/// The streams; their settings are `log::streams`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    Catalog,
    Lanes,
    Runs,
    History,
    Output,
    Runners,
}

impl Stream {
    pub const ALL: [Self; 6] = [
        Self::Catalog,
        Self::Lanes,
        Self::Runs,
        Self::History,
        Self::Output,
        Self::Runners,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Catalog => "CATALOG",
            Self::Lanes => "LANES",
            Self::Runs => "RUNS",
            Self::History => "HISTORY",
            Self::Output => "OUTPUT",
            Self::Runners => "RUNNERS",
        }
    }

    /// The stream that people call so, in whatever case.
    pub fn named(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|stream| stream.name().eq_ignore_ascii_case(text))
    }

    /// The one pattern of subjects it stores.
    pub fn subjects(self) -> &'static str {
        match self {
            Self::Catalog => "catalog.*.*",
            Self::Lanes => "lane.>",
            Self::Runs => "run.*.*.*",
            Self::History => "history.*",
            Self::Output => "output.*.*.*",
            Self::Runners => "runner.>",
        }
    }

    /// Which stored messages the broker republishes, and under which subject.
    pub fn republished(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Lanes => Some(("lane.>", "live.lane.>")),
            Self::Runs => Some((
                "run.*.*.coordinator",
                "live.run.{{wildcard(1)}}.{{wildcard(2)}}",
            )),
            Self::Output => Some(("output.>", "live.output.>")),
            Self::Runners => Some(("runner.*.coordinator", "live.runner.{{wildcard(1)}}")),
            Self::Catalog | Self::History => None,
        }
    }
}

/// The object bucket of packed script folders.
pub const BUNDLES: &str = "BUNDLES";

/// The stream behind that bucket, as the object store names it.
pub const BUNDLES_STREAM: &str = "OBJ_BUNDLES";

/// The stream that says that a restore has not come to its end. It holds no messages.
pub const UNFINISHED_RESTORE: &str = "RESTORE_UNFINISHED";

/// The one pattern of subjects of that stream.
pub const UNFINISHED_RESTORE_SUBJECTS: &str = "restore.unfinished";

/// The name of a bundle in its bucket.
pub fn bundle(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// The digest of a bundle, by its name in the bucket.
pub fn parse_bundle(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix("sha256-")?;
    format!("sha256:{hex}").parse().ok()
}

pub fn catalog(kind: Kind, name: &Name) -> String {
    let kind = match kind {
        Kind::Script => "script",
        Kind::Agent => "agent",
        Kind::Capability => "capability",
        Kind::Pin => "pin",
        Kind::Token => "token",
        Kind::Runner => "runner",
    };
    format!("catalog.{kind}.{name}")
}

pub fn lane_tags(lane: &Lane) -> String {
    format!("lane.{lane}.tags")
}

pub fn lane_script(lane: &Lane, script: &Name) -> String {
    format!("lane.{lane}.script.{script}")
}

/// Everything of one lane.
pub fn lane_all(lane: &Lane) -> String {
    format!("lane.{lane}.>")
}

/// The tags of every lane.
pub fn every_lane_tags() -> &'static str {
    "lane.*.tags"
}

/// The republished copies of what `filter` stores.
pub fn live(filter: &str) -> String {
    format!("live.{filter}")
}

/// Where a runner asks how far `LANES` goes; its account imports the broker's own subject under
/// this name (`nats.conf`).
pub const LANES_INFO: &str = "lanes.info";

/// A stored message of `LANES`, told apart by its subject; also of a republished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneSubject {
    Tags(Lane),
    Script(Lane, Name),
}

impl LaneSubject {
    pub fn parse(subject: &str) -> Option<Self> {
        let stored = subject.strip_prefix("live.").unwrap_or(subject);
        let mut tokens = stored.strip_prefix("lane.")?.split('.');
        let lane = tokens.next()?.parse().ok()?;
        let parsed = match (tokens.next()?, tokens.next()) {
            ("tags", None) => Self::Tags(lane),
            ("script", Some(name)) => Self::Script(lane, name.parse().ok()?),
            _ => return None,
        };
        tokens.next().is_none().then_some(parsed)
    }

    pub fn lane(&self) -> &Lane {
        match self {
            Self::Tags(lane) | Self::Script(lane, _) => lane,
        }
    }
}

/// Who appends to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The request itself, in its own subject because it is the queue entry.
    Request,
    Coordinator,
    Runner(RunnerId),
}

/// Where a run's summary stands: with those of its script, or of its agent where it has none. No
/// name has a colon.
pub fn history(script: Option<&Name>, agent: &Name) -> String {
    match script {
        Some(script) => format!("history.{script}"),
        None => format!("history.agent:{agent}"),
    }
}

/// A subject of `RUNS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSubject {
    pub lane: Lane,
    pub run_id: RunId,
    pub writer: Writer,
}

impl RunSubject {
    pub fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("run.")?.split('.');
        let parsed = Self {
            lane: tokens.next()?.parse().ok()?,
            run_id: tokens.next()?.parse().ok()?,
            writer: Writer::parse(tokens.next()?)?,
        };
        tokens.next().is_none().then_some(parsed)
    }

    pub fn as_string(&self) -> String {
        let Self {
            lane,
            run_id,
            writer,
        } = self;
        format!("run.{lane}.{run_id}.{}", writer.token())
    }
}

impl Writer {
    fn token(&self) -> &str {
        match self {
            Self::Request => REQUESTED,
            Self::Coordinator => COORDINATOR,
            Self::Runner(id) => id.as_str(),
        }
    }

    fn parse(token: &str) -> Option<Self> {
        match token {
            REQUESTED => Some(Self::Request),
            COORDINATOR => Some(Self::Coordinator),
            id => id.parse().ok().map(Self::Runner),
        }
    }
}

const REQUESTED: &str = "requested";
const COORDINATOR: &str = "coordinator";

/// Runner ids that would be taken for another writer of a run, or for one that coordinators serve.
pub fn is_reserved(id: &RunnerId) -> bool {
    matches!(id.as_str(), REQUESTED | COORDINATOR) || id.is_over_http()
}

/// Every step of one run.
pub fn run_all(lane: &Lane, run_id: &RunId) -> String {
    format!("run.{lane}.{run_id}.>")
}

/// Every step of the run, whatever lane it stands in.
pub fn run_in_any_lane(run_id: &RunId) -> String {
    format!("run.*.{run_id}.>")
}

/// What a lane's consumer hands out.
pub fn lane_requests(lane: &Lane) -> String {
    format!("run.{lane}.*.{REQUESTED}")
}

/// The durable consumer of a lane's requests.
pub fn lane_consumer(lane: &Lane) -> String {
    lane.to_string()
}

/// Where the broker tells that a lane's consumer was deleted.
pub fn lost_consumers() -> String {
    format!("{LOST_CONSUMERS}.{}.*", Stream::Runs.name())
}

/// The lane whose consumer was deleted.
pub fn parse_lost_consumer(subject: &str) -> Option<Lane> {
    parse_advisory(LOST_CONSUMERS, subject)
}

/// Where a cluster tells that a lane's consumer is led by another server, or by the same one anew.
pub fn moved_consumers() -> String {
    format!("{MOVED_CONSUMERS}.{}.*", Stream::Runs.name())
}

/// The lane whose consumer has a new leader.
pub fn parse_moved_consumer(subject: &str) -> Option<Lane> {
    parse_advisory(MOVED_CONSUMERS, subject)
}

fn parse_advisory(kind: &str, subject: &str) -> Option<Lane> {
    let rest = subject.strip_prefix(kind)?.strip_prefix('.')?;
    let (stream, consumer) = rest.split_once('.')?;
    consumer
        .parse()
        .ok()
        .filter(|_| stream == Stream::Runs.name())
}

const LOST_CONSUMERS: &str = "$JS.EVENT.ADVISORY.CONSUMER.DELETED";
const MOVED_CONSUMERS: &str = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED";

/// The republished copies of what coordinators append to a lane's runs.
pub fn live_runs(lane: &Lane) -> String {
    format!("live.run.{lane}.*")
}

/// The lane and run of a republished copy.
pub fn parse_live_run(subject: &str) -> Option<(Lane, RunId)> {
    let (lane, run_id) = subject.strip_prefix("live.run.")?.split_once('.')?;
    Some((lane.parse().ok()?, run_id.parse().ok()?))
}

pub fn output(lane: &Lane, run_id: &RunId, runner: &RunnerId) -> String {
    format!("output.{lane}.{run_id}.{runner}")
}

/// The output of one run, by whichever runner.
pub fn output_all(lane: &Lane, run_id: &RunId) -> String {
    format!("output.{lane}.{run_id}.*")
}

/// Who wrote a message of `OUTPUT`.
pub fn output_runner(subject: &str) -> Option<RunnerId> {
    let (_, runner) = subject.strip_prefix("output.")?.rsplit_once('.')?;
    runner.parse().ok()
}

pub fn runner(id: &RunnerId) -> String {
    format!("runner.{id}")
}

/// What a coordinator says to a runner; no runner may write there.
pub fn runner_order(id: &RunnerId) -> String {
    format!("runner.{id}.{COORDINATOR}")
}

/// The republished copies of what coordinators say to a runner.
pub fn live_runner(id: &RunnerId) -> String {
    format!("live.runner.{id}")
}

/// A subject of `RUNNERS`, by who writes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerSubject {
    /// The runner, of itself.
    Word(RunnerId),
    /// A coordinator, to the runner.
    Order(RunnerId),
}

impl RunnerSubject {
    pub fn parse(subject: &str) -> Option<Self> {
        let rest = subject.strip_prefix("runner.")?;
        match rest.split_once('.') {
            None => Some(Self::Word(rest.parse().ok()?)),
            Some((id, COORDINATOR)) => Some(Self::Order(id.parse().ok()?)),
            Some(_) => None,
        }
    }
}

pub fn presence(id: &RunnerId) -> String {
    format!("presence.{id}")
}

pub fn every_presence() -> &'static str {
    "presence.*"
}

pub fn ask(id: &RunnerId) -> String {
    format!("ask.{id}")
}

pub fn control(id: &RunnerId) -> String {
    format!("control.{id}")
}

/// What only measurements say and hear; in the runner's own inbox, because there its key may.
pub fn shouts(id: &RunnerId) -> String {
    format!("{}.shouts", inbox_prefix(id.as_str()))
}

/// Where the broker answers a connection: each side may only listen under its own prefix. A
/// permission cannot match part of a token, hence a token of its own.
pub fn inbox_prefix(owner: &str) -> String {
    format!("_INBOX.{owner}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_subject_reads_back() {
        for writer in [
            Writer::Request,
            Writer::Coordinator,
            Writer::Runner("web-1".parse().unwrap()),
        ] {
            let subject = RunSubject {
                lane: "0123456789abcdef0123456789abcdef".parse().unwrap(),
                run_id: RunId::from_bits(7),
                writer,
            };
            assert_eq!(RunSubject::parse(&subject.as_string()), Some(subject));
        }
    }

    #[test]
    fn foreign_subjects_are_not_taken_for_ours() {
        let lane = "0123456789abcdef0123456789abcdef";
        for subject in [
            "run.x.run_0000000000000001.requested".to_owned(),
            format!("run.{lane}.run_1.requested"),
            format!("run.{lane}.run_0000000000000001.requested.more"),
            format!("run.{lane}.run_0000000000000001"),
        ] {
            assert_eq!(RunSubject::parse(&subject), None, "{subject}");
        }
        assert_eq!(LaneSubject::parse(&format!("lane.{lane}.script.a.b")), None);
        assert_eq!(LaneSubject::parse(&format!("lane.{lane}.other")), None);
    }

    #[test]
    fn a_subject_of_runners_says_who_wrote() {
        let id: RunnerId = "web-1".parse().unwrap();
        let word = RunnerSubject::parse(&runner(&id));
        assert_eq!(word, Some(RunnerSubject::Word(id.clone())));
        let order = RunnerSubject::parse(&runner_order(&id));
        assert_eq!(order, Some(RunnerSubject::Order(id)));
        assert_eq!(RunnerSubject::parse("runner.web-1.other"), None);
        assert_eq!(RunnerSubject::parse("runner.web-1.coordinator.more"), None);
    }

    #[test]
    fn live_copies_are_read_like_what_is_stored() {
        let lane: Lane = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let stored = lane_script(&lane, &"deploy".parse().unwrap());
        assert_eq!(
            LaneSubject::parse(&live(&stored)),
            LaneSubject::parse(&stored)
        );
    }
}
