//! `CATALOG`: every change to scripts and agents, and the fold that turns them into what there is.

use jiff::Timestamp;
use schemas::AgentDocument;
use schemas::Digest;
use schemas::FilePath;
use schemas::Name;
use schemas::ScriptDocument;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that happened to the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CatalogEvent {
    ScriptCreated(ScriptVersion),
    ScriptChanged(ScriptVersion),
    ScriptDeleted { name: Name },
    AgentCreated(AgentVersion),
    AgentChanged(AgentVersion),
    AgentDeleted { name: Name },
}

/// What a subject of `CATALOG` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Script,
    Agent,
}

impl CatalogEvent {
    pub fn kind(&self) -> Kind {
        match self {
            Self::ScriptCreated(_) | Self::ScriptChanged(_) | Self::ScriptDeleted { .. } => {
                Kind::Script
            }
            Self::AgentCreated(_) | Self::AgentChanged(_) | Self::AgentDeleted { .. } => {
                Kind::Agent
            }
        }
    }

    /// The script or agent it happened to.
    pub fn name(&self) -> &Name {
        match self {
            Self::ScriptCreated(script) | Self::ScriptChanged(script) => &script.document.name,
            Self::AgentCreated(agent) | Self::AgentChanged(agent) => &agent.document.name,
            Self::ScriptDeleted { name } | Self::AgentDeleted { name } => name,
        }
    }
}

/// One immutable version of a script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScriptVersion {
    /// Counts from 1 per name, and goes on when a deleted name is used again.
    pub version: u32,
    /// Of the packed folder, `script.json` included.
    pub digest: Digest,
    /// Of the packed folder, in bytes.
    pub size: u64,
    pub files: Vec<FileEntry>,
    pub document: ScriptDocument,
}

/// One file of a script's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: FilePath,
    /// In bytes, unpacked.
    pub size: u64,
    pub executable: bool,
}

/// One immutable version of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentVersion {
    /// Counts from 1 per name, and goes on when a deleted name is used again.
    pub version: u32,
    pub document: AgentDocument,
}

/// What there is: the fold of `CATALOG`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub scripts: BTreeMap<Name, Entry<ScriptVersion>>,
    pub agents: BTreeMap<Name, Entry<AgentVersion>>,
    /// The last version of names that are deleted, so that a name that comes back goes on counting.
    pub deleted_scripts: BTreeMap<Name, u32>,
    pub deleted_agents: BTreeMap<Name, u32>,
}

/// A script or an agent as it stands now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<T> {
    pub current: T,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

impl Catalog {
    /// Applies one event. Events are facts: nothing is refused here, and applying the same event
    /// again changes nothing.
    pub fn evolve(&mut self, at: Timestamp, event: &CatalogEvent) {
        match event {
            CatalogEvent::ScriptCreated(script) | CatalogEvent::ScriptChanged(script) => {
                self.deleted_scripts.remove(&script.document.name);
                put(&mut self.scripts, &script.document.name, at, script);
            }
            CatalogEvent::ScriptDeleted { name } => {
                if let Some(entry) = self.scripts.remove(name) {
                    self.deleted_scripts
                        .insert(name.clone(), entry.current.version);
                }
            }
            CatalogEvent::AgentCreated(agent) | CatalogEvent::AgentChanged(agent) => {
                self.deleted_agents.remove(&agent.document.name);
                put(&mut self.agents, &agent.document.name, at, agent);
            }
            CatalogEvent::AgentDeleted { name } => {
                if let Some(entry) = self.agents.remove(name) {
                    self.deleted_agents
                        .insert(name.clone(), entry.current.version);
                }
            }
        }
    }
}

fn put<T: Clone>(entries: &mut BTreeMap<Name, Entry<T>>, name: &Name, at: Timestamp, current: &T) {
    let created_at = entries.get(name).map_or(at, |entry| entry.created_at);
    let entry = Entry {
        current: current.clone(),
        created_at,
        modified_at: at,
    };
    entries.insert(name.clone(), entry);
}
