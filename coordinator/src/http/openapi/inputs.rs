//! What each part of a request takes, and how it refuses what does not fit.

use super::described::Input;
use super::operation::Operation;
use crate::http::body::{JsonBody, JsonValue};
use crate::http::condition::OnlyIf;
use crate::http::moment::{At, AtQuery};
use crate::http::page_link::{Page, PageQuery};
use crate::http::params::{
    Caller, InPath, LaneInPath, QueryOf, RunInPath, RunnerInPath, SessionInPath, Shown, Speaker,
};
use crate::http::patch::PatchBody;
use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use events::{Lane, RunId, RunnerId, SessionId};
use schemars::{JsonSchema, SchemaGenerator};
use schemas::Name;

/// Whatever looks at the application may find the broker away.
impl<S> Input for State<S> {
    fn describe(operation: &mut Operation) {
        operation.refuses(500, &["internal"]);
        operation.refuses(503, &["broker_unavailable"]);
    }
}

/// Whoever acts under a name means to change something.
impl Input for Caller {
    fn describe(operation: &mut Operation) {
        operation.refuses(409, &["outdated_coordinator"]);
        operation.refuses(507, &["broker_full", "nearly_full"]);
    }
}

/// It acts in a runner's name, with that runner's token.
impl Input for Speaker {
    fn describe(operation: &mut Operation) {
        Caller::describe(operation);
        operation.refuses(401, &["unknown_runner"]);
        operation.refuses(403, &["other_token", "runner_has_key"]);
    }
}

impl Input for Shown {
    fn describe(_: &mut Operation) {}
}

/// Something of ours, not the client's.
impl<T> Input for Extension<T> {
    fn describe(_: &mut Operation) {}
}

impl Input for Uri {
    fn describe(_: &mut Operation) {}
}

impl Input for HeaderMap {
    fn describe(_: &mut Operation) {}
}

/// The document has to say what its segments are.
impl<T> Input for Path<T> {
    fn describe(_: &mut Operation) {}
}

/// The document has to say what the body is.
impl Input for Request {
    fn describe(operation: &mut Operation) {
        operation.reads_body();
    }
}

impl Input for InPath {
    fn describe(operation: &mut Operation) {
        operation.segment::<Name>("name", "The name");
        operation.refuses(400, &["invalid_name"]);
    }
}

impl Input for RunInPath {
    fn describe(operation: &mut Operation) {
        operation.segment::<RunId>("id", "The run's id");
        operation.refuses(404, &["run_not_found"]);
    }
}

impl Input for RunnerInPath {
    fn describe(operation: &mut Operation) {
        operation.segment::<RunnerId>("id", "The runner's id");
        operation.refuses(404, &["runner_not_found"]);
    }
}

impl Input for SessionInPath {
    fn describe(operation: &mut Operation) {
        operation.segment::<SessionId>("id", "The session's id");
    }
}

impl Input for LaneInPath {
    fn describe(operation: &mut Operation) {
        operation.segment::<Lane>("id", "The lane's id");
        operation.refuses(404, &["lane_not_found"]);
    }
}

impl<T: JsonSchema> Input for QueryOf<T> {
    fn describe(operation: &mut Operation) {
        operation.query::<T>();
        operation.refuses(422, &["invalid_request"]);
    }
}

impl Input for Page {
    fn describe(operation: &mut Operation) {
        QueryOf::<PageQuery>::describe(operation);
        operation.refuses(400, &["invalid_cursor"]);
        operation.gives(
            "Link",
            "Where `limit` was given and there is more: the next page, `rel=\"next\"`",
        );
    }
}

impl Input for At {
    fn describe(operation: &mut Operation) {
        QueryOf::<AtQuery>::describe(operation);
        let moments = [
            "two_moments",
            "invalid_time",
            "in_the_future",
            "no_such_sequence",
        ];
        operation.refuses(400, &moments);
        operation.gives(
            "X-As-Of",
            "Where a moment was asked about: which one it was",
        );
    }
}

impl Input for OnlyIf {
    fn describe(operation: &mut Operation) {
        let only_if = "Only where this is the version: `\"3\"` as in the answer's ETag, several separated by commas, or `*`; else 412";
        operation.header::<String>("If-Match", only_if);
        operation.header::<String>(
            "If-None-Match",
            "`*`: only where the name is free; else 412",
        );
        operation.refuses(400, &["invalid_condition"]);
        operation.refuses(412, &["stale"]);
    }
}

impl Input for JsonValue {
    fn describe(operation: &mut Operation) {
        operation.reads_body();
        operation.refuses(415, &["unsupported_media_type"]);
        operation.refuses(422, &["invalid_request"]);
    }
}

impl Input for PatchBody {
    fn describe(operation: &mut Operation) {
        JsonValue::describe(operation);
    }
}

impl<T: JsonSchema> Input for JsonBody<T> {
    fn describe(operation: &mut Operation) {
        JsonValue::describe(operation);
        operation.body(SchemaGenerator::subschema_for::<T>, true);
    }
}

impl<T: JsonSchema> Input for Option<JsonBody<T>> {
    fn describe(operation: &mut Operation) {
        JsonValue::describe(operation);
        operation.body(SchemaGenerator::subschema_for::<T>, false);
    }
}
