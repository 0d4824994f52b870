//! `/runners`, `/runner/join` and `/status`.

use super::world::{HOST, TOKEN, World};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::subject::Stream;
use nkeys::KeyPair;
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;

/// Somebody's.
const KEY: &str = "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN";

fn joining() -> Value {
    json!({
        "hostname": "web1", "project_dir": "/srv/project", "executor_profile": "default",
        "executor_type": "procedural", "command": "runner",
        "public_key": KEY,
    })
}

#[tokio::test]
async fn a_runner_learns_once_where_the_broker_is() {
    let world = World::new().await;
    let joined = world.send("POST", "/runner/join", joining()).await;
    let expected = json!({
        "runner_id": "rnr-ef364aa56bdc12bc",
        "broker": {"urls": ["nats://127.0.0.1:4222"], "nkey_seed": null},
        "heartbeat_interval_seconds": 10,
        "lease_seconds": 30,
        "refused_agents": [],
    });
    assert_eq!(joined.told(), (200, expected));
    let mut own = joining();
    own["runner_id"] = json!("web-1");
    own["public_key"] = json!(KeyPair::new_user().public_key());
    assert_eq!(
        world.send("POST", "/runner/join", own).await.json()["runner_id"],
        "web-1"
    );
}

/// What a runner signs, for the header `Authorization`.
fn proof(id: &str, pair: &KeyPair) -> String {
    let signed = pair.sign(&events::member::proof_text(&id.parse().unwrap()));
    let signed = URL_SAFE_NO_PAD.encode(signed.unwrap());
    format!("Nkey {id}:{}:{signed}", pair.public_key())
}

async fn join(world: &World, shown: &str, id: &str, pair: &KeyPair) -> (u16, String) {
    let mut body = joining();
    body["runner_id"] = json!(id);
    body["public_key"] = json!(pair.public_key());
    let request = Request::post("/runner/join")
        .header("host", HOST)
        .header("content-type", "application/json")
        .header("authorization", shown);
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = world.answer(request).await;
    let code = answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn one_runner_joins_with_a_token_and_comes_back_with_its_key_until_it_is_shut_out() {
    let world = World::new().await;
    let token = async || {
        let made = world
            .send("POST", "/tokens", json!({"role": "runner"}))
            .await;
        format!("Bearer {}", made.json()["token"].as_str().unwrap())
    };
    let (web, db) = (KeyPair::new_user(), KeyPair::new_user());
    let first = token().await;
    assert_eq!(join(&world, &first, "web", &web).await.0, 200);
    // The answer was lost, and then another tries.
    assert_eq!(join(&world, &first, "web", &web).await.0, 200);
    let used = (401, "token_used".to_owned());
    assert_eq!(join(&world, &first, "db", &db).await, used);
    assert_eq!(join(&world, &proof("web", &web), "web", &web).await.0, 200);
    let unknown = (401, "runner_not_joined".to_owned());
    assert_eq!(join(&world, &proof("db", &db), "db", &db).await, unknown);
    assert_eq!(join(&world, &proof("db", &db), "web", &web).await, unknown);

    assert_eq!(world.ask("POST", "/runners/web/revoke").await.status, 200);
    let gone = |told: (u16, String)| assert_eq!(told.0 / 100, 4, "{told:?}");
    gone(join(&world, &proof("web", &web), "web", &web).await);
    gone(join(&world, &first, "web", &web).await);
    let admin = format!("Bearer {TOKEN}");
    let revoked = (403, "runner_revoked".to_owned());
    assert_eq!(join(&world, &admin, "web", &web).await, revoked);
    assert_eq!(
        join(&world, &token().await, "web", &KeyPair::new_user())
            .await
            .0,
        200
    );
    assert_eq!(
        world.ask("POST", "/runners/nobody/revoke").await.status,
        404
    );
}

/// Two coordinators, one token, two runners: one event wins.
#[tokio::test]
async fn a_token_is_used_up_once_also_with_two_coordinators() {
    let world = World::new().await;
    let other = World::beside(&world).await;
    for round in 0..10 {
        let made = world
            .send("POST", "/tokens", json!({"role": "runner"}))
            .await;
        let shown = format!("Bearer {}", made.json()["token"].as_str().unwrap());
        let sequence = *world.app.projections().watch(Stream::Catalog).borrow();
        other
            .app
            .projections()
            .applied(Stream::Catalog, sequence)
            .await;
        let (a, b) = (KeyPair::new_user(), KeyPair::new_user());
        let (id_a, id_b) = (format!("a{round}"), format!("b{round}"));
        let (a, b) = tokio::join!(
            join(&world, &shown, &id_a, &a),
            join(&other, &shown, &id_b, &b)
        );
        let mut told = [a.0, b.0];
        told.sort_unstable();
        assert_eq!(told, [200, 401]);
    }
}

#[rstest]
#[case::no_key(json!({"public_key": null}), 400)]
#[case::no_such_key(json!({"public_key": format!("U{}", "A".repeat(55))}), 400)]
#[case::account_key(json!({"public_key": "A"}), 422)]
#[case::id(json!({"runner_id": "a.b"}), 422)]
#[case::reserved(json!({"runner_id": "coordinator"}), 400)]
#[case::kind(json!({"executor_type": "magic"}), 422)]
#[case::host(json!({"hostname": ""}), 400)]
#[tokio::test]
async fn who_cannot_be_a_runner_is_refused(#[case] change: Value, #[case] status: u16) {
    let world = World::new().await;
    let mut body = joining();
    for (field, value) in change.as_object().unwrap() {
        body[field] = value.clone();
    }
    assert_eq!(
        world.send("POST", "/runner/join", body).await.error().0,
        status
    );
}

/// Nothing was heard of it: it is listed, as stale.
#[tokio::test]
async fn a_runner_has_every_field_of_the_contract() {
    let world = World::with_deployer().await;
    world.registered().await;
    let projections = world.app.projections();
    let applied = projections.applied_within(Stream::Runners, 1, Duration::from_secs(60));
    assert!(applied.await);
    let runner = world.ask("GET", "/runners").await.json()["runners"][0].clone();
    let expected = json!({
        "runner_id": "rnr-1", "hostname": "web1", "project_dir": "/srv",
        "executor_profile": "default", "executor": {"type": "procedural"},
        "tags": ["bash", "type:procedural"], "require_matching_tags": false, "status": "stale",
        "last_heartbeat": null, "seconds_since_heartbeat": null, "running": [], "max_runs": 4,
        "sandbox": {"type": "not_supported"},
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&runner[field], value, "{field}");
    }
    assert_eq!(runner["lanes"].as_object().unwrap().len(), 1, "{runner}");
}

#[tokio::test]
async fn the_status_says_how_things_are() {
    let world = World::with_deployer().await;
    let answer = world.ask("GET", "/status").await;
    let body = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(
        body["broker"],
        json!({
            "mode": "embedded", "url": "nats://127.0.0.1:4222", "server_version": "2.15.1",
            "connected": true, "durability": "process_crash",
        })
    );
    assert_eq!(
        body["counts"],
        json!({"scripts": 1, "agents": 1, "runs_live": 0, "runners_online": 0})
    );
    assert_eq!(body["projection"]["catalog_seq"], 2);
}
