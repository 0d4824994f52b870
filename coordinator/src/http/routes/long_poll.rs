//! What runners say that reach us and not the broker, and their executors of sessions.

use super::RUNNER;
use crate::http::openapi::Doc;
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::{long_poll as handlers, session_reports};
use axum::extract::DefaultBodyLimit;
use axum::http::Method;

const NOT_ITS_RUN: &[&str] = &["not_the_holder", "run_has_ended"];

pub fn runner(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            RUNNER,
            Method::POST,
            "/runner/register",
            handlers::register,
            Doc::of("registerRunner", "A runner that long-polls says who it is")
                .about("The id is the same for the same host, directory, profile and command; one that comes back is welcome.")
                .refuses(400, &["invalid_runner", "invalid_tag"])
                .refuses(401, &["token_used", "token_expired"])
                .refuses(409, &["duplicate_runner", "agent_name_collision"]),
        )
        .route(
            RUNNER,
            Method::GET,
            "/runner/runs",
            handlers::poll,
            Doc::of("pollRuns", "What there is to do for a runner")
                .about("Waits up to 30 s, and then answers 204. One answer per poll, the first that applies: `deregistered`, `stop_sessions`, `sync_scripts` with `remove_scripts`, `run`.")
                .answers::<handlers::PollView>(200)
                .with(&[204]),
        )
        .route(
            RUNNER,
            Method::POST,
            "/runner/heartbeat",
            handlers::heartbeat,
            Doc::of("beatRunner", "A sign of life; every other request is one, too"),
        );
    reports(table)
}

fn reports(table: Table<Api>) -> Table<Api> {
    table
        .route(
            RUNNER,
            Method::POST,
            "/runner/runs/{id}/started",
            handlers::started,
            Doc::of("reportStarted", "The script of a run has begun").refuses(409, NOT_ITS_RUN),
        )
        .route(
            RUNNER,
            Method::POST,
            "/runner/runs/{id}/completed",
            handlers::completed,
            Doc::of("reportCompleted", "A run has ended well").refuses(409, NOT_ITS_RUN),
        )
        .route(
            RUNNER,
            Method::POST,
            "/runner/runs/{id}/failed",
            handlers::failed,
            Doc::of("reportFailed", "A run has failed").refuses(409, NOT_ITS_RUN),
        )
        .route(
            RUNNER,
            Method::POST,
            "/runner/runs/{id}/stopped",
            handlers::stopped,
            Doc::of("reportStopped", "A run was ended").refuses(409, NOT_ITS_RUN),
        )
}

pub fn sessions(table: Table<Api>) -> Table<Api> {
    table
        .route(
            RUNNER,
            Method::POST,
            "/sessions/{id}/bind",
            session_reports::bind,
            Doc::of("bindSession", "An executor has begun a session of its own")
                .refuses(400, &["invalid_session"])
                .refuses(404, &["session_not_found"])
                .refuses(409, &["session_not_at_work"]),
        )
        .wrapped(
            RUNNER,
            Method::POST,
            "/sessions/{id}/events",
            session_reports::event,
            Doc::of("addSessionEvent", "What an executor says of a session")
                .about("The `result` is kept, also a large one; whatever else is said is answered and passed over.")
                .with(&[201])
                .refuses(404, &["session_not_found"])
                .refuses(409, &["session_not_at_work"])
                .refuses(413, &["body_too_large"]),
            |route| {
                route.layer(DefaultBodyLimit::max(
                    session_reports::RESULT_BODY_MAX_BYTES,
                ))
            },
        )
}
