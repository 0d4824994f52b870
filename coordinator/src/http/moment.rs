//! `?at=` and `?at_seq=`: a read as of a moment, and how its answer says which one that was: an
//! `X-As-Of` header always, and `as_of` in what is an object.

use super::error::ApiError;
use super::params::{QueryOf, duration};
use super::state::Api;
use crate::app::{AsOf, Moment};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use events::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const AS_OF: HeaderName = HeaderName::from_static("x-as-of");

/// The moment that is asked about; none: now.
pub struct At(pub Option<Moment>);

#[derive(Deserialize, JsonSchema)]
pub struct AtQuery {
    /// As of this time: `2026-11-20T09:00:00Z`, `2026-11-20`, or how long ago, `2h`.
    at: Option<String>,
    /// As of this sequence of CATALOG.
    at_seq: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub struct AsOfView {
    stream: &'static str,
    /// Of the last event that counts; 0 where there is none.
    sequence: u64,
    /// Its time.
    at: Option<Timestamp>,
}

/// Something as it was.
#[derive(Serialize, JsonSchema)]
struct Then<T> {
    #[serde(flatten)]
    is: T,
    as_of: AsOfView,
}

impl FromRequestParts<Api> for At {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let QueryOf(query) = QueryOf::<AtQuery>::from_request_parts(parts, api).await?;
        let now = || api.app.now();
        let moment = match (query.at, query.at_seq) {
            (None, None) => None,
            (None, Some(sequence)) => Some(Moment::Sequence(sequence)),
            (Some(text), None) => Some(Moment::Time(time(&text, now())?)),
            (Some(_), Some(_)) => {
                let detail = "Give a moment by at or by at_seq, not by both";
                return Err(ApiError::bad_request("two_moments", detail));
            }
        };
        Ok(Self(moment))
    }
}

impl From<AsOf> for AsOfView {
    fn from(as_of: AsOf) -> Self {
        Self {
            stream: as_of.stream.name(),
            sequence: as_of.sequence,
            at: as_of.at,
        }
    }
}

/// An object as it was.
pub fn then<T: Serialize>(as_of: AsOf, is: T) -> Response {
    let body = Then {
        is,
        as_of: as_of.into(),
    };
    listed_then(as_of, Json(body).into_response())
}

/// A list as it was: it has no place of its own to say so.
pub fn listed_then(as_of: AsOf, mut response: Response) -> Response {
    if let Ok(value) = HeaderValue::try_from(as_of.to_string()) {
        response.headers_mut().insert(AS_OF, value);
    }
    response
}

/// A moment in one word: a sequence, or a time.
pub fn moment(text: &str, now: Timestamp) -> Result<Moment, ApiError> {
    match text.parse() {
        Ok(sequence) => Ok(Moment::Sequence(sequence)),
        Err(_) => Ok(Moment::Time(time(text, now)?)),
    }
}

/// `2026-11-20T09:00:00Z`, `2026-11-20` (its beginning), `2026-11-20T09:00` (both UTC), `2h` (ago).
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let ago = |ago: Duration| now.saturating_sub(ago).unwrap_or(Timestamp::MIN);
    // Days are what people count in, and no unit of a duration that knows no calendar.
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    let days = days.map(|days: u32| Duration::from_secs(u64::from(days) * 86_400));
    if let Some(days) = days {
        return Ok(ago(days));
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(duration) = duration(text).filter(|_| !is_number) {
        return Ok(ago(duration));
    }
    let civil = |text: &str| {
        let time: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    };
    let time = text.parse().ok().or_else(|| civil(text));
    time.ok_or_else(|| {
        let detail = format!(
            "A time is 2026-11-20T09:00:00Z, 2026-11-20T09:00 or 2026-11-20 (both UTC), or how long ago: 30m, 2h, 1d; not {}",
            schemas::shown(text)
        );
        ApiError::bad_request("invalid_time", detail).hint("for a sequence: --at-seq N, or at_seq=N over HTTP")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2h", Some("2026-11-20T08:00:00Z"))]
    #[case("1h30m", Some("2026-11-20T08:30:00Z"))]
    #[case("1d", Some("2026-11-19T10:00:00Z"))]
    #[case("2026-11-20T09:30:00Z", Some("2026-11-20T09:30:00Z"))]
    #[case("2026-11-20T09:30:00+02:00", Some("2026-11-20T07:30:00Z"))]
    #[case("2026-11-20T09:30", Some("2026-11-20T09:30:00Z"))]
    #[case("2026-11-17", Some("2026-11-17T00:00:00Z"))]
    #[case("17", None)]
    #[case("-1h", None)]
    #[case("yesterday", None)]
    #[case("", None)]
    fn times(#[case] text: &str, #[case] expected: Option<&str>) {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let found = time(text, now).ok().map(|time| time.to_string());
        assert_eq!(found.as_deref(), expected);
    }
}
