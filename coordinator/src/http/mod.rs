//! The HTTP facade: one file per resource, each parsing a request into types, calling `app`, and
//! showing what came of it. `WIRE.md` is the contract.
//!
//! It decides nothing and publishes nothing. What every request passes is in `door`, and `router` is
//! the only way to a router, so no route can be reached around it.

mod agent_view;
mod agents;
mod audit;
mod audit_export;
mod backup;
mod body;
mod capabilities;
mod chunk;
mod door;
mod download;
mod error;
mod event;
mod join;
mod lanes;
mod linger;
mod logs;
mod logs_document;
mod map;
mod moment;
mod origin;
mod page;
mod page_link;
mod params;
mod patch;
mod pins;
mod proof;
mod record;
mod replay;
mod rollout;
mod run_request;
mod run_view;
mod runners;
mod runs;
mod script_upload;
mod script_view;
mod scripts;
mod session_events;
mod sessions;
mod state;
mod status;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod told;
mod versions;

pub use origin::AllowedHosts;
pub use state::{Api, BrokerFacts, BrokerMode};

use crate::access::AdminToken;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use door::Door;
use error::ApiError;
use events::catalog::{AgentVersion, CapabilityVersion, ScriptVersion};
use std::any::Any;
use std::time::Duration;
use table::{Entry, Table};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::timeout::RequestBodyTimeoutLayer;

/// A client that sends nothing for so long in the middle of its body has gone.
const BODY_SILENCE: Duration = Duration::from_secs(30);

/// Everything we answer, behind the door.
pub fn router(api: Api, token: AdminToken, hosts: AllowedHosts) -> Router {
    let (routes, router) = table().into_parts();
    let open = routes
        .into_iter()
        .filter(|route| route.entry == Entry::Anyone);
    let open = open.map(|route| (route.method, route.path)).collect();
    behind(Door::new(token, hosts, open), router.with_state(api))
}

/// What all routes have around them; the last layer is the outermost.
fn behind(door: Door, router: Router) -> Router {
    let already_small = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/gzip"))
        .and(NotForContentType::const_new("application/zstd"));
    router
        .fallback(async || ApiError::of_status(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || ApiError::of_status(StatusCode::METHOD_NOT_ALLOWED))
        .layer(DefaultBodyLimit::max(body::BODY_MAX_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(door, door::pass))
        .layer(from_fn(linger::linger))
        .layer(CompressionLayer::new().compress_when(already_small))
}

// The layer hands the panic over.
#[allow(clippy::needless_pass_by_value)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text, "a handler panicked");
    ApiError::internal().into_response()
}

/// All there is.
fn table() -> Table<Api> {
    let table = Table::new()
        .open(Method::GET, "/", page::page)
        .open(Method::GET, "/health", page::health)
        .route(Method::GET, "/status", status::status)
        .route(Method::GET, "/backup", backup::backup)
        .route(Method::POST, "/runner/join", join::join);
    proof(runners(runs(lanes(capabilities(agents(scripts(
        versions(audit(table)),
    )))))))
}

fn proof(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/audit/verify", proof::verify)
        .route(Method::GET, "/audit/checkpoint", proof::checkpoint)
        .route(Method::GET, "/audit/replay", replay::replay)
        .route(Method::GET, "/audit/diff", replay::diff)
}

fn audit(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/audit/export", audit_export::export)
        .route(
            Method::GET,
            "/audit/timeline/{kind}/{name}",
            audit::timeline,
        )
        .route(Method::GET, "/audit/who-ran/{what}", audit::who_ran)
        .route(Method::GET, "/events", event::list)
        .route(Method::GET, "/events/{stream}/{seq}", event::show)
}

fn runners(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/runners", runners::list)
        .route(Method::GET, "/runners/{id}", runners::show)
        .route(Method::DELETE, "/runners/{id}", runners::forget)
        .route(Method::POST, "/runners/{id}/drain", runners::drain)
        .route(Method::POST, "/runners/{id}/resume", runners::resume)
}

fn scripts(table: Table<Api>) -> Table<Api> {
    let upload = || DefaultBodyLimit::max(script_upload::UPLOAD_MAX_BYTES);
    table
        .route(Method::GET, "/scripts", scripts::list)
        .wrapped(Method::POST, "/scripts", scripts::create, |route| {
            route.layer(upload())
        })
        .route(Method::GET, "/scripts/{name}", scripts::show)
        .wrapped(Method::PUT, "/scripts/{name}", scripts::put, |route| {
            route.layer(upload())
        })
        .route(Method::PATCH, "/scripts/{name}", scripts::patch)
        .route(Method::DELETE, "/scripts/{name}", scripts::delete)
        .route(Method::GET, "/scripts/{name}/download", download::download)
        .route(Method::GET, "/scripts/{name}/rollout", rollout::rollout)
        .route(Method::POST, "/scripts/sync/trigger", sync::trigger)
        .route(Method::GET, "/scripts/sync/trigger/{id}", sync::answers)
}

fn agents(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/agents", agents::list)
        .route(Method::POST, "/agents", agents::create)
        .route(Method::GET, "/agents/{name}", agents::show)
        .route(Method::PUT, "/agents/{name}", agents::put)
        .route(Method::PATCH, "/agents/{name}", agents::patch)
        .route(Method::DELETE, "/agents/{name}", agents::delete)
        .route(Method::PATCH, "/agents/{name}/status", agents::set_status)
}

fn capabilities(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/capabilities", capabilities::list)
        .route(Method::POST, "/capabilities", capabilities::create)
        .route(Method::GET, "/capabilities/{name}", capabilities::show)
        .route(Method::PUT, "/capabilities/{name}", capabilities::put)
        .route(Method::PATCH, "/capabilities/{name}", capabilities::patch)
        .route(Method::DELETE, "/capabilities/{name}", capabilities::delete)
}

fn versions(table: Table<Api>) -> Table<Api> {
    let (get, post) = (|| Method::GET, || Method::POST);
    table
        .route(
            get(),
            "/scripts/{name}/versions",
            versions::list::<ScriptVersion>,
        )
        .route(
            get(),
            "/scripts/{name}/versions/{version}",
            versions::script,
        )
        .route(
            post(),
            "/scripts/{name}/rollback",
            versions::rollback::<ScriptVersion>,
        )
        .route(
            get(),
            "/agents/{name}/versions",
            versions::list::<AgentVersion>,
        )
        .route(get(), "/agents/{name}/versions/{version}", versions::agent)
        .route(
            post(),
            "/agents/{name}/rollback",
            versions::rollback::<AgentVersion>,
        )
        .route(
            get(),
            "/capabilities/{name}/versions",
            versions::list::<CapabilityVersion>,
        )
        .route(
            get(),
            "/capabilities/{name}/versions/{version}",
            versions::capability,
        )
        .route(
            post(),
            "/capabilities/{name}/rollback",
            versions::rollback::<CapabilityVersion>,
        )
}

fn lanes(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/lanes", lanes::list)
        .route(Method::GET, "/lanes/{id}", lanes::show)
        .route(Method::GET, "/pins", pins::list)
        .route(Method::GET, "/scripts/{name}/pins", pins::of_script)
        .route(Method::POST, "/scripts/{name}/pins", pins::pin)
        .route(Method::DELETE, "/scripts/{name}/pins", pins::unpin)
}

fn runs(table: Table<Api>) -> Table<Api> {
    table
        .route(Method::GET, "/runs", runs::list)
        .route(Method::POST, "/runs", runs::request)
        .route(Method::GET, "/runs/{id}", runs::show)
        .route(Method::POST, "/runs/{id}/stop", runs::stop)
        .route(Method::GET, "/runs/{id}/explain", runs::explain)
        .route(Method::POST, "/runs/{id}/retry", runs::retry)
        .route(Method::GET, "/runs/{id}/logs", logs::logs)
        .route(Method::GET, "/sessions/{id}/status", sessions::status)
        .route(Method::GET, "/sessions/{id}/result", sessions::result)
        .route(Method::GET, "/sessions/{id}/events", session_events::list)
        .route(Method::POST, "/sessions/{id}/stop", sessions::stop)
}
