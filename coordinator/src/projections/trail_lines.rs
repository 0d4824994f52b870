//! What happened, as lines to look through: a row per change of the catalogue, per word of or to a
//! runner, and per ended run, and for each an entry under everything that it is about. Questions of
//! an audit read those entries and nothing else. How they are put together is `trail`'s.

use super::changes::Changes;
use super::keys;
use super::store::{Store, StoreError};
use events::catalog::{CatalogEvent, Kind, Place};
use events::history::RunSummary;
use events::log::Stored;
use events::runner::{Holding, RunnerEvent, RunnerOrder};
use events::subject::{RunnerSubject, Stream};
use events::{Actor, Envelope, RunnerId, Timestamp};
use schemas::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The streams that lines come from.
pub const NOTED: [Stream; 3] = [Stream::Catalog, Stream::Runners, Stream::History];

/// What lines are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    Script(Name),
    Agent(Name),
    Capability(Name),
    Runner(RunnerId),
    /// By the name that is recorded with what they do.
    Actor(String),
    Digest(Digest),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Line {
    Event(EventLine),
    Run(Box<RunSummary>),
}

/// A change of the catalogue, or a word of or to a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// The broker's time.
    pub at: Timestamp,
    pub actor: Actor,
    /// The event's `type` on the wire.
    pub r#type: String,
    /// `script`, `agent`, `capability`, `runner` or `token`.
    pub kind: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What else there is to say, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Names that a note lists; a runner may hold hundreds of scripts.
const NAMED_MAX: usize = 5;

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(name) => write!(f, "script/{name}"),
            Self::Agent(name) => write!(f, "agent/{name}"),
            Self::Capability(name) => write!(f, "capability/{name}"),
            Self::Runner(id) => write!(f, "runner/{id}"),
            Self::Actor(name) => write!(f, "actor/{name}"),
            Self::Digest(digest) => write!(f, "digest/{digest}"),
        }
    }
}

impl Line {
    /// When it happened, by the broker's clock.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.at,
            Self::Run(run) => run.ended_at,
        }
    }

    /// Who did it; of a run, who asked for it.
    pub fn actor(&self) -> &Actor {
        match self {
            Self::Event(event) => &event.actor,
            Self::Run(run) => &run.actor,
        }
    }

    /// What happened, in one word: the event's `type` on the wire, or how the run ended.
    pub fn kind(&self) -> String {
        match self {
            Self::Event(event) => event.r#type.clone(),
            Self::Run(run) => format!("run_{}", run.status),
        }
    }

    /// Whether somebody means it by this type.
    pub fn is_a(&self, r#type: &str) -> bool {
        let any_end = matches!(self, Self::Run(_)) && r#type == "run_ended";
        any_end || self.kind() == r#type
    }

    /// Whether this actor did it, or wanted its end.
    pub fn is_by(&self, name: &str) -> bool {
        let stopped_by = match self {
            Self::Event(_) => None,
            Self::Run(run) => run.stopped_by.as_ref(),
        };
        self.actor().name == name || stopped_by.is_some_and(|actor| actor.name == name)
    }

    fn topics(&self) -> Vec<Topic> {
        match self {
            Self::Event(event) => event.topics(),
            Self::Run(run) => of_run(run),
        }
    }
}

impl EventLine {
    fn topics(&self) -> Vec<Topic> {
        let name = || self.name.parse().ok();
        let about = match self.kind.as_str() {
            "script" => name().map(Topic::Script),
            "agent" => name().map(Topic::Agent),
            "capability" => name().map(Topic::Capability),
            "runner" => self.name.parse().ok().map(Topic::Runner),
            // It is the name of an actor, and stands with what that one does.
            "token" => Some(Topic::Actor(self.name.clone())),
            _ => None,
        };
        let digest = self.digest.map(Topic::Digest);
        let actor = Topic::Actor(self.actor.name.clone());
        // What a runner says of itself stands under the runner.
        let by_itself = self.kind == "runner" && self.actor.name == self.name;
        let actor = (!by_itself).then_some(actor);
        about.into_iter().chain(digest).chain(actor).collect()
    }
}

fn of_run(run: &RunSummary) -> Vec<Topic> {
    let script = run.script().map(|(name, _)| Topic::Script(name.clone()));
    let runner = run.runner_id.clone().map(Topic::Runner);
    let stopped_by = run.stopped_by.as_ref();
    let stopped_by = stopped_by.map(|actor| Topic::Actor(actor.name.clone()));
    let others = [
        Topic::Agent(run.agent.clone()),
        Topic::Actor(run.actor.name.clone()),
        Topic::Digest(run.digest),
    ];
    let some = [script, runner, stopped_by].into_iter().flatten();
    some.chain(others).collect()
}

/// Notes a change of the catalogue that was applied.
pub fn of_catalog(message: &Stored, changes: &mut Changes) {
    if let Ok(envelope) = message.envelope::<CatalogEvent>() {
        let line = Line::Event(change(&envelope));
        put(Stream::Catalog, message.sequence, &line, changes);
    }
}

/// Notes what a runner said of itself, or what it was told. It depends on the message alone, so that
/// a rebuild from what retention has left finds the same.
pub fn of_runners(message: &Stored, changes: &mut Changes) {
    let line = match RunnerSubject::parse(&message.subject) {
        Some(RunnerSubject::Word(id)) => message.envelope().ok().map(|word| said(&id, &word)),
        Some(RunnerSubject::Order(id)) => message.envelope().ok().map(|order| told(&id, &order)),
        None => None,
    };
    if let Some(line) = line {
        put(
            Stream::Runners,
            message.sequence,
            &Line::Event(line),
            changes,
        );
    }
}

/// Notes a line.
pub fn put(stream: Stream, sequence: u64, line: &Line, changes: &mut Changes) {
    changes.put(keys::numbered(&keys::lines_of(stream), sequence), line);
    for topic in line.topics() {
        let about = keys::lines_about(&topic.to_string(), stream);
        changes.mark(keys::numbered(&about, sequence));
    }
}

/// The line from this message.
pub fn line(store: &Store, stream: Stream, sequence: u64) -> Result<Option<Line>, StoreError> {
    store.get(&keys::numbered(&keys::lines_of(stream), sequence))
}

/// Drops some of the lines that come from messages before `first_sequence`; `false` where there are
/// none any more.
pub fn forget(
    store: &Store,
    stream: Stream,
    first_sequence: u64,
    limit: usize,
    changes: &mut Changes,
) -> Result<bool, StoreError> {
    let lines = keys::lines_of(stream);
    let to = keys::numbered(&lines, first_sequence);
    let mut found = false;
    for row in store.rows_between::<Line>(lines, to).take(limit) {
        let (key, line) = row?;
        let sequence = super::shared_rows::number(&key)?;
        changes.delete(key);
        for topic in line.topics() {
            let about = keys::lines_about(&topic.to_string(), stream);
            changes.delete(keys::numbered(&about, sequence));
        }
        found = true;
    }
    Ok(found)
}

fn change(envelope: &Envelope<CatalogEvent>) -> EventLine {
    let event = &envelope.event;
    let (version, digest, rollback_of) = match event {
        CatalogEvent::ScriptCreated(script) | CatalogEvent::ScriptChanged(script) => (
            Some(script.version),
            Some(script.digest),
            script.rollback_of,
        ),
        CatalogEvent::AgentCreated(agent) | CatalogEvent::AgentChanged(agent) => {
            let digest = agent.owner.as_ref().map(|owner| owner.digest);
            (Some(agent.version), digest, agent.rollback_of)
        }
        CatalogEvent::CapabilityCreated(capability)
        | CatalogEvent::CapabilityChanged(capability) => {
            (Some(capability.version), None, capability.rollback_of)
        }
        _ => (None, None, None),
    };
    let note = match event {
        CatalogEvent::ScriptPinned { place, .. } => Some(place_text(place)),
        CatalogEvent::ScriptUnpinned { places, .. } => {
            let places: Vec<String> = places.iter().map(place_text).collect();
            Some(places.join("; "))
        }
        CatalogEvent::TokenCreated(token) => Some(format!("role {}", token.role)),
        _ => rollback_of.map(|to| format!("as version {to} was")),
    };
    EventLine {
        at: envelope.at,
        actor: envelope.actor.clone(),
        r#type: change_type(event).to_owned(),
        kind: match event.kind() {
            Kind::Script | Kind::Pin => "script",
            Kind::Agent => "agent",
            Kind::Capability => "capability",
            Kind::Token => "token",
            Kind::Runner => "runner",
        }
        .to_owned(),
        name: event.name().to_string(),
        version,
        digest,
        note,
    }
}

/// The event's `type` on the wire.
fn change_type(event: &CatalogEvent) -> &'static str {
    match event {
        CatalogEvent::ScriptCreated(_) => "script_created",
        CatalogEvent::ScriptChanged(_) => "script_changed",
        CatalogEvent::ScriptDeleted { .. } => "script_deleted",
        CatalogEvent::AgentCreated(_) => "agent_created",
        CatalogEvent::AgentChanged(_) => "agent_changed",
        CatalogEvent::AgentDeleted { .. } => "agent_deleted",
        CatalogEvent::CapabilityCreated(_) => "capability_created",
        CatalogEvent::CapabilityChanged(_) => "capability_changed",
        CatalogEvent::CapabilityDeleted { .. } => "capability_deleted",
        CatalogEvent::ScriptPinned { .. } => "script_pinned",
        CatalogEvent::ScriptUnpinned { .. } => "script_unpinned",
        CatalogEvent::TokenCreated(_) => "token_created",
        CatalogEvent::TokenRevoked { .. } => "token_revoked",
        CatalogEvent::RunnerJoined(_) => "runner_joined",
        CatalogEvent::RunnerRevoked { .. } => "runner_revoked",
    }
}

fn said(id: &RunnerId, envelope: &Envelope<RunnerEvent>) -> EventLine {
    let (r#type, note) = match &envelope.event {
        RunnerEvent::Registered(registration) => {
            ("registered", Some(format!("on {}", registration.hostname)))
        }
        RunnerEvent::Synced { scripts, gone, .. } => ("synced", Some(synced(scripts, gone))),
        RunnerEvent::Left => ("left", None),
    };
    of_runner(id, envelope, r#type, note)
}

fn told(id: &RunnerId, envelope: &Envelope<RunnerOrder>) -> EventLine {
    let (r#type, note) = match &envelope.event {
        RunnerOrder::Drained { reason } => ("drained", reason.clone()),
        RunnerOrder::Resumed => ("resumed", None),
        RunnerOrder::Forgotten => ("forgotten", None),
    };
    of_runner(id, envelope, r#type, note)
}

fn of_runner<E>(
    id: &RunnerId,
    envelope: &Envelope<E>,
    r#type: &str,
    note: Option<String>,
) -> EventLine {
    EventLine {
        at: envelope.at,
        actor: envelope.actor.clone(),
        r#type: r#type.to_owned(),
        kind: "runner".to_owned(),
        name: id.to_string(),
        version: None,
        digest: None,
        note,
    }
}

/// `holds deploy v7, notify v2; not backup: disk full; gone: old`
fn synced(scripts: &BTreeMap<Name, Holding>, gone: &BTreeSet<Name>) -> String {
    let (failed, held): (Vec<_>, Vec<_>) = scripts.iter().partition(|(_, h)| h.error.is_some());
    let version = |(name, holding): &(&Name, &Holding)| {
        let version = holding.held.as_ref().and_then(|held| held.version);
        version.map_or(name.to_string(), |version| format!("{name} v{version}"))
    };
    let error = |(name, holding): &(&Name, &Holding)| {
        let error = holding.error.as_ref().map(|error| error.message.as_str());
        format!("{name}: {}", error.unwrap_or_default())
    };
    let parts = [
        ("holds", listed(held.iter().map(version))),
        ("not", listed(failed.iter().map(error))),
        ("gone:", listed(gone.iter().map(ToString::to_string))),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts
        .map(|(word, names)| format!("{word} {names}"))
        .collect();
    match parts.is_empty() {
        true => "holds nothing".to_owned(),
        false => parts.join("; "),
    }
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut named: Vec<String> = names.take(NAMED_MAX).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

fn place_text(place: &Place) -> String {
    match place {
        Place::Runner { runner_id } => format!("on runner {runner_id}"),
        Place::Tags { tags } => {
            let tags: Vec<&str> = tags.iter().map(schemas::Tag::as_str).collect();
            format!("on runners with {}", tags.join(", "))
        }
    }
}
