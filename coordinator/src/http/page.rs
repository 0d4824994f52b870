//! The two answers that need no token: that we are there, and a page that says what this is.
//!
//! The page is text and one style; it runs nothing and loads nothing.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");

/// Allows the page's own style by its hash, and nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(style()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 is plain ASCII")
});

pub async fn health() -> Json<Value> {
    Json(json!({"status": "healthy"}))
}

pub async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY.clone())];
    (policy, Html(PAGE)).into_response()
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
