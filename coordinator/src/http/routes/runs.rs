//! Runs and their sessions.

use super::{START_RUNS, VIEW_RUNS};
use crate::http::logs_document::LogsView;
use crate::http::openapi::Doc;
use crate::http::run_view::RunView;
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::{
    logs, runs as handlers, session_events, session_stream, sessions as session_handlers,
};
use axum::http::Method;

const NO_SESSION: &[&str] = &["session_not_found"];
const IDEMPOTENCY_KEY: (&str, &str) = (
    "Idempotency-Key",
    "The same key with the same body is the same run, however often it is sent: 1 to 255 printable ASCII characters",
);

pub fn runs(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            VIEW_RUNS,
            Method::GET,
            "/runs",
            handlers::list,
            Doc::of("listRuns", "Runs, newest first, in pages")
                .gives("Link", "Where there is more: the next page, `rel=\"next\"`"),
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/runs/{id}",
            handlers::show,
            Doc::of("showRun", "A run")
                .about("With `wait`, the answer comes when the run has ended, or time is up. Of a run whose steps retention took, what HISTORY keeps is shown, with `steps_gone`.")
                .answers::<RunView>(200),
        );
    stories(requests(table))
}

fn requests(table: Table<Api>) -> Table<Api> {
    let (name, about) = IDEMPOTENCY_KEY;
    table
        .route(
            START_RUNS,
            Method::POST,
            "/runs",
            handlers::request,
            Doc::of("requestRun", "Ask for a run")
                .header::<String>(name, about)
                .with(&[201])
                .refuses(
                    400,
                    &[
                        "parameter_validation_failed",
                        "parameters_unchecked",
                        "parameters_too_large",
                        "invalid_arguments",
                        "procedural_agent_no_resume",
                        "nobody_to_call_back",
                        "conflicting_demands",
                        "invalid_tag",
                        "invalid_idempotency_key",
                    ],
                )
                .refuses(404, &["agent_not_found", "session_not_found"])
                .refuses(
                    409,
                    &[
                        "agent_inactive",
                        "session_taken",
                        "idempotency_key_reused",
                        "no_runner",
                        "bundle_gone",
                    ],
                ),
        )
        .route(
            START_RUNS,
            Method::POST,
            "/runs/{id}/retry",
            handlers::retry,
            Doc::of("retryRun", "Repeat a run that has ended")
                .about("Exactly as it was, or with `current` as agent and script are now.")
                .header::<String>(name, about)
                .with(&[201])
                .refuses(
                    400,
                    &[
                        "parameter_validation_failed",
                        "parameters_unchecked",
                        "invalid_arguments",
                        "procedural_agent_no_resume",
                        "conflicting_demands",
                        "invalid_idempotency_key",
                    ],
                )
                .refuses(404, &["agent_not_found"])
                .refuses(
                    409,
                    &[
                        "run_not_ended",
                        "agent_inactive",
                        "bundle_gone",
                        "idempotency_key_reused",
                        "no_runner",
                        "session_taken",
                    ],
                ),
        )
        .route(
            START_RUNS,
            Method::POST,
            "/runs/{id}/stop",
            handlers::stop,
            Doc::of("stopRun", "Stop a run").about("Answers 200 also where it had ended."),
        )
}

fn stories(table: Table<Api>) -> Table<Api> {
    table
        .route(
            VIEW_RUNS,
            Method::GET,
            "/runs/{id}/explain",
            handlers::explain,
            Doc::of("explainRun", "Why a run is where it is, the true cause first"),
        )
        .route(
            VIEW_RUNS.streaming(),
            Method::GET,
            "/runs/{id}/logs",
            logs::logs,
            Doc::of("readLogs", "What a run's script wrote")
                .about("As events: `output` with a chunk, and `end` when the run has ended; Last-Event-ID goes on after a chunk.")
                .answers::<LogsView>(200)
                .streams()
                .refuses(400, &["invalid_last_event_id"]),
        )
}

pub fn sessions(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions",
            session_handlers::list,
            Doc::of("listSessions", "Sessions, newest first, in pages")
                .about("200 where `limit` is not given, at most 1000."),
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}",
            session_handlers::show,
            Doc::of("showSession", "A session").refuses(404, NO_SESSION),
        )
        .route(
            START_RUNS,
            Method::DELETE,
            "/sessions/{id}",
            session_handlers::delete,
            Doc::of("deleteSession", "Show a session no more")
                .about("The log keeps it, and its runs are shown as before.")
                .refuses(404, NO_SESSION)
                .refuses(409, &["session_at_work"]),
        )
        .route(
            VIEW_RUNS.streaming(),
            Method::GET,
            "/sse/sessions",
            session_stream::follow,
            Doc::of("followSessions", "Sessions as they change")
                .about("`init`, then `session_created`, `session_updated`, `session_deleted`, `event` and `run_failed`; Last-Event-ID goes on after what was seen.")
                .streams()
                .refuses(400, &["invalid_position"])
                .refuses(409, &["position_of_other_stream", "position_ahead"]),
        );
    one_session(table)
}

fn one_session(table: Table<Api>) -> Table<Api> {
    table
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}/status",
            session_handlers::status,
            Doc::of("showSessionStatus", "Where a session is")
                .about("`not_existent` where there is no such session."),
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}/result",
            session_handlers::result,
            Doc::of("showSessionResult", "A session's result")
                .refuses(400, &["session_not_finished"])
                .refuses(404, NO_SESSION),
        )
        .route(
            VIEW_RUNS,
            Method::GET,
            "/sessions/{id}/events",
            session_events::list,
            Doc::of(
                "listSessionEvents",
                "The life of a session, its hooks included",
            )
            .refuses(404, NO_SESSION),
        )
        .route(
            START_RUNS,
            Method::POST,
            "/sessions/{id}/stop",
            session_handlers::stop,
            Doc::of("stopSession", "Stop a session's run")
                .about("Answers 200 also where it had ended.")
                .refuses(404, NO_SESSION),
        )
}
