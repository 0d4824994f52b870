//! `/lanes` and pins.

use super::world::World;
use rstest::rstest;
use serde_json::{Value, json};

#[tokio::test]
async fn a_lane_says_what_it_holds_and_what_waits_in_it() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let lanes = world.ask("GET", "/lanes").await.json();
    let [lane] = &lanes.as_array().unwrap()[..] else {
        panic!("{lanes}");
    };
    assert_eq!(lane["tags"], json!(["bash", "type:procedural"]));
    assert_eq!(lane["agents"], json!(["deployer"]));
    assert_eq!(
        (&lane["scripts"][0]["name"], &lane["scripts"][0]["version"]),
        (&json!("deploy"), &json!(1))
    );
    assert_eq!((&lane["waiting"], &lane["running"]), (&json!(1), &json!(0)));
    let run = world.ask("GET", &format!("/runs/{run_id}")).await.json();
    assert_eq!(lane["waiting_since"], run["created_at"]);
    let id = lane["lane"].as_str().unwrap();
    assert_eq!(
        world.ask("GET", &format!("/lanes/{id}")).await.json(),
        *lane
    );
    world.executed(&run_id).await;
    world.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    let lane = world.ask("GET", &format!("/lanes/{id}")).await.json();
    assert_eq!(
        (&lane["waiting"], &lane["waiting_since"]),
        (&json!(0), &Value::Null)
    );
}

#[rstest]
#[case("none")]
#[case("09d49a2fec45bf89fa092eac8b5af33c")]
#[tokio::test]
async fn a_lane_that_nothing_needs_is_not_there(#[case] id: &str) {
    let world = World::new().await;
    let told = world.ask("GET", &format!("/lanes/{id}")).await.error();
    assert_eq!((told.0, told.2.as_str()), (404, "lane_not_found"));
}

#[tokio::test]
async fn a_pin_comes_and_goes() {
    let world = World::with_deployer().await;
    let path = "/scripts/deploy/pins";
    let gpu = json!({"tags": ["gpu", "eu"]});
    let pinned = world.send("POST", path, gpu.clone()).await;
    assert_eq!(pinned.status, 201);
    let pin = pinned.json();
    assert_eq!(
        (
            &pin["script"],
            &pin["tags"],
            pin.get("runner"),
            &pin["runners"]
        ),
        (&json!("deploy"), &json!(["eu", "gpu"]), None, &json!([]))
    );
    assert_eq!(world.send("POST", path, gpu).await.status, 200);
    assert_eq!(world.ask("GET", "/pins").await.json(), json!([pin]));
    assert_eq!(world.ask("GET", path).await.json(), json!([pin]));
    let lane = world
        .ask("GET", &format!("/lanes/{}", pin["lane"].as_str().unwrap()))
        .await;
    assert_eq!(lane.json()["scripts"][0]["name"], "deploy");

    let told = world
        .ask("DELETE", "/scripts/deploy/pins?tags=gpu")
        .await
        .error();
    assert_eq!((told.0, told.2.as_str()), (404, "pin_not_found"));
    let gone = world
        .ask("DELETE", "/scripts/deploy/pins?tags=gpu,eu")
        .await;
    assert_eq!(gone.status, 204);
    assert_eq!(world.ask("GET", "/pins").await.json(), json!([]));
    assert_eq!(world.ask("DELETE", path).await.status, 404);
}

#[rstest]
#[case::nowhere("deploy", json!({}), 400, "pinned_nowhere")]
#[case::both("deploy", json!({"runner": "web-1", "tags": ["a"]}), 400, "pinned_nowhere")]
#[case::unknown_runner("deploy", json!({"runner": "web-1"}), 404, "runner_not_found")]
#[case::reserved("deploy", json!({"tags": ["host:web"]}), 400, "invalid_tag")]
#[case::unknown_script("other", json!({"tags": ["gpu"]}), 404, "script_not_found")]
#[tokio::test]
async fn a_pin_that_cannot_be_is_refused(
    #[case] script: &str,
    #[case] body: Value,
    #[case] status: u16,
    #[case] code: &str,
) {
    let world = World::with_deployer().await;
    let path = format!("/scripts/{script}/pins");
    let told = world.send("POST", &path, body).await.error();
    assert_eq!((told.0, told.2.as_str()), (status, code), "{}", told.1);
}
