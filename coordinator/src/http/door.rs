//! What every request passes, whatever its route: its id, the form of its path, Host, Origin, token
//! and role. What answers carry on their way out is `outward`'s.
//!
//! It knows what each route needs from the table, and nothing of what the handlers do.

use super::cors;
use super::error::ApiError;
use super::identity::{self, Identity, Known, Unknown};
use super::needs::Needs;
use super::openapi::Route;
use super::origin::{Foreign, Sender, Surroundings};
use super::outward;
use super::run_request;
use super::target;
use crate::access::{FailedLogins, Slowed};
use crate::app::Ticket;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tracing::Instrument as _;

/// The address at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What the door compares requests with.
#[derive(Clone)]
pub struct Door(Arc<Rules>);

struct Rules {
    known: Known,
    surroundings: Surroundings,
    failed: FailedLogins,
    needs: HashMap<(Method, &'static str), Needs>,
}

impl Door {
    pub fn new(known: Known, surroundings: Surroundings, routes: Vec<Route>) -> Self {
        let needs = routes.into_iter();
        let needs = needs.map(|route| ((route.method, route.path), route.needs));
        Self(Arc::new(Rules {
            known,
            surroundings,
            failed: FailedLogins::default(),
            needs: needs.collect(),
        }))
    }

    /// Lets a request in, with who sends it; or answers in the handler's place.
    async fn admit(&self, request: &mut Request) -> Result<(), ApiError> {
        let needs = self.needs(request);
        if needs.is_some_and(|needs| needs.admits_anyone()) {
            let stranger = identity::stranger(request.headers());
            request.extensions_mut().insert(stranger);
            return Ok(());
        }
        let streams = needs.is_some_and(|needs| needs.streams);
        let identity = match self.0.known.identify(request, streams) {
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

/// The layer.
pub async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let id = outward::request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        id,
        method = %request.method(),
        path = request.uri().path(),
        actor = tracing::field::Empty,
    );
    startup::traces::adopt(&span, run_request::traceparent_text(request.headers()));
    let mut response = through(&door, &mut request, next)
        .instrument(span.clone())
        .await;
    let _entered = span.enter();
    tracing::debug!(status = response.status().as_u16(), "answered");
    outward::finish(&mut response, &id);
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

fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
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
