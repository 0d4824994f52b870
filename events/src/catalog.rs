//! `CATALOG`: every change to scripts, agents, capabilities and pins, to tokens and runners' access,
//! and the fold that turns them into what there is.

use crate::member::{Joined, Member};
use crate::token::{Issued, Token, Use};
use crate::{LaneTags, RunnerId};
use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::AgentDocument;
use schemas::CapabilityDocument;
use schemas::CommandLine;
use schemas::Digest;
use schemas::FilePath;
use schemas::Name;
use schemas::ScriptDocument;
use schemas::Tag;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something that happened to the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CatalogEvent {
    ScriptCreated(ScriptVersion),
    ScriptChanged(ScriptVersion),
    ScriptDeleted {
        name: Name,
    },
    AgentCreated(AgentVersion),
    AgentChanged(AgentVersion),
    AgentDeleted {
        name: Name,
    },
    CapabilityCreated(CapabilityVersion),
    CapabilityChanged(CapabilityVersion),
    CapabilityDeleted {
        name: Name,
    },
    /// The runners of a place hold this script, whoever refers to it.
    ScriptPinned {
        script: Name,
        place: Place,
    },
    /// These places hold it only if something else puts it there.
    ScriptUnpinned {
        script: Name,
        places: BTreeSet<Place>,
    },
    /// A token was given out.
    TokenCreated(Token),
    /// It opens nothing any more.
    TokenRevoked {
        name: Name,
    },
    /// A runner's own key opens the broker from now on.
    RunnerJoined(Joined),
    /// It does not any more.
    RunnerRevoked {
        runner: Name,
    },
}

/// What a subject of `CATALOG` is about. The pins of a script go by the script's name, and a
/// runner's access by the runner's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Script,
    Agent,
    Capability,
    Pin,
    Token,
    Runner,
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
            Self::CapabilityCreated(_)
            | Self::CapabilityChanged(_)
            | Self::CapabilityDeleted { .. } => Kind::Capability,
            Self::ScriptPinned { .. } | Self::ScriptUnpinned { .. } => Kind::Pin,
            Self::TokenCreated(_) | Self::TokenRevoked { .. } => Kind::Token,
            Self::RunnerJoined(_) | Self::RunnerRevoked { .. } => Kind::Runner,
        }
    }

    /// The script, agent, capability, token or runner it happened to.
    pub fn name(&self) -> &Name {
        match self {
            Self::CapabilityCreated(capability) | Self::CapabilityChanged(capability) => {
                &capability.document.name
            }
            Self::CapabilityDeleted { name } => name,
            Self::ScriptPinned { script, .. } | Self::ScriptUnpinned { script, .. } => script,
            Self::ScriptCreated(script) | Self::ScriptChanged(script) => &script.document.name,
            Self::AgentCreated(agent) | Self::AgentChanged(agent) => &agent.document.name,
            Self::ScriptDeleted { name } | Self::AgentDeleted { name } => name,
            Self::TokenCreated(token) => &token.name,
            Self::TokenRevoked { name } => name,
            Self::RunnerJoined(joined) => &joined.runner,
            Self::RunnerRevoked { runner } => runner,
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
    /// The older version that this one repeats, where somebody went back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u32>,
}

/// One file of a script's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    pub path: FilePath,
    /// In bytes, unpacked.
    pub size: u64,
    pub executable: bool,
    /// Of its content. Absent in what was stored before files were told apart by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// One immutable version of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentVersion {
    /// Counts from 1 per name, and goes on when a deleted name is used again.
    pub version: u32,
    pub document: AgentDocument,
    /// Absent where the coordinator owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<RunnerOwner>,
    /// The older version that this one repeats, where somebody went back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u32>,
}

/// The runner that owns an agent, and what it executes for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerOwner {
    pub runner_id: RunnerId,
    pub command: CommandLine,
    /// Of the whole definition, as the runner announced it; what a run of the agent pins.
    pub digest: Digest,
    /// In `RUNNERS`: the registration this follows from. Who has not read so far says nothing
    /// about the agent.
    pub registered_sequence: u64,
}

/// One immutable version of a capability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapabilityVersion {
    /// Counts from 1 per name, and goes on when a deleted name is used again.
    pub version: u32,
    pub document: CapabilityDocument,
    /// The older version that this one repeats, where somebody went back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u32>,
}

/// Where a script can be pinned to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Place {
    /// One runner and no other.
    Runner { runner_id: RunnerId },
    /// Every runner that offers all of these.
    Tags { tags: BTreeSet<Tag> },
}

impl Place {
    /// The lane whose runners are meant.
    pub fn lane_tags(&self) -> LaneTags {
        match self {
            Self::Runner { runner_id } => [Tag::runner(runner_id.as_str())].into_iter().collect(),
            Self::Tags { tags } => tags.iter().cloned().collect(),
        }
    }
}

/// A place that a script is pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub place: Place,
    pub pinned_at: Timestamp,
}

/// What there is: the fold of `CATALOG`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub scripts: BTreeMap<Name, Entry<ScriptVersion>>,
    pub agents: BTreeMap<Name, Entry<AgentVersion>>,
    /// The last version of names that are deleted, so that a name that comes back goes on counting.
    pub deleted_scripts: BTreeMap<Name, u32>,
    pub deleted_agents: BTreeMap<Name, u32>,
    pub capabilities: BTreeMap<Name, Entry<CapabilityVersion>>,
    pub deleted_capabilities: BTreeMap<Name, u32>,
    /// By script, oldest first. A script that is deleted leaves none.
    pub pins: BTreeMap<Name, Vec<Pin>>,
    /// Also those that have expired or are used up, until they are revoked.
    #[serde(default)]
    pub tokens: BTreeMap<Name, Issued>,
    /// Runners that have joined, by id; also those whose access was revoked.
    #[serde(default)]
    pub members: BTreeMap<Name, Member>,
}

/// A script, an agent or a capability as it stands now.
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
                self.pins.remove(name);
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
            CatalogEvent::CapabilityCreated(capability)
            | CatalogEvent::CapabilityChanged(capability) => {
                let name = &capability.document.name;
                self.deleted_capabilities.remove(name);
                put(&mut self.capabilities, name, at, capability);
            }
            CatalogEvent::CapabilityDeleted { name } => {
                if let Some(entry) = self.capabilities.remove(name) {
                    self.deleted_capabilities
                        .insert(name.clone(), entry.current.version);
                }
            }
            CatalogEvent::ScriptPinned { script, place } => self.pin(at, script, place),
            CatalogEvent::ScriptUnpinned { script, places } => self.unpin(script, places),
            CatalogEvent::TokenCreated(token) => {
                let issued = Issued {
                    token: token.clone(),
                    created_at: at,
                    used: None,
                };
                self.tokens.insert(token.name.clone(), issued);
            }
            CatalogEvent::TokenRevoked { name } => {
                self.tokens.remove(name);
            }
            CatalogEvent::RunnerJoined(joined) => self.join(at, joined),
            CatalogEvent::RunnerRevoked { runner } => {
                if let Some(member) = self.members.get_mut(runner) {
                    member.revoked_at.get_or_insert(at);
                }
            }
        }
    }

    /// A runner joins and its token is used up, or neither: that is why this is one event.
    fn join(&mut self, at: Timestamp, joined: &Joined) {
        let member = Member {
            key: joined.key.clone(),
            joined_at: at,
            token: joined.token.clone(),
            revoked_at: None,
        };
        self.members.insert(joined.runner.clone(), member);
        let token = joined.token.as_ref();
        if let Some(issued) = token.and_then(|token| self.tokens.get_mut(token)) {
            let runner = joined.runner.clone();
            issued.used.get_or_insert(Use { runner, at });
        }
    }

    fn pin(&mut self, at: Timestamp, script: &Name, place: &Place) {
        let pins = self.pins.entry(script.clone()).or_default();
        if !pins.iter().any(|pin| pin.place == *place) {
            pins.push(Pin {
                place: place.clone(),
                pinned_at: at,
            });
        }
    }

    fn unpin(&mut self, script: &Name, places: &BTreeSet<Place>) {
        let Some(pins) = self.pins.get_mut(script) else {
            return;
        };
        pins.retain(|pin| !places.contains(&pin.place));
        if pins.is_empty() {
            self.pins.remove(script);
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
