//! What scripts, agents and capabilities were, and going back.

use super::Needs;
use crate::http::openapi::Doc;
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::versions as handlers;
use axum::http::Method;
use events::catalog::{AgentVersion, CapabilityVersion, ScriptVersion};
use schemas::Name;

pub fn routes(table: Table<Api>) -> Table<Api> {
    rollbacks(single(lists(table)))
}

fn lists(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/{name}/versions",
            handlers::list::<ScriptVersion>,
            Doc::of("listScriptVersions", "A script's versions, newest first")
                .refuses(404, &["script_not_found"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/agents/{name}/versions",
            handlers::list::<AgentVersion>,
            Doc::of("listAgentVersions", "An agent's versions, newest first")
                .refuses(404, &["agent_not_found"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/capabilities/{name}/versions",
            handlers::list::<CapabilityVersion>,
            Doc::of(
                "listCapabilityVersions",
                "A capability's versions, newest first",
            )
            .refuses(404, &["capability_not_found"]),
        )
}

fn single(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/{name}/versions/{version}",
            handlers::script,
            numbered(Doc::of(
                "showScriptVersion",
                "A script as it was in a version",
            ))
            .refuses(404, &["script_not_found", "version_not_found"])
            .refuses(409, &["bundle_gone"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/agents/{name}/versions/{version}",
            handlers::agent,
            numbered(Doc::of(
                "showAgentVersion",
                "An agent as it was in a version",
            ))
            .refuses(404, &["agent_not_found", "version_not_found"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/capabilities/{name}/versions/{version}",
            handlers::capability,
            numbered(Doc::of(
                "showCapabilityVersion",
                "A capability as it was in a version",
            ))
            .refuses(404, &["capability_not_found", "version_not_found"]),
        )
}

fn rollbacks(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/scripts/{name}/rollback",
            handlers::rollback::<ScriptVersion>,
            back(Doc::of(
                "rollBackScript",
                "Make an older version of a script the current one",
            ))
            .refuses(404, &["script_not_found", "version_not_found"])
            .refuses(409, &["script_deleted", "bundle_gone"]),
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/agents/{name}/rollback",
            handlers::rollback::<AgentVersion>,
            back(Doc::of(
                "rollBackAgent",
                "Make an older version of an agent the current one",
            ))
            .refuses(404, &["agent_not_found", "version_not_found"])
            .refuses(
                409,
                &["agent_deleted", "owned_by_runner", "agent_name_collision"],
            ),
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/capabilities/{name}/rollback",
            handlers::rollback::<CapabilityVersion>,
            back(Doc::of(
                "rollBackCapability",
                "Make an older version of a capability the current one",
            ))
            .refuses(404, &["capability_not_found", "version_not_found"])
            .refuses(409, &["capability_deleted"]),
        )
}

fn numbered(doc: Doc) -> Doc {
    doc.segment::<Name>("name", "The name")
        .segment::<u32>("version", "The version's number, from 1 on")
        .refuses(400, &["invalid_name", "invalid_version"])
}

/// What the older version refers to may be gone, or not fit any more.
fn back(doc: Doc) -> Doc {
    doc.about("It becomes a new version, with the old one's content.")
        .refuses(
            400,
            &[
                "broken_reference",
                "conflicting_demands",
                "two_mcp_servers",
                "own_hook",
            ],
        )
}
