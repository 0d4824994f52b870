//! Every route of the router's own table against every way of not being allowed in.

use super::fixtures::deploy;
use super::world::{HOST, TOKEN, World};
use crate::http::table;
use crate::http::table::{Entry, Route};
use axum::body::Body;
use axum::http::Request;
use events::catalog::CatalogEvent;
use events::log::Log as _;
use events::subject::Stream;
use events::{Actor, Envelope, Via};
use rstest::rstest;
use serde_json::json;

fn routes() -> Vec<Route> {
    table().into_parts().0
}

/// A request to the route with these headers, and nothing that any handler would take.
fn request(route: &Route, headers: &[(&str, &str)]) -> Request<Body> {
    let path = route.path.replace("{name}", "a").replace("{id}", "b");
    let request = Request::builder().method(&route.method).uri(path);
    let with = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    headers
        .iter()
        .fold(request, with)
        .body(Body::empty())
        .unwrap()
}

#[rstest]
#[case::no_token(&[("host", HOST)], 401, "Not authenticated")]
#[case::wrong_token(&[("host", HOST), ("authorization", "Bearer cor_x")], 401, "Invalid token")]
#[case::empty_token(&[("host", HOST), ("authorization", "Bearer ")], 401, "Invalid token")]
#[case::basic(&[("host", HOST), ("authorization", "Basic YTpi")], 401, "Invalid token")]
#[tokio::test]
async fn every_route_but_the_open_ones_needs_the_token(
    #[case] headers: &[(&str, &str)],
    #[case] status: u16,
    #[case] detail: &str,
) {
    let world = World::new().await;
    for route in routes() {
        let answer = world.answer(request(&route, headers)).await;
        if route.entry == Entry::Anyone {
            assert_eq!(answer.status, 200, "{route:?}");
            continue;
        }
        let told = answer.error();
        assert_eq!(
            told,
            (status, json!(detail), "unauthenticated".to_owned()),
            "{route:?}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[rstest]
#[case::other_name(&[("host", "evil.example")], "host_not_allowed")]
#[case::no_name(&[], "host_not_allowed")]
#[case::other_page(&[("host", HOST), ("origin", "http://evil.example")], "origin_not_allowed")]
#[case::other_port(&[("host", HOST), ("origin", "http://127.0.0.1:3000")], "origin_not_allowed")]
#[case::sandboxed_page(&[("host", HOST), ("origin", "null")], "origin_not_allowed")]
#[tokio::test]
async fn no_route_answers_what_was_not_meant_for_us(
    #[case] headers: &[(&str, &str)],
    #[case] code: &str,
) {
    let world = World::new().await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [headers, &[("authorization", bearer.as_str())]].concat();
    for route in routes() {
        let answer = world.answer(request(&route, &headers)).await;
        let (status, _, told) = answer.error();
        assert_eq!((status, told.as_str()), (403, code), "{route:?}");
    }
}

#[rstest]
#[case("coordinator.example")]
#[case("localhost:1")]
#[tokio::test]
async fn own_names_and_own_pages_are_let_in(#[case] host: &str) {
    let world = World::new().await;
    let origin = format!("http://{host}");
    let request = Request::get("/health")
        .header("host", host)
        .header("origin", origin);
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.told(), (200, json!({"status": "healthy"})));
}

/// Routes that take a body take it only under its type: a form on another page cannot make one.
#[rstest]
#[case("text/plain")]
#[case("application/x-www-form-urlencoded")]
#[tokio::test]
async fn a_form_is_no_request(#[case] media: &str) {
    let world = World::new().await;
    let paths = [
        ("POST", "/scripts"),
        ("POST", "/agents"),
        ("POST", "/runs"),
        ("PATCH", "/agents/a"),
    ];
    for (method, path) in paths {
        let request = World::request(method, path).header("content-type", media);
        let answer = world.answer(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.error().0, 415, "{method} {path}");
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_narrow() {
    let world = World::new().await;
    for path in ["/", "/health", "/nowhere"] {
        let answer = world.ask("GET", path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{path}"
        );
        assert!(answer.header("x-request-id").starts_with("req_"), "{path}");
    }
}

#[rstest]
#[case("proxy-17", "proxy-17")]
#[case("a b", "req_")]
#[case("", "req_")]
#[tokio::test]
async fn a_proxys_request_id_is_kept_where_it_is_harmless(#[case] given: &str, #[case] kept: &str) {
    let world = World::new().await;
    let request = World::request("GET", "/health").header("x-request-id", given);
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert!(answer.header("x-request-id").starts_with(kept));
}

#[rstest]
#[case("coordinator-cli/0.1.0", Via::Cli)]
#[case("curl/8", Via::Http)]
#[tokio::test]
async fn every_event_names_its_actor_and_the_door(#[case] agent: &str, #[case] via: Via) {
    let world = World::new().await;
    let request = World::request("POST", "/scripts")
        .header("content-type", "application/json")
        .header("user-agent", agent);
    let request = request.body(Body::from(deploy().to_string())).unwrap();
    assert_eq!(world.answer(request).await.status, 201);
    let stored = world
        .log
        .last(Stream::Catalog, "catalog.>")
        .await
        .unwrap()
        .unwrap();
    let envelope = Envelope::<CatalogEvent>::from_bytes(&stored.payload).unwrap();
    assert_eq!(envelope.actor, Actor::new("admin", via));
}
