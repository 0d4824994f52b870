//! `/runs/{id}/logs`, whole and followed.

use super::world::World;
use axum::body::Body;
use events::RunId;
use rstest::rstest;
use serde_json::{Value, json};

async fn followed(world: &World, run_id: &RunId, last: Option<&str>) -> String {
    let request = World::request("GET", &format!("/runs/{run_id}/logs"));
    let request = request.header("accept", "text/event-stream");
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("content-encoding"), "");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_whole_output_is_one_document() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let path = format!("/runs/{run_id}/logs");
    let empty = json!({"run_id": run_id, "chunks": [], "next": "0.0", "complete": false});
    assert_eq!(world.ask("GET", &path).await.told(), (200, empty));
    world.written(&run_id).await;
    let at = "2026-11-20T10:00:00Z";
    let chunks = json!([
        {"id": "1.1", "at": at, "attempt": 1, "stream": "stdout", "text": "one\n"},
        {"id": "1.2", "at": at, "attempt": 1, "stream": "stderr", "base64": "/w=="},
        {"id": "1.3", "at": at, "attempt": 1, "stream": "stdout", "gap": 7},
    ]);
    let body = world.ask("GET", &path).await.json();
    assert_eq!((&body["chunks"], &body["next"]), (&chunks, &json!("1.3")));
    let rest = world.ask("GET", &format!("{path}?after=1.2")).await.json();
    assert_eq!(rest["chunks"], json!([chunks[2]]));
    world.executed(&run_id).await;
    world.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    assert_eq!(world.ask("GET", &path).await.json()["complete"], true);
}

#[rstest]
#[case(None, &["1.1", "1.2", "1.3"])]
#[case(Some("1.1"), &["1.2", "1.3"])]
#[case(Some("1.3"), &[])]
#[tokio::test]
async fn who_follows_goes_on_after_the_last_id_and_learns_of_the_end(
    #[case] last: Option<&str>,
    #[case] ids: &[&str],
) {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    world.written(&run_id).await;
    let (text, ()) = tokio::join!(followed(&world, &run_id, last), world.executed(&run_id));
    let found: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(found, ids, "{text}");
    assert!(
        text.ends_with("event: end\ndata: {\"status\":\"completed\"}\n\n"),
        "{text}"
    );
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    assert!(serde_json::from_str::<Value>(data).is_ok());
}

#[tokio::test]
async fn a_last_id_that_is_none_is_refused() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let request = World::request("GET", &format!("/runs/{run_id}/logs"));
    let request = request
        .header("accept", "text/event-stream")
        .header("last-event-id", "x");
    let answer = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (answer.error().0, answer.error().2.as_str()),
        (400, "invalid_last_event_id")
    );
}
