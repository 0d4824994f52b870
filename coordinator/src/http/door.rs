//! What every request passes, whatever its route: its id, then Host, Origin and token, and on the
//! way out the headers that keep browsers narrow and the one shape of errors.
//!
//! It knows no route but the open ones, and nothing of what the handlers do.

use super::error::ApiError;
use super::origin::{AllowedHosts, Foreign};
use crate::access::AdminToken;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use events::{Actor, Via};
use std::sync::Arc;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Long enough for anybody's scheme, short enough for a line of a log.
const REQUEST_ID_MAX_BYTES: usize = 64;
/// How our own command line begins its `User-Agent`.
const CLI_AGENT: &str = "coordinator-cli/";

const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// What the door compares requests with.
#[derive(Clone)]
pub struct Door(Arc<Rules>);

struct Rules {
    token: AdminToken,
    hosts: AllowedHosts,
    open: Vec<(Method, &'static str)>,
}

impl Door {
    pub fn new(token: AdminToken, hosts: AllowedHosts, open: Vec<(Method, &'static str)>) -> Self {
        Self(Arc::new(Rules { token, hosts, open }))
    }

    /// Who sends this, if they may send it.
    fn admit(&self, request: &Request) -> Result<Actor, ApiError> {
        let Rules { hosts, open, .. } = &*self.0;
        hosts
            .admit(request.uri(), request.headers())
            .map_err(|foreign| refuse_foreign(&foreign))?;
        let path = request.uri().path();
        // The router answers HEAD like GET, without the body.
        let method = match request.method() {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        if open
            .iter()
            .any(|(open_method, open)| open_method == method && *open == path)
        {
            return Ok(Actor::new("anonymous", via(request.headers())));
        }
        self.authenticate(request.headers())
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Actor, ApiError> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(ApiError::unauthenticated("Not authenticated"));
        };
        let presented = value.to_str().ok().and_then(bearer);
        match presented {
            Some(token) if self.0.token.is(token) => {
                Ok(Actor::new(AdminToken::HOLDER, via(headers)))
            }
            _ => Err(ApiError::unauthenticated("Invalid token")),
        }
    }
}

/// The layer.
pub async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let span =
        tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let response = match door.admit(&request) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).instrument(span.clone()).await
        }
        Err(error) => error.into_response(),
    };
    let _entered = span.enter();
    tracing::debug!(status = response.status().as_u16(), "answered");
    finished(response, &id)
}

fn finished(response: Response, id: &str) -> Response {
    let mut response = with_error_body(response, id);
    let headers = response.headers_mut();
    let id = HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unprintable"));
    headers.insert(REQUEST_ID, id);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(API_POLICY));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Also what the framework refused by itself gets our body.
fn with_error_body(mut response: Response, id: &str) -> Response {
    let status = response.status();
    let error = response.extensions_mut().remove::<ApiError>();
    let is_error = status.is_client_error() || status.is_server_error();
    let Some(error) = error.or_else(|| is_error.then(|| ApiError::of_status(status))) else {
        return response;
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
    answer
}

/// The client's own id where it is harmless, so that a proxy's log and ours agree.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id) if (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(plain) => {
            id.to_owned()
        }
        _ => format!("req_{:016x}", rand::random::<u64>()),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn via(headers: &HeaderMap) -> Via {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    match agent {
        Some(agent) if agent.starts_with(CLI_AGENT.as_bytes()) => Via::Cli,
        _ => Via::Http,
    }
}

fn refuse_foreign(foreign: &Foreign) -> ApiError {
    let (code, hint) = match foreign {
        Foreign::Host(host) => (
            "host_not_allowed",
            format!("start the coordinator with --allowed-host {host} if that is its name"),
        ),
        Foreign::NoHost => ("host_not_allowed", "send a Host header".to_owned()),
        Foreign::Origin(_) => (
            "origin_not_allowed",
            "only the coordinator's own pages may use it from a browser".to_owned(),
        ),
    };
    ApiError::new(StatusCode::FORBIDDEN, code, foreign.to_string()).hint(hint)
}
