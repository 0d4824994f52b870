//! `If-Match` and `If-None-Match` on writes, and the `ETag` on what may be written: the version, in
//! quotation marks.

use super::error::ApiError;
use crate::app::{Condition, Wanted};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::catalog::Kind;
use schemas::Name;
use serde::Serialize;

/// Which version a write takes for granted; none: it does not care.
pub struct OnlyIf(Option<Wanted>);

/// Something with versions.
pub struct Tagged<T> {
    pub status: StatusCode,
    pub version: u32,
    pub body: T,
}

impl OnlyIf {
    pub fn of(self, kind: Kind, name: &Name) -> Option<Condition> {
        let name = name.clone();
        self.0.map(|wanted| Condition { kind, name, wanted })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OnlyIf {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        wanted(&parts.headers).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = HeaderValue::try_from(format!("\"{}\"", self.version));
        let mut response = (self.status, Json(self.body)).into_response();
        if let Ok(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, ApiError> {
    let given = (
        text(headers, &header::IF_MATCH)?,
        text(headers, &header::IF_NONE_MATCH)?,
    );
    match given {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Wanted::Any)),
        (None, Some("*")) => Ok(Some(Wanted::Nothing)),
        (Some(tags), None) => tags
            .split(',')
            .map(version)
            .collect::<Result<_, _>>()
            .map(Wanted::Versions)
            .map(Some),
        (None, Some(_)) | (Some(_), Some(_)) => Err(invalid(
            "a write takes If-Match with versions, or If-None-Match: * where the name must be free",
        )),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    let value = value.map_err(|_| invalid("the header holds characters that no version has"))?;
    Ok(value.map(str::trim))
}

/// `"3"`, or as people type it.
fn version(tag: &str) -> Result<u32, ApiError> {
    let tag = tag.trim();
    let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    bare.unwrap_or(tag).parse().map_err(|_| {
        invalid(&format!(
            "{} is no version; it is a number in quotation marks, as the answer's ETag has it: \"3\"",
            schemas::shown(tag)
        ))
    })
}

fn invalid(detail: &str) -> ApiError {
    ApiError::bad_request("invalid_condition", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(None, None, Some(None))]
    #[case(Some("\"3\""), None, Some(Some(Wanted::Versions(vec![3]))))]
    #[case(Some("3, \"4\""), None, Some(Some(Wanted::Versions(vec![3, 4]))))]
    #[case(Some("*"), None, Some(Some(Wanted::Any)))]
    #[case(None, Some("*"), Some(Some(Wanted::Nothing)))]
    #[case(None, Some("\"3\""), None)]
    #[case(Some("*"), Some("*"), None)]
    #[case(Some("W/\"3\""), None, None)]
    #[case(Some(""), None, None)]
    #[case(Some("\"latest\""), None, None)]
    fn conditions(
        #[case] matches: Option<&str>,
        #[case] none_matches: Option<&str>,
        #[case] expected: Option<Option<Wanted>>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::IF_MATCH, matches),
            (header::IF_NONE_MATCH, none_matches),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        assert_eq!(wanted(&headers).ok(), expected);
    }
}
