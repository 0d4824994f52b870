//! What every answer carries on its way out: the request's id, the headers that keep browsers narrow,
//! and the one shape of errors.

use super::error::ApiError;
use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Long enough for anybody's scheme, short enough for a line of a log.
const REQUEST_ID_MAX_BYTES: usize = 64;

const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The client's own id where it is harmless, so that a proxy's log and ours agree.
pub fn request_id(headers: &HeaderMap) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id) if (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(plain) => {
            id.to_owned()
        }
        _ => format!("req_{:016x}", rand::random::<u64>()),
    }
}

pub fn finish(response: &mut Response, id: &str) {
    with_error_body(response, id);
    let headers = response.headers_mut();
    let id = HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unprintable"));
    headers.insert(REQUEST_ID, id);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(API_POLICY));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// Also what the framework refused by itself gets our body.
fn with_error_body(response: &mut Response, id: &str) {
    let status = response.status();
    let error = response.extensions_mut().remove::<ApiError>();
    let is_error = status.is_client_error() || status.is_server_error();
    let Some(error) = error.or_else(|| is_error.then(|| ApiError::of_status(status))) else {
        return;
    };
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id = id, "answered with an internal error");
    }
    let mut answer = (error.status(), Json(error.to_body(id))).into_response();
    // What stands in the headers of the first answer, as Allow or Retry-After, and not its body's.
    for (name, value) in response.headers() {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    *response = answer;
}
