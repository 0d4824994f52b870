//! `/agents` against the contract.

use super::fixtures::{deploy, deployer};
use super::world::World;
use rstest::rstest;
use serde_json::{Value, json};

#[tokio::test]
async fn an_agent_is_shown_with_its_scripts_schema_or_raw() {
    let world = World::with_deployer().await;
    let resolved = world.ask("GET", "/agents/deployer").await.json();
    assert_eq!(resolved["parameters_schema"], deploy()["parameters_schema"]);
    assert_eq!(resolved["capabilities"], json!([]));
    assert_eq!(
        (&resolved["type"], &resolved["status"]),
        (&json!("procedural"), &json!("active"))
    );
    let raw = world.ask("GET", "/agents/deployer?raw=true").await.json();
    assert!(raw.get("parameters_schema").is_none());
    assert_eq!(
        (&raw["script"], &raw["version"]),
        (&json!("deploy"), &json!(1))
    );
}

#[tokio::test]
async fn the_list_is_filtered_by_all_tags_and_paged_on_request() {
    let world = World::with_deployer().await;
    let mut nightly = deployer();
    nightly["name"] = json!("nightly");
    nightly["tags"] = json!(["ops", "night"]);
    world.send("POST", "/agents", nightly).await;
    let names = async |path: &str| {
        let list = world.ask("GET", path).await.json();
        let names = list
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone());
        Value::from(names.collect::<Vec<_>>())
    };
    assert_eq!(names("/agents").await, json!(["deployer", "nightly"]));
    assert_eq!(names("/agents?tags=ops,night").await, json!(["nightly"]));
    assert_eq!(names("/agents?tags=none").await, json!([]));
    assert_eq!(names("/agents?limit=1").await, json!(["deployer"]));
    let first = world.ask("GET", "/agents?limit=1").await;
    let link = first.header("link").to_owned();
    let next = link.strip_prefix('<').unwrap();
    let next = next.strip_suffix(">; rel=\"next\"").unwrap();
    assert_eq!(names(next).await, json!(["nightly"]));
    assert_eq!(world.ask("GET", next).await.header("link"), "");
    assert_eq!(names("/agents?prefix=ni").await, json!(["nightly"]));
    assert_eq!(names("/agents?status=inactive").await, json!([]));
    assert_eq!(names("/agents?type=autonomous").await, json!([]));
    assert_eq!(
        names("/agents?script=deploy&prefix=d").await,
        json!(["deployer"])
    );
    let no_page = world.ask("GET", "/agents?limit=0").await;
    assert_eq!(no_page.status, 422);
    let no_cursor = world.ask("GET", "/agents?limit=1&cursor=nightly!").await;
    assert_eq!(no_cursor.error().2, "invalid_cursor");
}

#[tokio::test]
async fn put_patch_and_status_change_it() {
    let world = World::with_deployer().await;
    let mut body = deployer();
    body["description"] = json!("Put");
    let put = world.send("PUT", "/agents/deployer", body.clone()).await;
    assert_eq!(
        (put.status.as_u16(), &put.json()["version"]),
        (200, &json!(2))
    );
    assert_eq!(
        world.send("PUT", "/agents/deployer", body).await.json()["version"],
        2
    );
    let patch = json!({"description": null, "tags": [], "timeout_seconds": 7});
    let patched = world.send("PATCH", "/agents/deployer", patch).await.json();
    assert_eq!(patched["description"], "Put");
    assert_eq!(
        (&patched["tags"], &patched["timeout_seconds"]),
        (&json!([]), &json!(7))
    );
    let inactive = json!({"status": "inactive"});
    let status = world
        .send("PATCH", "/agents/deployer/status", inactive)
        .await;
    assert_eq!(
        (status.status.as_u16(), &status.json()["status"]),
        (200, &json!("inactive"))
    );
    let run = json!({"agent_name": "deployer", "parameters": {"env": "test"}});
    let refused = world.send("POST", "/runs", run).await.error();
    assert_eq!((refused.0, refused.2.as_str()), (409, "agent_inactive"));
}

#[rstest]
#[case::unknown_script(json!({"script": "gone"}), 400, "broken_reference")]
#[case::no_script(json!({"script": ""}), 400, "invalid_agent")]
#[case::name(json!({"name": "a b"}), 400, "invalid_name")]
#[case::kind(json!({"type": "magic"}), 422, "invalid_request")]
#[case::status(json!({"status": "asleep"}), 422, "invalid_request")]
#[case::hook(json!({"hooks": {"on_run_start": {"type": "agent", "agent_name": "x", "extra": 1}}}), 422, "invalid_request")]
#[tokio::test]
async fn what_no_agent_can_be_is_refused(
    #[case] change: Value,
    #[case] status: u16,
    #[case] code: &str,
) {
    let world = World::with_deployer().await;
    let mut body = deployer();
    body["name"] = json!("other");
    for (field, value) in change.as_object().unwrap() {
        body[field] = value.clone();
    }
    let told = world.send("POST", "/agents", body).await.error();
    assert_eq!((told.0, told.2.as_str()), (status, code), "{}", told.1);
}

#[rstest]
#[case("GET", json!(null))]
#[case("PATCH", json!({"description": "x"}))]
#[case("DELETE", json!(null))]
#[tokio::test]
async fn an_unknown_agent_is_not_found(#[case] method: &str, #[case] body: Value) {
    let world = World::new().await;
    let told = world.send(method, "/agents/gone", body).await.error();
    assert_eq!(
        told,
        (
            404,
            json!("Agent not found: gone"),
            "agent_not_found".to_owned()
        )
    );
}
