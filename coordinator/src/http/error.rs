//! One shape for everything that goes wrong: what existing clients read (`detail`), and beside it
//! our own `code`, `hint` and `request_id`.
//!
//! A refusal travels as an extension of an otherwise empty response; the door writes the body,
//! because only there the request id is known. What the application refuses becomes a refusal in
//! `map`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long a client should leave us alone when the broker is away: it is back within 20 ms after
/// a restart, and within 6 s after an election.
const RETRY_AFTER_SECONDS: u64 = 2;

/// An answer that is no success.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    detail: Value,
    code: String,
    hint: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// `{"detail": "<text>"}`.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self::with(status, code, Value::String(detail.into()))
    }

    /// `{"detail": {"error": "<code>", "message": "<text>", …}}`.
    pub fn detailed(
        status: StatusCode,
        code: &str,
        message: String,
        more: Map<String, Value>,
    ) -> Self {
        let mut detail = Map::new();
        detail.insert("error".to_owned(), code.into());
        detail.insert("message".to_owned(), message.into());
        detail.extend(more);
        Self::with(status, code, Value::Object(detail))
    }

    /// `{"detail": [{"type", "loc": [<place>, …], "msg", "input"}]}`.
    pub fn shape(kind: &str, loc: &[Value], message: &str, input: &Value) -> Self {
        let detail = json!([{"type": kind, "loc": loc, "msg": message, "input": input}]);
        Self::with(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    /// What to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub fn unsupported(allowed: &str) -> Self {
        let detail = format!("Unsupported media type; allowed is {allowed}");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        )
        .hint("name the body's type in the header Content-Type")
    }

    pub fn unauthenticated(detail: &str) -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .hint("send `Authorization: Bearer <token>`; an admin makes tokens (coordinator token create), and admin.token in the coordinator's data folder holds the first one");
        error.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// Too many wrong tokens at once.
    pub fn too_many_failures(retry_after: Duration) -> Self {
        let detail = "Too many wrong tokens";
        let code = "too_many_failed_logins";
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .hint("a right token is never held up; find out which program sends a wrong one")
            .header(header::RETRY_AFTER, retry_after.as_secs().into())
    }

    /// The broker is away; the same request may succeed soon.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "broker_unavailable",
            detail,
        )
        .hint("try again in a moment; `coordinator status` shows whether the broker is back");
        error.header(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into())
    }

    /// Our own fault; what it was stands in our log under the request id, not in the answer.
    pub fn internal() -> Self {
        let detail = "Internal Server Error";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            .hint("the coordinator's log has more under this request id")
    }

    /// For answers that the framework made: an unknown path, a wrong verb.
    pub fn of_status(status: StatusCode) -> Self {
        let detail = status.canonical_reason().unwrap_or("Error");
        let code = detail.to_lowercase().replace(' ', "_");
        Self::new(status, &code, detail)
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The body as it is sent.
    pub fn to_body(&self, request_id: &str) -> Value {
        let Parts {
            detail, code, hint, ..
        } = &*self.0;
        let mut body = json!({"detail": detail, "code": code});
        if let Some(hint) = hint {
            body["hint"] = hint.as_str().into();
        }
        body["request_id"] = request_id.into();
        body
    }

    fn with(status: StatusCode, code: &str, detail: Value) -> Self {
        Self(Box::new(Parts {
            status,
            detail,
            code: code.to_owned(),
            hint: None,
            header: None,
        }))
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        if let Some((name, value)) = self.0.header.clone() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}
