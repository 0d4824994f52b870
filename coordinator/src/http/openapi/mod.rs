//! The API's description, OpenAPI 3.1, made from the route table and the types of its handlers; and the
//! page that shows it. `schemas/openapi.json` is the copy that a test compares.
//!
//! It knows nothing of what the handlers do, and is not needed to answer anything else.

mod described;
mod doc;
mod document;
mod inputs;
mod operation;
mod page;
mod route;
mod shapes;
#[cfg(test)]
mod tests;

pub use described::Described;
pub use doc::{Doc, How};
pub use route::Route;

use axum::Extension;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// The description of these routes, made when somebody first asks: they do not change while we are up.
#[derive(Clone)]
pub struct Description(Arc<Lazy>);

struct Lazy {
    routes: Vec<Route>,
    text: OnceLock<String>,
    page: OnceLock<(String, HeaderValue)>,
}

impl Description {
    pub fn new(routes: Vec<Route>) -> Self {
        Self(Arc::new(Lazy {
            routes,
            text: OnceLock::new(),
            page: OnceLock::new(),
        }))
    }

    pub fn document(&self) -> Value {
        document::of(&self.0.routes)
    }
}

/// `GET /openapi.json`.
pub async fn json(Extension(description): Extension<Description>) -> Response {
    let text = description
        .0
        .text
        .get_or_init(|| description.document().to_string());
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, text.clone()).into_response()
}

/// `GET /docs`.
pub async fn docs(Extension(description): Extension<Description>) -> Response {
    let page = || page::of(&description.document());
    let (page, policy) = description.0.page.get_or_init(page);
    let policy = [(header::CONTENT_SECURITY_POLICY, policy.clone())];
    (policy, Html(page.clone())).into_response()
}
