//! An agent as clients see it. Fields that say nothing are left out, except the lists.

use super::script_view::DemandsView;
use crate::app::Agent;
use events::Timestamp;
use events::catalog::{AgentVersion, Entry};
use schemas::{AgentDocument, AgentKind, AgentStatus, Hooks, Name, Tag, Timeout};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
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
    // Ours.
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<Timeout>,
}

impl AgentView {
    /// As it was written.
    pub fn raw(agent: Agent) -> Self {
        let Entry {
            current,
            created_at,
            modified_at,
        } = agent.entry;
        let AgentVersion { version, document } = current;
        Self::of(document, version, created_at, modified_at)
    }

    /// With what it has from its script and its capabilities.
    pub fn resolved(agent: Agent) -> Self {
        let Entry {
            current,
            created_at,
            modified_at,
        } = agent.entry;
        Self::of(agent.resolved, current.version, created_at, modified_at)
    }

    fn of(
        document: AgentDocument,
        version: u32,
        created_at: Timestamp,
        modified_at: Timestamp,
    ) -> Self {
        Self {
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
            version,
            timeout_seconds: document.timeout_seconds,
        }
    }
}
