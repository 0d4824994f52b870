//! Every route of the router's own table against every way of not being allowed in.

use super::fixtures::deploy;
use super::world::{Answer, HOST, TOKEN, World};
use crate::access::hash;
use crate::http::openapi::Route;
use crate::http::routes;
use crate::http::{Peer, Tokens};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use events::catalog::{CatalogEvent, Kind};
use events::log::{Append, Expect, Log as _};
use events::subject::{self, Stream};
use events::token::Token;
use events::{Actor, Envelope, EventId, Role, Timestamp, Via};
use rstest::rstest;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tower::ServiceExt as _;

fn routes() -> Vec<Route> {
    routes::table().into_parts().0
}

/// A request to the route with these headers, and nothing that any handler would take.
fn request(route: &Route, headers: &[(&str, &str)]) -> Request<Body> {
    let path = ["{name}", "{id}", "{version}"];
    let path = path
        .iter()
        .fold(route.path.to_owned(), |path, part| path.replace(part, "9"));
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

/// From an address of its own, so that no wrong token makes the next one wait.
async fn from_afar(world: &World, number: usize, mut request: Request<Body>) -> Answer {
    let address = Ipv4Addr::from(u32::try_from(number).unwrap());
    request.extensions_mut().insert(Peer(address.into()));
    world.answer(request).await
}

/// The status, and what is said where that is a refusal. Other answers are not read: some take a
/// broker to be written.
async fn refusal(world: &World, request: Request<Body>) -> (u16, Value) {
    let response = world.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    if !status.is_client_error() {
        return (status.as_u16(), Value::Null);
    }
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status.as_u16(), serde_json::from_slice(&body).unwrap())
}

fn root() -> Actor {
    Actor::new("root", Via::Cli)
}

/// `<role>-token` is the name, and this its text.
fn token(role: Role, text: &str) -> Token {
    Token {
        name: format!("{role}-token").parse().unwrap(),
        role,
        hash: hash(text),
        expires_at: None,
    }
}

async fn given_out(world: &World, role: Role, text: &str) {
    let (by, token) = (root(), token(role, text));
    world.app.create_token(&by, token).await.unwrap();
}

/// As the first event there is: a token that nobody would have given out like this.
async fn given_out_expired(world: &World, role: Role, text: &str) {
    let token = Token {
        expires_at: Some(Timestamp::UNIX_EPOCH),
        ..token(role, text)
    };
    let envelope = Envelope {
        id: EventId::fresh(),
        at: Timestamp::UNIX_EPOCH,
        actor: root(),
        previous: None,
        event: CatalogEvent::TokenCreated(token),
    };
    let append = Append {
        stream: Stream::Catalog,
        subject: subject::catalog(Kind::Token, envelope.event.name()),
        id: envelope.id,
        payload: envelope.to_bytes(),
        expect: Expect::Stream { sequence: 0 },
    };
    let stored = world.log.append(append).await.unwrap();
    let projections = world.app.projections();
    projections.applied(Stream::Catalog, stored.sequence).await;
}

/// The whole table, as reviewers want to see it: what each role may do.
#[test]
fn the_table_says_who_may_do_what() {
    let line = |route: &Route| {
        let roles = Role::ALL
            .into_iter()
            .filter(|role| route.needs.admits(*role));
        let roles: Vec<&str> = roles.map(Role::as_str).collect();
        let who = match route.needs.admits_anyone() {
            true => "anyone".to_owned(),
            false => roles.join(" "),
        };
        format!("{:42} {:6} {who}", route.path, route.method.as_str())
    };
    let mut lines: Vec<String> = routes().iter().map(line).collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[rstest]
#[case(Role::Viewer)]
#[case(Role::Operator)]
#[case(Role::Author)]
#[case(Role::Admin)]
#[case(Role::Runner)]
#[case(Role::Mcp)]
#[tokio::test]
async fn every_route_takes_its_role_and_no_other(#[case] role: Role) {
    let world = World::new().await;
    given_out(&world, role, "cor_secret").await;
    let headers = [("host", HOST), ("authorization", "Bearer cor_secret")];
    for route in routes() {
        let (status, told) = refusal(&world, request(&route, &headers)).await;
        let refused = status == 403 && told["code"] == "role_needed";
        assert_eq!(refused, !route.needs.admits(role), "{route:?}");
        // What passes is answered by its handler: nothing there, or nothing in the body.
        assert_ne!(status, 401, "{route:?}");
        if refused {
            let told = told["detail"].as_str().unwrap().to_owned();
            assert!(
                told.contains(role.as_str()) && told.contains(&route.needs.named()),
                "{told}"
            );
        }
    }
}

#[rstest]
#[case::no_token(&[("host", HOST)], "Not authenticated")]
#[case::wrong_token(&[("host", HOST), ("authorization", "Bearer cor_x")], "Invalid token")]
#[case::empty_token(&[("host", HOST), ("authorization", "Bearer ")], "Invalid token")]
#[case::basic(&[("host", HOST), ("authorization", "Basic YTpi")], "Invalid token")]
#[case::no_proof(&[("host", HOST), ("authorization", "Nkey web-1:UA:x")], "Invalid token")]
#[case::expired(&[("host", HOST), ("authorization", "Bearer cor_expired")], "Token admin-token has expired")]
#[case::revoked(&[("host", HOST), ("authorization", "Bearer cor_revoked")], "Invalid token")]
#[tokio::test]
async fn every_route_but_the_open_ones_needs_a_token(
    #[case] headers: &[(&str, &str)],
    #[case] detail: &str,
) {
    let world = World::new().await;
    given_out_expired(&world, Role::Admin, "cor_expired").await;
    given_out(&world, Role::Author, "cor_revoked").await;
    let revoked = "author-token".parse().unwrap();
    world.app.revoke_token(&root(), &revoked).await.unwrap();
    for (number, route) in routes().iter().enumerate() {
        let answer = from_afar(&world, number, request(route, headers)).await;
        if route.needs.admits_anyone() {
            assert_eq!(answer.status, 200, "{route:?}");
            continue;
        }
        let expected = (401, json!(detail), "unauthenticated".to_owned());
        assert_eq!(answer.error(), expected, "{route:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

/// What has no route needs a token, too, so that nobody learns what exists; and no role.
#[rstest]
#[case("GET", "/nowhere", 404)]
#[case("DELETE", "/runs", 405)]
#[tokio::test]
async fn what_is_nowhere_is_told_to_who_has_a_token(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
) {
    let world = World::new().await;
    given_out(&world, Role::Viewer, "cor_secret").await;
    let bare = || {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", HOST)
    };
    let answer = world.answer(bare().body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 401);
    let shown = bare().header("authorization", "Bearer cor_secret");
    let answer = world.answer(shown.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, status);
}

#[tokio::test]
async fn strangers_learn_that_it_is_there_and_ready() {
    let world = World::new().await;
    for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let request = Request::get(path).header("host", HOST);
        let answer = world.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["status"]),
            (200, &json!(status))
        );
    }
}

#[tokio::test]
async fn without_tokens_whoever_comes_may_do_everything() {
    let world = World::with(Tokens::NotNeeded).await;
    for headers in [
        &[("host", HOST)][..],
        &[("host", HOST), ("authorization", "Bearer cor_x")],
    ] {
        for route in routes() {
            let (status, _) = refusal(&world, request(&route, headers)).await;
            assert!(!matches!(status, 401 | 403), "{route:?}");
        }
    }
    // And no page elsewhere comes with them.
    let request = Request::get("/runs").header("host", HOST);
    let request = request.header("origin", "http://evil.example");
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 403);
}

/// `EventSource` in a browser sends no headers of ours.
#[rstest]
#[case::events(
    "/scripts/deploy/rollout?x=y&api_key=cor_secret",
    "text/event-stream",
    404
)]
#[case::wrong_key("/scripts/deploy/rollout?api_key=cor_x", "text/event-stream", 401)]
#[case::no_events("/scripts/deploy/rollout?api_key=cor_secret", "application/json", 401)]
#[case::no_stream("/scripts?api_key=cor_secret", "text/event-stream", 401)]
#[tokio::test]
async fn event_streams_take_the_token_in_the_query(
    #[case] path: &str,
    #[case] accept: &str,
    #[case] status: u16,
) {
    let world = World::new().await;
    given_out(&world, Role::Viewer, "cor_secret").await;
    let request = Request::get(path)
        .header("host", HOST)
        .header("accept", accept);
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, status);
}

#[tokio::test]
async fn who_shows_wrong_tokens_waits_and_who_has_a_right_one_does_not() {
    let world = World::new().await;
    let wrong = || {
        let request = Request::get("/runs").header("host", HOST);
        let request = request.header("authorization", "Bearer cor_x");
        world.answer(request.body(Body::empty()).unwrap())
    };
    for _ in 0..5 {
        assert_eq!(wrong().await.status, 401);
    }
    // This one has to wait, and does not before the other is asked.
    let mut waits = std::pin::pin!(wrong());
    let right = world.ask("GET", "/runs");
    let first = tokio::select! {
        biased;
        answer = &mut waits => answer.status,
        answer = right => answer.status,
    };
    assert_eq!(first, 200);
    assert_eq!(waits.await.status, 401);
}

#[rstest]
#[case("//runs", "invalid_path")]
#[case("/scripts/%2e%2e/tokens", "invalid_path")]
#[case("/scripts/a%5cb", "invalid_path")]
#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_refused_first(
    #[case] path: &str,
    #[case] code: &str,
) {
    let world = World::new().await;
    let request = Request::get(path).header("host", "evil.example");
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (400, code));
}

#[tokio::test]
async fn a_page_that_an_operator_named_is_let_in_with_a_token() {
    let world = World::new().await;
    let page = "https://pages.example";
    let asked = Request::options("/runs").header("host", HOST);
    let asked = asked
        .header("origin", page)
        .header("access-control-request-method", "POST");
    let answer = world.answer(asked.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("authorization")
    );
    let plain = Request::get("/runs")
        .header("host", HOST)
        .header("origin", page);
    let answer = world.answer(plain.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 401);
    let request = World::request("GET", "/runs").header("origin", page);
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), page);
    assert!(answer.header("vary").contains("origin"));
    let other = Request::options("/runs").header("host", HOST);
    let other = other.header("origin", "https://evil.example");
    let other = other.header("access-control-request-method", "POST");
    let answer = world.answer(other.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), "");
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

#[tokio::test]
async fn what_the_holder_of_a_token_does_stands_under_its_name() {
    let world = World::new().await;
    given_out(&world, Role::Author, "cor_secret").await;
    let request = Request::post("/scripts")
        .header("host", HOST)
        .header("authorization", "Bearer cor_secret")
        .header("content-type", "application/json");
    let request = request.body(Body::from(deploy().to_string())).unwrap();
    assert_eq!(world.answer(request).await.status, 201);
    let stored = world.log.last(Stream::Catalog, "catalog.script.*").await;
    let stored = stored.unwrap().unwrap();
    let envelope = Envelope::<CatalogEvent>::from_bytes(&stored.payload).unwrap();
    assert_eq!(envelope.actor, Actor::new("author-token", Via::Http));
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
