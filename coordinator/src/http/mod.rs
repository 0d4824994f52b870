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
mod broker;
mod capabilities;
mod chunk;
mod condition;
mod cors;
mod doctor;
mod door;
mod download;
mod error;
mod event;
mod identity;
mod join;
mod lanes;
mod linger;
mod logs;
mod logs_document;
mod long_poll;
mod map;
mod metrics;
mod moment;
mod needs;
mod openapi;
mod origin;
mod outward;
mod page;
mod page_cache;
mod page_link;
mod params;
mod patch;
mod pins;
mod proof;
mod ready;
mod record;
mod replay;
mod rollout;
mod routes;
mod run_request;
mod run_story;
mod run_view;
mod runners;
mod runs;
mod script_upload;
mod script_view;
mod scripts;
mod session_events;
mod session_reports;
mod session_stream;
mod session_view;
mod sessions;
mod state;
mod status;
mod sync;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod tokens;
mod told;
mod versions;

pub use door::Peer;
pub use identity::Tokens;
pub use origin::Surroundings;
pub use state::{Api, BrokerFacts, BrokerMode};

use crate::access::AdminToken;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use door::Door;
use error::ApiError;
use identity::Known;
use openapi::Description;
use std::any::Any;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::timeout::RequestBodyTimeoutLayer;

/// A client that sends nothing for so long in the middle of its body has gone.
const BODY_SILENCE: Duration = Duration::from_secs(30);

/// Everything we answer, behind the door.
pub fn router(api: Api, admin: AdminToken, tokens: Tokens, surroundings: Surroundings) -> Router {
    let (routes, router) = routes::table().into_parts();
    let known = Known {
        app: api.app.clone(),
        admin,
        tokens,
        last_uses: api.last_uses.clone(),
    };
    let description = Description::new(routes.clone());
    let door = Door::new(known, surroundings, routes);
    behind(door, router.with_state(api).layer(Extension(description)))
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
