//! From operations to the document.

use super::doc::{Answer, Body, How, JSON, Parameter, Place};
use super::operation::Operation;
use super::route::Route;
use super::shapes::{Shapes, error};
use crate::http::needs::Needs;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where a document says how to show who one is.
const TOKEN: &str = "token";
const API_KEY: &str = "api_key";

/// The whole description.
pub fn of(routes: &[Route]) -> Value {
    let mut shapes = Shapes::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = operation(route, &mut shapes);
        paths
            .entry(route.path)
            .or_default()
            .insert(method, operation);
    }
    let mut schemas = shapes.into_components();
    schemas.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Coordinator",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "tags": tags(routes),
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security_schemes()},
    })
}

const ABOUT: &str = "Scripts, agents and capabilities in one place, the runners that mirror them, and every run. \
Unknown fields of a request are ignored. Every answer carries X-Request-Id, which stands in the coordinator's log; \
a client may send its own. Lists are whole unless `limit` is given; then `Link: <…>; rel=\"next\"` leads on. \
HEAD is answered wherever GET is. The roles viewer, operator, author and admin each include those before them.";

fn security_schemes() -> Value {
    json!({
        TOKEN: {
            "type": "http",
            "scheme": "bearer",
            "description": "A token (`coordinator token create`), or the one in `admin.token` in the coordinator's data folder.",
        },
        API_KEY: {
            "type": "apiKey",
            "in": "query",
            "name": API_KEY,
            "description": "The same token, for browsers' event streams, which can send no header.",
        },
    })
}

fn operation(route: &Route, shapes: &mut Shapes) -> Value {
    let known = Operation::of(route);
    let doc = &route.doc;
    let mut shown = json!({
        "operationId": doc.id,
        "tags": [tag(route)],
        "summary": doc.summary,
    });
    if !doc.about.is_empty() {
        shown["description"] = doc.about.into();
    }
    let parameters = parameters(&known, shapes);
    if !parameters.is_empty() {
        shown["parameters"] = parameters.into();
    }
    if let Some(body) = &known.body {
        shown["requestBody"] = request_body(body, known.body_required, shapes);
    }
    shown["responses"] = Value::Object(responses(&known, shapes));
    shown["security"] = security(route.needs);
    shown
}

/// The resource: how the path begins.
fn tag(route: &Route) -> &'static str {
    let first = route.path.split('/').nth(1).unwrap_or_default();
    match first {
        "scripts" | "agents" | "capabilities" | "pins" | "runs" | "sessions" | "runners"
        | "runner" | "lanes" | "tokens" | "audit" | "events" | "sse" => first,
        _ => "system",
    }
}

fn tags(routes: &[Route]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for route in routes {
        if !names.contains(&tag(route)) {
            names.push(tag(route));
        }
    }
    names
        .into_iter()
        .map(|name| json!({"name": name}))
        .collect()
}

fn parameters(known: &Operation, shapes: &mut Shapes) -> Vec<Value> {
    let mut shown: Vec<Value> = known
        .parameters
        .iter()
        .map(|parameter| single(parameter, shapes))
        .collect();
    for query in &known.queries {
        shown.extend(shapes.query(*query));
    }
    shown
}

fn single(parameter: &Parameter, shapes: &mut Shapes) -> Value {
    let (place, required) = match parameter.place {
        Place::Path => ("path", true),
        Place::Header => ("header", false),
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": required,
        "description": parameter.about,
        "schema": shapes.taken(parameter.shape),
    })
}

fn request_body(body: &Body, required: bool, shapes: &mut Shapes) -> Value {
    let schema = match body.how {
        How::Whole => shapes.taken(body.shape),
        How::Named => shapes.named(body.shape),
        How::Patch => shapes.patch(body.shape),
    };
    let mut content = Map::new();
    content.insert(JSON.to_owned(), json!({"schema": schema}));
    for media in body.files {
        content.insert((*media).to_owned(), json!({}));
    }
    json!({"required": required, "content": content})
}

fn responses(known: &Operation, shapes: &mut Shapes) -> Map<String, Value> {
    let mut shown: BTreeMap<String, Value> = BTreeMap::new();
    for Answer {
        status,
        media,
        shape,
    } in &known.answers
    {
        let answer = shown
            .entry(status.to_string())
            .or_insert_with(|| json!({"description": meaning(*status)}));
        match shape {
            Some(shape) => answer["content"][media] = json!({"schema": shapes.given(*shape)}),
            None if *media != JSON => answer["content"][media] = json!({}),
            None => {}
        }
        for (name, about) in &known.answer_headers {
            answer["headers"][name] = json!({"description": about, "schema": {"type": "string"}});
        }
    }
    for (status, codes) in &known.refusals {
        let refusal = json!({
            "description": meaning(*status),
            "content": {JSON: {"schema": {
                "$ref": "#/components/schemas/Error",
                "properties": {"code": {"enum": codes}},
            }}},
        });
        shown.insert(status.to_string(), refusal);
    }
    shown.into_iter().collect()
}

fn meaning(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Answer")
}

/// OpenAPI 3.1 lets any scheme name the roles that are needed.
fn security(needs: Needs) -> Value {
    let mut ways = Vec::new();
    for role in needs.roles() {
        ways.push(json!({TOKEN: [role.as_str()]}));
        if needs.streams {
            ways.push(json!({API_KEY: [role.as_str()]}));
        }
    }
    ways.into()
}
