//! An agent as clients see it. Fields that say nothing are left out, except the lists.

use super::script_view::DemandsView;
use crate::app::Agent;
use events::catalog::{AgentVersion, Entry};
use events::{RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::{AgentDocument, AgentKind, AgentStatus, Hooks, Name, Tag, Timeout};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize, JsonSchema)]
pub struct AgentView {
    name: Name,
    description: String,
    r#type: AgentKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcp_servers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skills: Option<Value>,
    tags: Vec<Tag>,
    capabilities: Vec<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    demands: Option<DemandsView>,
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    hooks: Hooks,
    status: AgentStatus,
    created_at: Timestamp,
    modified_at: Timestamp,
    /// Of an agent that a runner owns: what it executes there, as one would type it.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner_id: Option<RunnerId>,
    // Ours.
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<Timeout>,
}

impl AgentView {
    pub fn version(&self) -> u32 {
        self.version
    }

    /// As it was written.
    pub fn raw(agent: Agent) -> Self {
        let document = agent.entry.current.document.clone();
        Self::of(document, agent.entry)
    }

    /// With what it has from its script and its capabilities.
    pub fn resolved(agent: Agent) -> Self {
        Self::of(agent.resolved, agent.entry)
    }

    fn of(document: AgentDocument, entry: Entry<AgentVersion>) -> Self {
        let Entry {
            current,
            created_at,
            modified_at,
        } = entry;
        let owner = current.owner.as_ref();
        Self {
            command: owner.map(|owner| owner.command.to_string()),
            runner_id: owner.map(|owner| owner.runner_id.clone()),
            name: document.name,
            description: document.description,
            r#type: document.kind,
            script: document.script,
            parameters_schema: document.parameters_schema,
            output_schema: document.output_schema,
            system_prompt: document.system_prompt,
            mcp_servers: document.mcp_servers,
            skills: document.skills,
            tags: document.tags,
            capabilities: document.capabilities,
            demands: DemandsView::of(document.demands),
            hooks: document.hooks,
            status: document.status,
            created_at,
            modified_at,
            version: current.version,
            timeout_seconds: document.timeout_seconds,
        }
    }
}
