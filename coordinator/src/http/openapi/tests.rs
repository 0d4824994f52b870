//! The description is what the routes say, and says enough.

use super::operation::Operation;
use super::{Description, Route};
use crate::http::routes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn routes() -> Vec<Route> {
    routes::table().into_parts().0
}

fn document() -> Value {
    Description::new(routes()).document()
}

/// The file among the published schemas is what the routes say now; `UPDATE=1` writes it.
#[test]
fn the_published_file_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/openapi.json");
    let generated = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == generated,
        "schemas/openapi.json is out of date: run this test with UPDATE=1"
    );
}

#[test]
fn every_route_has_a_name_of_its_own_a_summary_and_an_answer() {
    let mut names = BTreeSet::new();
    for route in routes() {
        let operation = Operation::of(&route);
        assert!(names.insert(route.doc.id), "{} twice", route.doc.id);
        assert!(!route.doc.summary.is_empty(), "{}", route.path);
        assert!(
            !operation.answers.is_empty(),
            "{}: what does it answer?",
            route.path
        );
        let body_is_known = operation.body.is_some() == operation.reads_body;
        assert!(body_is_known, "{}: which body?", route.path);
    }
}

#[test]
fn every_segment_of_a_path_is_described_once() {
    for (path, methods) in document()["paths"].as_object().unwrap() {
        let segments = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let segments: Vec<&str> = segments.collect();
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array();
            let described = parameters
                .into_iter()
                .flatten()
                .filter(|it| it["in"] == "path");
            let described: Vec<&str> = described.map(|it| it["name"].as_str().unwrap()).collect();
            assert_eq!(described, segments, "{method} {path}");
        }
    }
}

#[test]
fn the_page_runs_and_loads_nothing() {
    let (page, _) = super::page::of(&document());
    for forbidden in [
        "<script",
        "src=",
        "href=\"http",
        "url(",
        "style=",
        "onclick",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("<code>/runs/{id}/explain</code>"));
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let text = document.to_string();
    let references = text.split("\"#/components/schemas/").skip(1);
    for reference in references {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
}
