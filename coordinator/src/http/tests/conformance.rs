//! Every answer that any test of this folder gets is one that the description announces: its status, its
//! media type, its shape, and the code of a refusal.

use super::world::Answer;
use crate::http::openapi::Description;
use crate::http::routes;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| Description::new(routes::table().into_parts().0).document());

pub fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let what = format!("{method} {path} answers {}", answer.status);
    // A preflight, or a method that the path does not have.
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        return;
    }
    let status = operation["responses"].get(answer.status.as_str());
    let text = String::from_utf8_lossy(&answer.body);
    let documented = status.unwrap_or_else(|| panic!("{what}, which is not described: {text}"));
    let Some(content) = documented.get("content") else {
        assert!(answer.body.is_empty(), "{what} with a body: {text}");
        return;
    };
    let media = answer.header("content-type");
    let described = content.get(media);
    let described = described.unwrap_or_else(|| panic!("{what} as {media}, not as {content}"));
    if let Some(schema) = described.get("schema")
        && *method != Method::HEAD
    {
        let faults = faults(schema, &answer.json());
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{text}");
    }
}

/// What is described of this path; what is written out in a template goes before its variables.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (parts, given) = (template.split('/'), path.split('/'));
        parts.clone().count() == given.clone().count()
            && parts
                .zip(given)
                .all(|(part, given)| part.starts_with('{') || part == given)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let fitting = paths.filter(|(template, _)| fits(template));
    let (_, methods) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    let method = match *method {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    methods.get(method.as_str().to_ascii_lowercase())
}

fn faults(schema: &Value, body: &Value) -> Vec<String> {
    let rooted = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    let compiled = jsonschema::validator_for(&rooted).unwrap();
    let faults = compiled.iter_errors(body);
    faults
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}
