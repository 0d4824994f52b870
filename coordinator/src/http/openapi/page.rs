//! The page that shows the description: text and one style. It runs nothing and loads nothing, so it
//! works wherever the coordinator does.

use crate::http::page::policy_for;
use axum::http::HeaderValue;
use serde_json::{Map, Value};
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// The page, and what a browser may do with it.
pub fn of(document: &Value) -> (String, HeaderValue) {
    let mut body = String::new();
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        let _ = write!(body, "<h2 id=\"{0}\">{0}</h2>", escaped(name));
        for (path, methods) in fields(&document["paths"]) {
            for (method, operation) in fields(methods) {
                if operation["tags"][0] == name {
                    show(&mut body, path, method, operation);
                }
            }
        }
    }
    body.push_str("<h2 id=\"shapes\">Shapes</h2>");
    for (name, schema) in fields(&document["components"]["schemas"]) {
        let name = escaped(name);
        let _ = write!(
            body,
            "<details id=\"{name}\"><summary><code>{name}</code></summary>{}</details>",
            schema_text(schema)
        );
    }
    let tags = list(&document["tags"]);
    let links = tags.map(|tag| escaped(text(&tag["name"])));
    let links: Vec<String> = links
        .map(|tag| format!("<a href=\"#{tag}\">{tag}</a>"))
        .collect();
    let about = escaped(text(&document["info"]["description"]));
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Coordinator API</title><style>{STYLE}</style></head><body><h1>Coordinator API {}</h1>\
         <p>{about} For programs: <a href=\"/openapi.json\">openapi.json</a>.</p>\
         <nav>{} <a href=\"#shapes\">shapes</a></nav>{body}</body></html>",
        escaped(text(&document["info"]["version"])),
        links.join(" "),
    );
    (page, policy_for(STYLE))
}

fn show(out: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        out,
        "<details><summary><b>{}</b> <code>{}</code> {}</summary>",
        method.to_uppercase(),
        escaped(path),
        escaped(text(&operation["summary"])),
    );
    if let Some(about) = operation["description"].as_str() {
        let _ = write!(out, "<p>{}</p>", escaped(about));
    }
    let _ = write!(out, "<p>Needs: {}.</p>", needs(&operation["security"]));
    let parameters = list(&operation["parameters"])
        .map(parameter)
        .collect::<String>();
    if !parameters.is_empty() {
        let _ = write!(out, "<table>{parameters}</table>");
    }
    for (media, content) in fields(&operation["requestBody"]["content"]) {
        let _ = write!(
            out,
            "<h4>Body, {}</h4>{}",
            escaped(media),
            schema_text(&content["schema"])
        );
    }
    for (status, answer) in fields(&operation["responses"]) {
        let about = escaped(text(&answer["description"]));
        let _ = write!(out, "<h4>{status} {about}</h4>");
        for (media, content) in fields(&answer["content"]) {
            let codes = list(&content["schema"]["properties"]["code"]["enum"]);
            let codes: Vec<&str> = codes.filter_map(Value::as_str).collect();
            let shown = match codes.is_empty() {
                true => format!(
                    "<p>{}</p>{}",
                    escaped(media),
                    schema_text(&content["schema"])
                ),
                false => format!("<p><code>{}</code></p>", escaped(&codes.join(", "))),
            };
            out.push_str(&shown);
        }
    }
    out.push_str("</details>");
}

fn parameter(parameter: &Value) -> String {
    let required = match parameter["required"] == true {
        true => "required",
        false => "",
    };
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td>{required}</td><td>{}</td><td><code>{}</code></td></tr>",
        escaped(text(&parameter["name"])),
        escaped(text(&parameter["in"])),
        escaped(text(&parameter["description"])),
        escaped(&parameter["schema"].to_string()),
    )
}

fn needs(security: &Value) -> String {
    let roles = list(security).filter_map(|way| way["token"][0].as_str());
    let roles: Vec<&str> = roles.collect();
    match roles.is_empty() {
        true => "nothing".to_owned(),
        false => format!("the role {}", roles.join(" or ")),
    }
}

/// A schema as JSON, its references as links.
fn schema_text(schema: &Value) -> String {
    if schema.is_null() {
        return String::new();
    }
    let text = serde_json::to_string_pretty(schema).unwrap_or_default();
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("#/components/schemas/") {
        let name = after.split('"').next().unwrap_or_default();
        let linked = escaped(name);
        let _ = write!(
            shown,
            "{}<a href=\"#{linked}\">{linked}</a>",
            escaped(before)
        );
        rest = &after[name.len()..];
    }
    shown.push_str(&escaped(rest));
    format!("<pre>{shown}</pre>")
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}
