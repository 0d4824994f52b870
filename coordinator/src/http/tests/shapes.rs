//! The errors that no resource makes: their status, their shape, and that the connection stays.

use super::world::{TOKEN, World};
use crate::access::AdminToken;
use crate::http::body::BODY_MAX_BYTES;
use crate::http::door::Door;
use crate::http::identity::Known;
use crate::http::{Surroundings, Tokens, behind};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use rstest::rstest;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn an_unknown_path_and_a_wrong_verb_are_told_apart() {
    let world = World::new().await;
    let told = world.ask("GET", "/nowhere").await.error();
    assert_eq!(told, (404, json!("Not Found"), "not_found".to_owned()));
    let answer = world.ask("DELETE", "/runs").await;
    assert_eq!(
        answer.error(),
        (
            405,
            json!("Method Not Allowed"),
            "method_not_allowed".to_owned()
        )
    );
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
}

#[tokio::test]
async fn who_has_no_token_does_not_learn_what_exists() {
    let world = World::new().await;
    let request = axum::http::Request::get("/nowhere").header("host", "localhost");
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_body_that_is_no_json_says_so() {
    let world = World::new().await;
    let request = World::request("POST", "/runs").header("content-type", "application/json");
    let answer = world
        .answer(request.body(Body::from("{\"a\":")).unwrap())
        .await;
    let (status, detail, code) = answer.error();
    assert_eq!((status, code.as_str()), (422, "invalid_request"));
    assert_eq!(detail[0]["type"], "json_invalid");
    assert_eq!(detail[0]["loc"], json!(["body"]));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let world = World::new().await;
    let request = World::request("POST", "/runs").header("content-type", "application/json");
    let body = Body::from(vec![b' '; BODY_MAX_BYTES + 1]);
    let answer = world.answer(request.body(body).unwrap()).await;
    assert_eq!(
        (answer.error().0, answer.error().2.as_str()),
        (413, "body_too_large")
    );
}

#[rstest]
#[case("/runs?limit=many", "limit")]
#[case("/runs?status=gone", "status")]
#[case("/runs/run_0123456789abcdef?wait=soon", "wait")]
#[tokio::test]
async fn a_query_that_does_not_fit_says_where(#[case] path: &str, #[case] field: &str) {
    let world = World::new().await;
    let (status, detail, _) = world.ask("GET", path).await.error();
    assert_eq!(status, 422);
    assert_eq!(detail[0]["loc"][0], "query");
    assert!(
        detail[0]["msg"].as_str().unwrap().contains(field),
        "{detail}"
    );
}

/// No handler panics that we know of, so one that does stands behind the same door.
#[tokio::test]
async fn a_panic_is_an_answer() {
    let panicking = Router::new().route("/panic", get(async || -> () { panic!("on purpose") }));
    let admin = AdminToken::parse(TOKEN).unwrap();
    let mut world = World::new().await;
    let known = Known {
        app: world.app.clone(),
        admin,
        tokens: Tokens::Needed,
        last_uses: Arc::default(),
    };
    let door = Door::new(known, Surroundings::default(), vec![]);
    world.router = behind(door, panicking);
    let told = world.ask("GET", "/panic").await.error();
    assert_eq!(
        told,
        (500, json!("Internal Server Error"), "internal".to_owned())
    );
}
