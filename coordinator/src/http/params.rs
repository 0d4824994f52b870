//! What stands in a request beside its body: names and ids in the path, the query, who asks.
//! Everything is a checked type when a handler sees it.

use super::error::ApiError;
use crate::app::{Shows, Ticket, Visitor};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use events::{Actor, Lane, RunId, RunnerId, SessionId, Timestamp};
use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::{Name, Tag};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The longest a request waits for something to happen: shorter than the patience of clients and
/// proxies. Who wants to wait longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// `{name}` of a script, an agent or a capability.
pub struct InPath(pub Name);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        name(&segment(parts, state).await?).map(Self)
    }
}

/// `{id}` of a run. What cannot be an id belongs to no run.
pub struct RunInPath(pub RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parsed = segment(parts, state).await?.parse();
        parsed.map(Self).map_err(|error: events::id::InvalidId| {
            ApiError::not_found("run_not_found", "Run not found").hint(error.to_string())
        })
    }
}

/// `{id}` of a runner. What cannot be an id belongs to no runner.
pub struct RunnerInPath(pub RunnerId);

impl<S: Send + Sync> FromRequestParts<S> for RunnerInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = segment(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|error: events::id::InvalidId| {
                let text = format!("Runner not found: {}", schemas::shown(&text));
                ApiError::not_found("runner_not_found", text).hint(error.to_string())
            })
    }
}

/// `{id}` of a session; none where the text cannot be one.
pub struct SessionInPath(pub Option<SessionId>);

impl<S: Send + Sync> FromRequestParts<S> for SessionInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(segment(parts, state).await?.parse().ok()))
    }
}

/// `{id}` of a lane; none where the text cannot be one.
pub struct LaneInPath(pub Option<Lane>);

impl<S: Send + Sync> FromRequestParts<S> for LaneInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(segment(parts, state).await?.parse().ok()))
    }
}

/// The query as a type.
pub struct QueryOf<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let parsed: Result<Query<T>, QueryRejection> = Query::try_from_uri(&parts.uri);
        parsed.map(|Query(query)| Self(query)).map_err(|rejection| {
            let input = parts.uri.query().unwrap_or_default().into();
            let message = rejection.body_text();
            ApiError::shape("value_error", &["query".into()], &message, &input)
        })
    }
}

/// Who asks. The door has put it there; without it nothing is answered.
pub struct Caller(pub Actor);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let actor = parts.extensions.get::<Actor>().cloned();
        actor.map(Self).ok_or_else(ApiError::internal)
    }
}

/// What the door saw of whoever asks, for those who want to join.
pub struct Shown(pub Ticket);

impl<S: Send + Sync> FromRequestParts<S> for Shown {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let ticket = parts.extensions.get::<Ticket>().cloned();
        ticket.map(Self).ok_or_else(ApiError::internal)
    }
}

/// Who speaks in the name of a runner that long-polls.
pub struct Speaker(pub Visitor);

impl<S: Send + Sync> FromRequestParts<S> for Speaker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(actor) = Caller::from_request_parts(parts, state).await?;
        let Shown(ticket) = Shown::from_request_parts(parts, state).await?;
        let shows = match ticket {
            Ticket::Admin => Shows::Admin,
            Ticket::OneTime(token) => Shows::Token(token),
            Ticket::Key(_) => Shows::Key,
        };
        Ok(Self(Visitor { actor, shows }))
    }
}

/// `?wait=30s`: how long the answer may be held back for the run's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Wait(pub Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wait = duration(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "wait is 30, 30s or 1m, not {}",
                schemas::shown(&text)
            ))
        })?;
        Ok(Self(wait.min(WAIT_MAX)))
    }
}

/// `?since=2h` or `?since=2026-11-20T09:00:00Z`: the beginning of what is asked for; or, as `until`,
/// its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Since {
    /// The time that is meant at `now`.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.saturating_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(ago) = days(&text).or_else(|| duration(&text)) {
            return Ok(Self::Ago(ago));
        }
        text.parse().map(Self::At).map_err(|_| {
            D::Error::custom(format!(
                "a time is 30m, 2h or 1d ago, or as 2026-11-20T09:00:00Z, not {}",
                schemas::shown(&text)
            ))
        })
    }
}

/// `?limit=20`: entries on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub NonZeroUsize);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            let text = schemas::shown(&text);
            D::Error::custom(format!("a page has 1 entry or more, not {text}"))
        })
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1})
    }
}

/// `ttl: "30d"`: how long something lasts. Days count 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

/// Ten years: whoever wants longer leaves it out.
const LIFETIME_MAX: Duration = Duration::from_secs(3_650 * 86_400);

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let lifetime = days(&text).or_else(|| duration(&text));
        let fits = |ttl: &Duration| !ttl.is_zero() && *ttl <= LIFETIME_MAX;
        lifetime.filter(fits).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "a ttl is 10m, 12h or 30d, at most 3650d, not {}",
                schemas::shown(&text)
            ))
        })
    }
}

/// What a query says in a form of our own.
macro_rules! described_text {
    ($name:ident, $about:literal, $pattern:literal) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $about, "pattern": $pattern})
            }
        }
    };
}

described_text!(
    Wait,
    "How long the answer may be held back: `30`, `30s` or `1m`; at most 60 s",
    r"^[0-9]{1,4}[sm]?$"
);
described_text!(
    Since,
    "`30m`, `2h` or `1d` ago, or a time as `2026-11-20T09:00:00Z`",
    r"^([0-9]{1,4}[smhd]|[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z)$"
);
described_text!(
    Lifetime,
    "`10m`, `12h` or `30d`, at most `3650d`",
    r"^[1-9][0-9]{0,2}[mhd]$"
);

/// The name of a script, an agent or a capability from outside.
pub fn name(text: &str) -> Result<Name, ApiError> {
    text.parse().map_err(|error: schemas::InvalidName| {
        ApiError::bad_request("invalid_name", error.to_string())
    })
}

/// Tags in a query, separated by commas.
pub fn tags(text: &str) -> Result<Vec<Tag>, ApiError> {
    let given = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    given
        .map(|tag| {
            Tag::parse(tag).map_err(|error| ApiError::bad_request("invalid_tag", error.to_string()))
        })
        .collect()
}

async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, ApiError> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text)
        .map_err(|rejection| ApiError::bad_request("invalid_path", rejection.body_text()))
}

/// What people count in, and no unit of a duration that knows no calendar.
fn days(text: &str) -> Option<Duration> {
    let days = text.strip_suffix('d')?.parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(days) * 86_400))
}

pub fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2h", Some("2026-11-20T08:00:00Z"))]
    #[case("1d", Some("2026-11-19T10:00:00Z"))]
    #[case("2026-11-20T09:30:00Z", Some("2026-11-20T09:30:00Z"))]
    #[case("yesterday", None)]
    fn beginnings(#[case] text: &str, #[case] expected: Option<&str>) {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let since = serde_json::from_value::<Since>(text.into());
        let found = since.ok().map(|since| since.before(now).to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[rstest]
    #[case("10m", Some(600))]
    #[case("30d", Some(2_592_000))]
    #[case("90", Some(90))]
    #[case("0", None)]
    #[case("4000d", None)]
    #[case("-1h", None)]
    #[case("for ever", None)]
    fn lifetimes(#[case] text: &str, #[case] seconds: Option<u64>) {
        let parsed = serde_json::from_value::<Lifetime>(text.into());
        assert_eq!(parsed.ok().map(|ttl| ttl.0.as_secs()), seconds);
    }

    #[rstest]
    #[case("30", Some(30))]
    #[case("30s", Some(30))]
    #[case("1m", Some(60))]
    #[case("2h", Some(60))]
    #[case("0", Some(0))]
    #[case("-1s", None)]
    #[case("soon", None)]
    fn waits(#[case] text: &str, #[case] seconds: Option<u64>) {
        let parsed = serde_json::from_value::<Wait>(text.into());
        assert_eq!(parsed.ok().map(|wait| wait.0.as_secs()), seconds);
    }
}
