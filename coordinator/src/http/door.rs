//! What every request passes, whatever its route: its id, then the form of its path, Host, Origin,
//! token and role, and on the way out the headers that keep browsers narrow and the one shape of
//! errors.
//!
//! It knows what each route needs from the table, and nothing of what the handlers do.

use super::cors;
use super::error::ApiError;
use super::logs::wants_events;
use super::origin::{Foreign, Sender, Surroundings};
use super::table::{Needs, Route};
use super::target;
use crate::access::{AdminToken, FailedLogins, LastUses, Proof, Slowed, hash};
use crate::app::{App, Ticket};
use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use events::{Actor, Role, Via};
use schemas::Name;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Long enough for anybody's scheme, short enough for a line of a log.
const REQUEST_ID_MAX_BYTES: usize = 64;
/// How our own command line begins its `User-Agent`.
const CLI_AGENT: &str = "coordinator-cli/";
/// Who acts without a token where none is asked for.
const ANONYMOUS: &str = "anonymous";

const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The address at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Whether tokens are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    Needed,
    /// Whoever reaches us may do everything.
    NotNeeded,
}

/// What the door compares requests with.
#[derive(Clone)]
pub struct Door(Arc<Rules>);

struct Rules {
    app: App,
    admin: AdminToken,
    tokens: Tokens,
    surroundings: Surroundings,
    last_uses: Arc<LastUses>,
    failed: FailedLogins,
    needs: HashMap<(Method, &'static str), Needs>,
}

/// Who sends a request.
struct Identity {
    actor: Actor,
    role: Role,
    /// What it shows where it wants a runner to join.
    ticket: Ticket,
}

/// Why nobody is known to send it.
enum Unknown {
    NoToken,
    WrongToken,
    Expired(Name),
}

impl Door {
    pub fn new(
        app: App,
        admin: AdminToken,
        tokens: Tokens,
        surroundings: Surroundings,
        last_uses: Arc<LastUses>,
        routes: Vec<Route>,
    ) -> Self {
        let needs = routes.into_iter();
        let needs = needs.map(|route| ((route.method, route.path), route.needs));
        Self(Arc::new(Rules {
            app,
            admin,
            tokens,
            surroundings,
            last_uses,
            failed: FailedLogins::default(),
            needs: needs.collect(),
        }))
    }

    /// Lets a request in, with who sends it; or answers in the handler's place.
    async fn admit(&self, request: &mut Request) -> Result<(), ApiError> {
        let needs = self.needs(request);
        if needs.is_some_and(|needs| needs.admits_anyone()) {
            let via = via(request.headers());
            request.extensions_mut().insert(Actor::new(ANONYMOUS, via));
            return Ok(());
        }
        let identity = match self.identify(request, needs) {
            Ok(identity) => identity,
            Err(unknown) => {
                let from = peer(request);
                return Err(self.refuse(unknown, from).await);
            }
        };
        tracing::Span::current().record("actor", identity.actor.name.as_str());
        // A path that is none needs a token, and no role: who has one may learn that.
        match needs {
            Some(needs) if !needs.admits(identity.role) => Err(lacks_role(&identity, needs)),
            _ => {
                request.extensions_mut().insert(identity.actor);
                request.extensions_mut().insert(identity.ticket);
                Ok(())
            }
        }
    }

    /// What the matched route needs; none where there is no such route.
    fn needs(&self, request: &Request) -> Option<Needs> {
        let path = request.extensions().get::<MatchedPath>()?;
        // The router answers HEAD like GET, without the body.
        let method = match request.method() {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        self.0.needs.get(&(method, path.as_str())).copied()
    }

    fn identify(&self, request: &Request, needs: Option<Needs>) -> Result<Identity, Unknown> {
        let headers = request.headers();
        let known = match headers.get(header::AUTHORIZATION) {
            Some(value) => self.by_header(value, via(headers)),
            None => match token_in_query(request, needs) {
                Some(token) => self.by_token(token, via(headers)),
                None => Err(Unknown::NoToken),
            },
        };
        match (known, self.0.tokens) {
            (Err(_), Tokens::NotNeeded) => Ok(Identity {
                actor: Actor::new(ANONYMOUS, via(headers)),
                role: Role::Admin,
                ticket: Ticket::Admin,
            }),
            (known, _) => known,
        }
    }

    fn by_header(&self, value: &HeaderValue, via: Via) -> Result<Identity, Unknown> {
        let value = value.to_str().map_err(|_| Unknown::WrongToken)?;
        let (scheme, shown) = value.split_once(' ').ok_or(Unknown::WrongToken)?;
        match scheme {
            scheme if scheme.eq_ignore_ascii_case("bearer") => self.by_token(shown.trim(), via),
            scheme if scheme.eq_ignore_ascii_case("nkey") => by_proof(shown.trim()),
            _ => Err(Unknown::WrongToken),
        }
    }

    fn by_token(&self, token: &str, via: Via) -> Result<Identity, Unknown> {
        let Rules {
            app,
            admin,
            last_uses,
            ..
        } = &*self.0;
        let now = app.now();
        if admin.is(token) {
            if let Ok(name) = AdminToken::HOLDER.parse() {
                last_uses.note(&name, now);
            }
            return Ok(Identity {
                actor: Actor::new(AdminToken::HOLDER, via),
                role: Role::Admin,
                ticket: Ticket::Admin,
            });
        }
        let issued = app.token_by_hash(&hash(token)).ok_or(Unknown::WrongToken)?;
        // A runner that has used its token may show it for as long as it lives.
        if issued.is_expired(now) && issued.used.is_none() {
            return Err(Unknown::Expired(issued.token.name));
        }
        last_uses.note(&issued.token.name, now);
        let via = match issued.token.role {
            Role::Mcp => Via::Mcp,
            _ => via,
        };
        Ok(Identity {
            actor: Actor::new(issued.token.name.as_str(), via),
            role: issued.token.role,
            ticket: match issued.token.role {
                Role::Runner => Ticket::OneTime(issued.token.name),
                _ => Ticket::Admin,
            },
        })
    }

    async fn refuse(&self, unknown: Unknown, from: IpAddr) -> ApiError {
        let told = match unknown {
            Unknown::NoToken => return ApiError::unauthenticated("Not authenticated"),
            Unknown::WrongToken => "Invalid token".to_owned(),
            Unknown::Expired(name) => format!("Token {name} has expired"),
        };
        tracing::warn!(%from, "a wrong token: {told}");
        match self.0.failed.slow(from).await {
            Slowed::Waited => ApiError::unauthenticated(&told),
            Slowed::Refused { retry_after } => ApiError::too_many_failures(retry_after),
        }
    }
}

/// A runner that holds a key; whether it is a member's is for the use case to see.
fn by_proof(text: &str) -> Result<Identity, Unknown> {
    let proof = Proof::checked(text).ok_or(Unknown::WrongToken)?;
    Ok(Identity {
        actor: Actor::runner(&proof.runner_id),
        role: Role::Runner,
        ticket: Ticket::Key(proof.key),
    })
}

/// The layer.
pub async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        id,
        method = %request.method(),
        path = request.uri().path(),
        actor = tracing::field::Empty,
    );
    let mut response = through(&door, &mut request, next)
        .instrument(span.clone())
        .await;
    let _entered = span.enter();
    tracing::debug!(status = response.status().as_u16(), "answered");
    finish(&mut response, &id);
    response
}

async fn through(door: &Door, request: &mut Request, next: Next) -> Response {
    let (uri, headers) = (request.uri(), request.headers());
    let surroundings = &door.0.surroundings;
    let meant = target::check(uri.path(), headers).and_then(|()| {
        let admitted = surroundings.admit(request.method(), uri, headers);
        admitted.map_err(|foreign| refuse_foreign(&foreign))
    });
    let page = match meant {
        Ok(Sender::Own) => None,
        Ok(Sender::Page(origin)) => Some(origin),
        Err(error) => return error.into_response(),
    };
    let asked = page
        .as_ref()
        .and_then(|_| cors::preflight(request.method(), request.headers()));
    let mut response = match asked {
        Some(answer) => answer,
        None => match door.admit(request).await {
            Ok(()) => next.run(std::mem::take(request)).await,
            Err(error) => error.into_response(),
        },
    };
    if let Some(origin) = page {
        cors::open(&mut response, origin);
    }
    response
}

fn finish(response: &mut Response, id: &str) {
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

fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
}

/// `?api_key=`, where a browser wants events and cannot send a header.
fn token_in_query(request: &Request, needs: Option<Needs>) -> Option<&str> {
    let streams = needs.is_some_and(|needs| needs.streams) && wants_events(request.headers());
    let query = request.uri().query().filter(|_| streams)?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("api_key="))
}

fn via(headers: &HeaderMap) -> Via {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    match agent {
        Some(agent) if agent.starts_with(CLI_AGENT.as_bytes()) => Via::Cli,
        _ => Via::Http,
    }
}

fn lacks_role(identity: &Identity, needs: Needs) -> ApiError {
    let (name, role, needed) = (&identity.actor.name, identity.role, needs.named());
    let who = match identity.ticket {
        Ticket::Key(_) => "Runner",
        Ticket::Admin | Ticket::OneTime(_) => "Token",
    };
    let detail = format!("{who} {name} has the role {role}, and this needs {needed}");
    ApiError::new(StatusCode::FORBIDDEN, "role_needed", detail)
        .hint("an admin makes tokens: coordinator token create --role ROLE --name NAME")
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
            "only the coordinator's own pages may use it from a browser, and those of --cors-origin"
                .to_owned(),
        ),
    };
    ApiError::new(StatusCode::FORBIDDEN, code, foreign.to_string()).hint(hint)
}
