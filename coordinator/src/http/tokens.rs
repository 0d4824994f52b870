//! `/tokens`: given out, listed, taken back. A token's text is in one answer, that to whoever had it
//! made, and nowhere else.

use super::body::JsonBody;
use super::error::ApiError;
use super::page_link::{Listed, Page};
use super::params::{Caller, InPath, Lifetime, QueryOf};
use super::state::Api;
use crate::access::{AdminToken, Secret};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use events::token::{Issued, Token};
use events::{Role, Timestamp};
use schemars::JsonSchema;
use schemas::Name;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of a token that lets one runner join, where nobody says: time to copy it to a host.
const ONE_TIME: Duration = Duration::from_secs(60 * 60);

#[derive(Deserialize, JsonSchema)]
pub struct NewToken {
    role: Role,
    name: Option<Name>,
    /// `10m`, `12h`, `30d`; without one it is good until it is revoked.
    ttl: Option<Lifetime>,
}

/// A token, without its text.
#[derive(Serialize, JsonSchema)]
pub struct TokenView {
    name: String,
    role: Role,
    status: TokenStatus,
    created_at: Option<Timestamp>,
    /// `null`: it is good until it is revoked.
    expires_at: Option<Timestamp>,
    /// Since this coordinator was started, and as far as it was asked.
    last_used_at: Option<Timestamp>,
    used_by_runner: Option<Name>,
    used_at: Option<Timestamp>,
    /// Its text, in the answer to whoever had it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TokenStatus {
    Active,
    Expired,
    /// It let a runner in, once.
    Used,
}

#[derive(Serialize, JsonSchema)]
pub struct TokensView {
    tokens: Vec<TokenView>,
}

pub async fn create(
    State(api): State<Api>,
    Caller(actor): Caller,
    JsonBody(new): JsonBody<NewToken>,
) -> Result<(StatusCode, Json<TokenView>), ApiError> {
    let secret = Secret::fresh();
    let now = api.app.now();
    let ttl = lifetime(&new);
    let token = Token {
        name: new.name.map_or_else(|| made_up(new.role), Ok)?,
        role: new.role,
        hash: secret.hash(),
        expires_at: ttl.map(|ttl| end(now, ttl)).transpose()?,
    };
    let name = token.name.clone();
    let issued = api.app.create_token(&actor, token).await?;
    api.last_uses.forget(&name);
    let shown = TokenView {
        token: Some(secret.expose().to_owned()),
        ..view(&api, &issued, now)
    };
    Ok((StatusCode::CREATED, Json(shown)))
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    role: Option<Role>,
    status: Option<TokenStatus>,
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
    page: Page,
) -> Listed<TokensView> {
    let now = api.app.now();
    let tokens = api.app.tokens();
    let issued = tokens.values().map(|issued| view(&api, issued, now));
    let all = std::iter::once(file(&api)).chain(issued);
    let wanted = all.filter(|token| {
        query.role.is_none_or(|role| role == token.role)
            && query.status.is_none_or(|status| status == token.status)
    });
    // The file's comes first.
    let place =
        |token: &TokenView| format!("{}{}", u8::from(token.created_at.is_some()), token.name);
    page.cut(wanted.collect(), place)
        .shown(|tokens| TokensView { tokens })
}

pub async fn revoke(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
) -> Result<StatusCode, ApiError> {
    if name.as_str() == AdminToken::HOLDER {
        let detail =
            "The token admin is a file of this coordinator, admin.token in its data folder";
        return Err(ApiError::conflict("token_is_a_file", detail)
            .hint("delete the file and start the coordinator again; it makes a new one"));
    }
    api.app.revoke_token(&actor, &name).await?;
    api.last_uses.forget(&name);
    Ok(StatusCode::NO_CONTENT)
}

fn lifetime(new: &NewToken) -> Option<Duration> {
    let given = new.ttl.map(|Lifetime(ttl)| ttl);
    given.or((new.role == Role::Runner).then_some(ONE_TIME))
}

fn end(now: Timestamp, ttl: Duration) -> Result<Timestamp, ApiError> {
    now.checked_add(ttl)
        .map_err(|_| ApiError::bad_request("invalid_ttl", "No token lives that long"))
}

/// `runner-3fa2b1c0`: for tokens that nobody wants to talk about.
fn made_up(role: Role) -> Result<Name, ApiError> {
    let name = format!("{role}-{:08x}", rand::random::<u32>());
    name.parse().map_err(|_| ApiError::internal())
}

fn view(api: &Api, issued: &Issued, now: Timestamp) -> TokenView {
    let Issued {
        token,
        created_at,
        used,
    } = issued;
    let status = match (used, issued.is_expired(now)) {
        (Some(_), _) => TokenStatus::Used,
        (None, true) => TokenStatus::Expired,
        (None, false) => TokenStatus::Active,
    };
    TokenView {
        name: token.name.to_string(),
        role: token.role,
        status,
        created_at: Some(*created_at),
        expires_at: token.expires_at,
        last_used_at: api.last_uses.of(&token.name),
        used_by_runner: used.as_ref().map(|used| used.runner.clone()),
        used_at: used.as_ref().map(|used| used.at),
        token: None,
    }
}

/// The one that is no event.
fn file(api: &Api) -> TokenView {
    let name: Option<Name> = AdminToken::HOLDER.parse().ok();
    TokenView {
        name: AdminToken::HOLDER.to_owned(),
        role: Role::Admin,
        status: TokenStatus::Active,
        created_at: None,
        expires_at: None,
        last_used_at: name.and_then(|name| api.last_uses.of(&name)),
        used_by_runner: None,
        used_at: None,
        token: None,
    }
}
