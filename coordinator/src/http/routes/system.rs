//! The coordinator itself: what it is, whether it is well, what describes it.

use super::Needs;
use crate::http::openapi::{self, Doc};
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::{backup, broker, doctor, metrics, page, ready, status};
use axum::http::Method;

const HTML: &str = "text/html; charset=utf-8";

pub fn routes(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            Needs::NOTHING,
            Method::GET,
            "/",
            page::page,
            Doc::of("showPage", "A page that says what this is").sends(HTML),
        )
        .route(
            Needs::NOTHING,
            Method::GET,
            "/docs",
            openapi::docs,
            Doc::of("showDocs", "This description as a page").sends(HTML),
        )
        .route(
            Needs::NOTHING,
            Method::GET,
            "/openapi.json",
            openapi::json,
            Doc::of("showOpenapi", "This description").answers::<serde_json::Value>(200),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/status",
            status::status,
            Doc::of("showStatus", "How the coordinator is doing")
                .about("Answers also while the broker is away."),
        );
    operations(health(table))
}

fn health(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::NOTHING,
            Method::GET,
            "/health",
            page::health,
            Doc::of("showHealth", "That we answer, as existing clients ask it"),
        )
        .route(
            Needs::NOTHING,
            Method::GET,
            "/healthz",
            ready::alive,
            Doc::of("isAlive", "That we answer"),
        )
        .route(
            Needs::NOTHING,
            Method::GET,
            "/readyz",
            ready::ready,
            Doc::of("isReady", "That an answer is of use")
                .about("The broker answers, and what it holds has been read; 503 until then."),
        )
}

fn operations(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/doctor",
            doctor::doctor,
            Doc::of("diagnose", "What was looked at, how it stands, and what to do"),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/metrics",
            metrics::metrics,
            Doc::of("showMetrics", "How things are, as OpenMetrics text").sends(metrics::OPENMETRICS),
        )
        .route(
            Needs::ADMIN,
            Method::GET,
            "/backup",
            backup::backup,
            Doc::of("backUp", "The whole system as one file")
                .about("Taken while everything is in use. X-Backup-Stream-Bytes says about how large it gets; one that breaks off lacks its seal.")
                .sends("application/zstd"),
        )
        .route(
            Needs::ADMIN,
            Method::GET,
            "/broker/accounts",
            broker::accounts,
            Doc::of("showBrokerAccounts", "The accounts and users that a broker of your own needs")
                .sends("text/plain; charset=utf-8"),
        )
}
