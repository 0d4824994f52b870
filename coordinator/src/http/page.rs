//! The two answers that need no token: that we are there, and a page that says what this is.
//!
//! The page is text and one style; it runs nothing and loads nothing.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// We answer.
#[derive(Serialize, JsonSchema)]
pub struct Health {
    status: &'static str,
}

const PAGE: &str = include_str!("page.html");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy_for(style()));

pub async fn health() -> Json<Health> {
    Json(Health { status: "healthy" })
}

pub async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY.clone())];
    (policy, Html(PAGE)).into_response()
}

/// Allows a page its own style by its hash, and nothing else.
pub fn policy_for(style: &str) -> HeaderValue {
    let hash = STANDARD.encode(Sha256::digest(style));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 is plain ASCII")
}

fn style() -> &'static str {
    let (_, rest) = PAGE.split_once("<style>").expect("the page has a style");
    rest.split_once("</style>").expect("the style ends").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_runs_and_loads_nothing() {
        for forbidden in [
            "<script",
            "src=",
            "href=\"http",
            "url(",
            "style=",
            "onclick",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }
}
