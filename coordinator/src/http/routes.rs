//! All routes there are, each with what it takes to pass.
//!
//! What a route does stands in the file of its resource.

use super::state::Api;
use super::table::{Needs, Table};
use super::{
    agents, audit, audit_export, backup, broker, capabilities, doctor, download, event, join,
    lanes, logs, page, pins, proof, ready, replay, rollout, runners, runs, script_upload, scripts,
    session_events, sessions, status, sync, tokens, versions,
};
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use events::Role;
use events::catalog::{AgentVersion, CapabilityVersion, ScriptVersion};

/// What an AI agent's tools read, and what they start and stop.
const VIEW_RUNS: Needs = Needs::VIEWER.or(Role::Mcp);
const START_RUNS: Needs = Needs::OPERATOR.or(Role::Mcp);
/// A runner's own token lets it join, and nothing else.
const JOIN: Needs = Needs::ADMIN.or(Role::Runner);

/// All there is.
pub fn table() -> Table<Api> {
    let table = Table::new()
        .route(Needs::NOTHING, Method::GET, "/", page::page)
        .route(Needs::NOTHING, Method::GET, "/health", page::health)
        .route(Needs::NOTHING, Method::GET, "/healthz", ready::alive)
        .route(Needs::NOTHING, Method::GET, "/readyz", ready::ready)
        .route(Needs::VIEWER, Method::GET, "/status", status::status)
        .route(Needs::ADMIN, Method::GET, "/backup", backup::backup)
        .route(Needs::VIEWER, Method::GET, "/doctor", doctor::doctor)
        .route(JOIN, Method::POST, "/runner/join", join::join)
        .route(
            Needs::ADMIN,
            Method::GET,
            "/broker/accounts",
            broker::accounts,
        );
    tokens(proof(runners(runs(lanes(capabilities(agents(scripts(
        versions(audit(table)),
    ))))))))
}

fn proof(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER.streaming(),
            Method::GET,
            "/audit/verify",
            proof::verify,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/checkpoint",
            proof::checkpoint,
        )
        .route(Needs::VIEWER, Method::GET, "/audit/replay", replay::replay)
        .route(Needs::VIEWER, Method::GET, "/audit/diff", replay::diff)
}

fn audit(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/export",
            audit_export::export,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/timeline/{kind}/{name}",
            audit::timeline,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/who-ran/{what}",
            audit::who_ran,
        )
        .route(
            Needs::VIEWER.streaming(),
            Method::GET,
            "/events",
            event::list,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/events/{stream}/{seq}",
            event::show,
        )
}

fn tokens(table: Table<Api>) -> Table<Api> {
    table
        .route(Needs::ADMIN, Method::GET, "/tokens", tokens::list)
        .route(Needs::ADMIN, Method::POST, "/tokens", tokens::create)
        .route(
            Needs::ADMIN,
            Method::DELETE,
            "/tokens/{name}",
            tokens::revoke,
        )
}

fn runners(table: Table<Api>) -> Table<Api> {
    table
        .route(Needs::VIEWER, Method::GET, "/runners", runners::list)
        .route(Needs::VIEWER, Method::GET, "/runners/{id}", runners::show)
        .route(
            Needs::OPERATOR,
            Method::DELETE,
            "/runners/{id}",
            runners::forget,
        )
        .route(
            Needs::OPERATOR,
            Method::POST,
            "/runners/{id}/drain",
            runners::drain,
        )
        .route(
            Needs::OPERATOR,
            Method::POST,
            "/runners/{id}/resume",
            runners::resume,
        )
        .route(
            Needs::ADMIN,
            Method::POST,
            "/runners/{id}/revoke",
            runners::revoke,
        )
}

fn scripts(table: Table<Api>) -> Table<Api> {
    let upload = || DefaultBodyLimit::max(script_upload::UPLOAD_MAX_BYTES);
    table
        .route(Needs::VIEWER, Method::GET, "/scripts", scripts::list)
        .wrapped(
            Needs::AUTHOR,
            Method::POST,
            "/scripts",
            scripts::create,
            |route| route.layer(upload()),
        )
        .route(Needs::VIEWER, Method::GET, "/scripts/{name}", scripts::show)
        .wrapped(
            Needs::AUTHOR,
            Method::PUT,
            "/scripts/{name}",
            scripts::put,
            |route| route.layer(upload()),
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/scripts/{name}",
            scripts::patch,
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/scripts/{name}",
            scripts::delete,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/{name}/download",
            download::download,
        )
        .route(
            Needs::VIEWER.streaming(),
            Method::GET,
            "/scripts/{name}/rollout",
            rollout::rollout,
        )
        .route(
            Needs::OPERATOR,
            Method::POST,
            "/scripts/sync/trigger",
            sync::trigger,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/sync/trigger/{id}",
            sync::answers,
        )
}

fn agents(table: Table<Api>) -> Table<Api> {
    table
        .route(VIEW_RUNS, Method::GET, "/agents", agents::list)
        .route(Needs::AUTHOR, Method::POST, "/agents", agents::create)
        .route(VIEW_RUNS, Method::GET, "/agents/{name}", agents::show)
        .route(Needs::AUTHOR, Method::PUT, "/agents/{name}", agents::put)
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/agents/{name}",
            agents::patch,
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/agents/{name}",
            agents::delete,
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/agents/{name}/status",
            agents::set_status,
        )
}

fn capabilities(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/capabilities",
            capabilities::list,
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/capabilities",
            capabilities::create,
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/capabilities/{name}",
            capabilities::show,
        )
        .route(
            Needs::AUTHOR,
            Method::PUT,
            "/capabilities/{name}",
            capabilities::put,
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/capabilities/{name}",
            capabilities::patch,
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/capabilities/{name}",
            capabilities::delete,
        )
}

fn versions(table: Table<Api>) -> Table<Api> {
    let (get, post) = (|| Method::GET, || Method::POST);
    table
        .route(
            Needs::VIEWER,
            get(),
            "/scripts/{name}/versions",
            versions::list::<ScriptVersion>,
        )
        .route(
            Needs::VIEWER,
            get(),
            "/scripts/{name}/versions/{version}",
            versions::script,
        )
        .route(
            Needs::AUTHOR,
            post(),
            "/scripts/{name}/rollback",
            versions::rollback::<ScriptVersion>,
        )
        .route(
            Needs::VIEWER,
            get(),
            "/agents/{name}/versions",
            versions::list::<AgentVersion>,
        )
        .route(
            Needs::VIEWER,
            get(),
            "/agents/{name}/versions/{version}",
            versions::agent,
        )
        .route(
            Needs::AUTHOR,
            post(),
            "/agents/{name}/rollback",
            versions::rollback::<AgentVersion>,
        )
        .route(
            Needs::VIEWER,
            get(),
            "/capabilities/{name}/versions",
            versions::list::<CapabilityVersion>,
        )
        .route(
            Needs::VIEWER,
            get(),
            "/capabilities/{name}/versions/{version}",
            versions::capability,
        )
        .route(
            Needs::AUTHOR,
            post(),
            "/capabilities/{name}/rollback",
            versions::rollback::<CapabilityVersion>,
        )
}

fn lanes(table: Table<Api>) -> Table<Api> {
    table
        .route(Needs::VIEWER, Method::GET, "/lanes", lanes::list)
        .route(Needs::VIEWER, Method::GET, "/lanes/{id}", lanes::show)
        .route(Needs::VIEWER, Method::GET, "/pins", pins::list)
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/{name}/pins",
            pins::of_script,
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/scripts/{name}/pins",
            pins::pin,
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/scripts/{name}/pins",
            pins::unpin,
        )
}

fn runs(table: Table<Api>) -> Table<Api> {
    table
        .route(VIEW_RUNS, Method::GET, "/runs", runs::list)
        .route(START_RUNS, Method::POST, "/runs", runs::request)
        .route(VIEW_RUNS, Method::GET, "/runs/{id}", runs::show)
        .route(START_RUNS, Method::POST, "/runs/{id}/stop", runs::stop)
        .route(VIEW_RUNS, Method::GET, "/runs/{id}/explain", runs::explain)
        .route(START_RUNS, Method::POST, "/runs/{id}/retry", runs::retry)
        .route(
            VIEW_RUNS.streaming(),
            Method::GET,
            "/runs/{id}/logs",
            logs::logs,
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}/status",
            sessions::status,
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}/result",
            sessions::result,
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}/events",
            session_events::list,
        )
        .route(
            START_RUNS,
            Method::POST,
            "/sessions/{id}/stop",
            sessions::stop,
        )
}
