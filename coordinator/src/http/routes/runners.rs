//! Runners, and tokens.

use super::{JOIN, Needs};
use crate::http::openapi::Doc;
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::{join, runners as handlers, tokens as token_handlers};
use axum::http::Method;
use events::Role;

pub fn runners(table: Table<Api>) -> Table<Api> {
    let table = table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/runners",
            handlers::list,
            Doc::of("listRunners", "The runners that have not left, by id")
                .refuses(400, &["invalid_tag"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/runners/{id}",
            handlers::show,
            Doc::of(
                "showRunner",
                "A runner, and every script it holds or should hold",
            ),
        );
    access(orders(table))
}

fn orders(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::OPERATOR,
            Method::POST,
            "/runners/{id}/drain",
            handlers::drain,
            Doc::of("drainRunner", "Give a runner no new runs")
                .about("It holds until it is taken back. With `wait`, the answer comes when the runner has no run left.")
                .refuses(400, &["invalid_reason"]),
        )
        .route(
            Needs::OPERATOR,
            Method::POST,
            "/runners/{id}/resume",
            handlers::resume,
            Doc::of("resumeRunner", "Give a drained runner new runs again"),
        )
        .route(
            Needs::OPERATOR.or(Role::Runner),
            Method::DELETE,
            "/runners/{id}",
            handlers::forget,
            Doc::of("forgetRunner", "Take a runner that is gone for good out of the lists")
                .about("One that long-polls is told with its next poll; with `self=true` it says itself that it leaves, and its own token is enough.")
                .refuses(403, &["self_only"])
                .refuses(409, &["runner_online"]),
        )
}

fn access(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::ADMIN,
            Method::POST,
            "/runners/{id}/revoke",
            handlers::revoke,
            Doc::of("revokeRunner", "Cut a runner off").refuses(404, &["runner_not_found"]),
        )
        .route(
            JOIN,
            Method::POST,
            "/runner/join",
            join::join,
            Doc::of(
                "joinRunner",
                "A runner says who it is, and is told where the broker is",
            )
            .refuses(400, &["invalid_runner", "invalid_key", "runner_too_old"])
            .refuses(401, &["token_used", "token_expired", "runner_not_joined"])
            .refuses(403, &["runner_revoked", "key_revoked"])
            .refuses(
                409,
                &["runner_id_taken", "runner_already_joined", "key_taken"],
            ),
        )
}

pub fn tokens(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::ADMIN,
            Method::GET,
            "/tokens",
            token_handlers::list,
            Doc::of("listTokens", "All tokens, without their text"),
        )
        .route(
            Needs::ADMIN,
            Method::POST,
            "/tokens",
            token_handlers::create,
            Doc::of("createToken", "Make a token; only this answer has its text")
                .with(&[201])
                .refuses(400, &["invalid_name", "invalid_ttl"])
                .refuses(409, &["already_exists", "too_many_tokens"]),
        )
        .route(
            Needs::ADMIN,
            Method::DELETE,
            "/tokens/{name}",
            token_handlers::revoke,
            Doc::of("revokeToken", "Take a token back, at once everywhere")
                .with(&[204])
                .refuses(404, &["token_not_found"])
                .refuses(409, &["token_is_a_file"]),
        )
}
