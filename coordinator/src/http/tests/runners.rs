//! `/runners`, `/runner/join` and `/status`.

use super::world::World;
use events::subject::Stream;
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;

fn joining() -> Value {
    json!({
        "hostname": "web1", "project_dir": "/srv/project", "executor_profile": "default",
        "executor_type": "procedural", "command": "runner",
    })
}

#[tokio::test]
async fn a_runner_learns_once_where_the_broker_is() {
    let world = World::new().await;
    let joined = world.send("POST", "/runner/join", joining()).await;
    let expected = json!({
        "runner_id": "rnr-ef364aa56bdc12bc",
        "broker": {"urls": ["nats://127.0.0.1:4222"], "nkey_seed": "SURUNNER"},
        "heartbeat_interval_seconds": 10,
        "lease_seconds": 30,
        "refused_agents": [],
    });
    assert_eq!(joined.told(), (200, expected));
    let mut own = joining();
    own["runner_id"] = json!("web-1");
    assert_eq!(
        world.send("POST", "/runner/join", own).await.json()["runner_id"],
        "web-1"
    );
}

#[rstest]
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
