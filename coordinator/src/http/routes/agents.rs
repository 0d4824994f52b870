//! Agents and capabilities.

use super::{Needs, VIEW_RUNS};
use crate::http::agent_view::AgentView;
use crate::http::agents as handlers;
use crate::http::capabilities::{self, CapabilitySummary, CapabilityView};
use crate::http::openapi::Doc;
use crate::http::state::Api;
use crate::http::table::Table;
use axum::http::Method;
use schemas::{AgentDocument, CapabilityDocument};

const NO_AGENT: &[&str] = &["agent_not_found"];
const NO_CAPABILITY: &[&str] = &["capability_not_found"];
const AGENT_REFUSED: &[&str] = &[
    "invalid_name",
    "invalid_agent",
    "invalid_schema",
    "invalid_tag",
    "broken_reference",
    "own_hook",
    "hook_of_runner",
    "two_mcp_servers",
    "conflicting_demands",
];
const CAPABILITY_REFUSED: &[&str] = &[
    "invalid_name",
    "invalid_capability",
    "broken_reference",
    "two_mcp_servers",
    "conflicting_demands",
];

pub fn agents(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            VIEW_RUNS,
            Method::GET,
            "/agents",
            handlers::list,
            Doc::of(
                "listAgents",
                "All agents, resolved: the coordinator's own first, then by name",
            )
            .answers::<Vec<AgentView>>(200)
            .refuses(400, &["invalid_tag"]),
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/agents/{name}",
            handlers::show,
            Doc::of(
                "showAgent",
                "An agent, with what it has from its script and capabilities",
            )
            .answers::<AgentView>(200)
            .tagged()
            .refuses(404, NO_AGENT),
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/agents",
            handlers::create,
            Doc::of("createAgent", "Store a new agent")
                .takes::<AgentDocument>()
                .with(&[201])
                .refuses(400, AGENT_REFUSED)
                .refuses(409, &["already_exists", "agent_name_collision"]),
        );
    agent_changes(table)
}

fn agent_changes(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::AUTHOR,
            Method::PUT,
            "/agents/{name}",
            handlers::put,
            Doc::of("putAgent", "Store an agent, whether it is new or not")
                .takes_named::<AgentDocument>()
                .with(&[200, 201])
                .refuses(400, AGENT_REFUSED)
                .refuses(400, &["name_differs"])
                .refuses(409, &["owned_by_runner"]),
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/agents/{name}",
            handlers::patch,
            Doc::of("patchAgent", "Change some fields of an agent")
                .about("What is absent or null stays. An empty string, {} or [] clears a field.")
                .patches::<AgentDocument>()
                .refuses(400, AGENT_REFUSED)
                .refuses(404, NO_AGENT)
                .refuses(409, &["owned_by_runner"]),
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/agents/{name}",
            handlers::delete,
            Doc::of("deleteAgent", "Delete an agent")
                .with(&[204])
                .refuses(404, NO_AGENT)
                .refuses(409, &["owned_by_runner", "referenced_by_agents"]),
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/agents/{name}/status",
            handlers::set_status,
            Doc::of("setAgentStatus", "Let an agent run, or not")
                .refuses(404, NO_AGENT)
                .refuses(409, &["owned_by_runner"]),
        )
}

pub fn capabilities(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/capabilities",
            capabilities::list,
            Doc::of("listCapabilities", "All capabilities, by name")
                .answers::<Vec<CapabilitySummary>>(200),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/capabilities/{name}",
            capabilities::show,
            Doc::of("showCapability", "A capability")
                .answers::<CapabilityView>(200)
                .tagged()
                .refuses(404, NO_CAPABILITY),
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/capabilities",
            capabilities::create,
            Doc::of("createCapability", "Store a new capability")
                .takes::<CapabilityDocument>()
                .with(&[201])
                .refuses(400, CAPABILITY_REFUSED)
                .refuses(409, &["already_exists"]),
        );
    capability_changes(table)
}

fn capability_changes(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::AUTHOR,
            Method::PUT,
            "/capabilities/{name}",
            capabilities::put,
            Doc::of(
                "putCapability",
                "Store a capability, whether it is new or not",
            )
            .takes_named::<CapabilityDocument>()
            .with(&[200, 201])
            .refuses(400, CAPABILITY_REFUSED)
            .refuses(400, &["name_differs"]),
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/capabilities/{name}",
            capabilities::patch,
            Doc::of("patchCapability", "Change some fields of a capability")
                .about("What is absent or null stays. An empty string or {} clears a field.")
                .patches::<CapabilityDocument>()
                .refuses(400, CAPABILITY_REFUSED)
                .refuses(404, NO_CAPABILITY),
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/capabilities/{name}",
            capabilities::delete,
            Doc::of("deleteCapability", "Delete a capability")
                .with(&[204])
                .refuses(404, NO_CAPABILITY)
                .refuses(409, &["referenced_by_agents"]),
        )
}
