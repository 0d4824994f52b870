//! `/tokens`: what is shown once, what is kept, and what becomes of it.

use super::world::{HOST, World};
use axum::body::Body;
use axum::http::Request;
use events::log::Log as _;
use events::subject::Stream;
use rstest::rstest;
use serde_json::{Value, json};

/// The token's status and role in the list, and when it came last.
async fn listed(world: &World, name: &str) -> Option<(Value, Value, Value)> {
    let body = world.ask("GET", "/tokens").await.json();
    let tokens = body["tokens"].as_array().unwrap();
    let token = tokens.iter().find(|token| token["name"] == name)?;
    let fields = ["status", "role", "last_used_at"].map(|field| token[field].clone());
    Some(fields.into())
}

async fn with(world: &World, token: &Value) -> u16 {
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let request = Request::get("/runs").header("host", HOST);
    let request = request.header("authorization", bearer);
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    answer.status.as_u16()
}

#[tokio::test]
async fn a_token_is_shown_once_listed_and_taken_back() {
    let world = World::new().await;
    let wanted = json!({"name": "ci", "role": "operator", "ttl": "30d"});
    let made = world.send("POST", "/tokens", wanted.clone()).await;
    assert_eq!(made.status, 201);
    let text = made.json()["token"].clone();
    assert!(made.json()["expires_at"].is_string());
    let list = world.ask("GET", "/tokens").await.json();
    assert!(!list.to_string().contains(text.as_str().unwrap()), "{list}");
    let never = (json!("active"), json!("operator"), Value::Null);
    assert_eq!(listed(&world, "ci").await, Some(never));
    assert_eq!(with(&world, &text).await, 200);
    let (.., last_used) = listed(&world, "ci").await.unwrap();
    assert!(last_used.is_string());
    assert_eq!(world.send("POST", "/tokens", wanted).await.status, 409);
    assert_eq!(world.ask("DELETE", "/tokens/ci").await.status, 204);
    assert_eq!(with(&world, &text).await, 401);
    assert_eq!(listed(&world, "ci").await, None);
    assert_eq!(world.ask("DELETE", "/tokens/ci").await.status, 404);
}

#[tokio::test]
async fn only_what_a_token_hashes_to_is_stored() {
    let world = World::new().await;
    let wanted = json!({"name": "ci", "role": "viewer"});
    let made = world.send("POST", "/tokens", wanted).await.json();
    let text = made["token"].as_str().unwrap();
    let stored = world.log.last(Stream::Catalog, "catalog.token.ci").await;
    let stored = String::from_utf8(stored.unwrap().unwrap().payload.to_vec()).unwrap();
    assert!(
        !stored.contains(text) && stored.contains("sha256:"),
        "{stored}"
    );
    assert!(stored.contains(r#""name":"admin""#), "{stored}");
}

#[rstest]
#[case::role(json!({"role": "root"}), 422)]
#[case::no_role(json!({"name": "x"}), 422)]
#[case::ttl(json!({"role": "viewer", "ttl": "soon"}), 422)]
#[case::no_time(json!({"role": "viewer", "ttl": "0s"}), 422)]
#[case::name(json!({"role": "viewer", "name": "a b"}), 422)]
#[case::reserved(json!({"role": "viewer", "name": "admin"}), 400)]
#[tokio::test]
async fn what_cannot_be_meant_is_refused(#[case] body: Value, #[case] status: u16) {
    let world = World::new().await;
    let answer = world.send("POST", "/tokens", body).await;
    assert_eq!(answer.status, status);
}

#[tokio::test]
async fn a_token_for_a_runner_ends_by_itself_and_one_without_a_name_gets_one() {
    let world = World::new().await;
    let made = world
        .send("POST", "/tokens", json!({"role": "runner"}))
        .await;
    let made = made.json();
    assert!(made["expires_at"].is_string(), "{made}");
    assert!(made["name"].as_str().unwrap().starts_with("runner-"));
    let answer = world.ask("DELETE", "/tokens/admin").await;
    assert_eq!(answer.error().2, "token_is_a_file");
}
