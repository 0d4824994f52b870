//! Who sends a request, by what it shows: a token, or the proof that a runner holds its key. What that
//! lets anybody do is not decided here.

use super::logs::wants_events;
use crate::access::{AdminToken, LastUses, Proof, hash};
use crate::app::{App, Ticket};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use events::{Actor, Role, Via};
use schemas::Name;
use std::sync::Arc;

/// How our own command line begins its `User-Agent`.
const CLI_AGENT: &str = "coordinator-cli/";
/// Who acts without a token where none is asked for.
const ANONYMOUS: &str = "anonymous";

/// Whether tokens are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    Needed,
    /// Whoever reaches us may do everything.
    NotNeeded,
}

/// All who are known here.
pub struct Known {
    pub app: App,
    pub admin: AdminToken,
    pub tokens: Tokens,
    pub last_uses: Arc<LastUses>,
}

/// Who sends a request.
pub struct Identity {
    pub actor: Actor,
    pub role: Role,
    /// What it shows where it wants a runner to join.
    pub ticket: Ticket,
}

/// Why nobody is known to send it.
pub enum Unknown {
    NoToken,
    WrongToken,
    Expired(Name),
}

impl Known {
    /// `streams`: browsers ask this route for events, and can send no headers then.
    pub fn identify(&self, request: &Request, streams: bool) -> Result<Identity, Unknown> {
        let headers = request.headers();
        let known = match headers.get(header::AUTHORIZATION) {
            Some(value) => self.by_header(value, via(headers)),
            None => match token_in_query(request).filter(|_| streams) {
                Some(token) => self.by_token(token, via(headers)),
                None => Err(Unknown::NoToken),
            },
        };
        match (known, self.tokens) {
            (Err(_), Tokens::NotNeeded) => Ok(Identity {
                actor: stranger(headers),
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
        let Self {
            app,
            admin,
            last_uses,
            ..
        } = self;
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
        let is_in_use = || issued.used.is_some() || app.is_token_over_http(&issued.token.name);
        if issued.is_expired(now) && !is_in_use() {
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

/// Somebody who is asked for no token.
pub fn stranger(headers: &HeaderMap) -> Actor {
    Actor::new(ANONYMOUS, via(headers))
}

/// `?api_key=`, where events are wanted.
fn token_in_query(request: &Request) -> Option<&str> {
    let query = request.uri().query();
    let query = query.filter(|_| wants_events(request.headers()))?;
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
