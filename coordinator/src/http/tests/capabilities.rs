//! `/capabilities` against the contract.

use super::fixtures::deploy;
use super::world::World;
use rstest::rstest;
use serde_json::{Value, json};

fn checking() -> Value {
    json!({"name": "checking", "description": "Checks", "script": "deploy", "text": "Check first."})
}

fn helper() -> Value {
    json!({
        "name": "helper", "description": "Helps", "type": "autonomous",
        "system_prompt": "You help.", "capabilities": ["checking"],
    })
}

/// A script, a capability with it, and an agent that has the capability.
async fn equipped() -> World {
    let world = World::new().await;
    for (path, body) in [
        ("/scripts", deploy()),
        ("/capabilities", checking()),
        ("/agents", helper()),
    ] {
        let answer = world.send("POST", path, body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }
    world
}

#[tokio::test]
async fn one_is_shown_whole_and_the_list_says_what_is_there() {
    let world = equipped().await;
    let notes = json!({"name": "notes", "description": "", "mcp_servers": {"b": {}, "a": {}}});
    world.send("POST", "/capabilities", notes).await;
    let mut shown = world.ask("GET", "/capabilities/checking").await.json();
    let times = shown.as_object_mut().unwrap();
    assert_eq!(times.remove("created_at"), times.remove("modified_at"));
    let expected = json!({
        "name": "checking", "description": "Checks", "type": "script", "script": "deploy",
        "text": "Check first.", "version": 1,
    });
    assert_eq!(shown, expected);
    let list = world.ask("GET", "/capabilities").await.json();
    let without_times = |index: usize| {
        let mut summary = list[index].clone();
        let fields = summary.as_object_mut().unwrap();
        assert!(fields.remove("created_at").is_some() && fields.remove("modified_at").is_some());
        summary
    };
    assert_eq!(
        without_times(0),
        json!({
            "name": "checking", "description": "Checks", "type": "script", "has_script": true,
            "script_name": "deploy", "has_text": true, "has_mcp": false, "mcp_server_names": [],
            "version": 1,
        })
    );
    assert_eq!(
        without_times(1),
        json!({
            "name": "notes", "description": "", "type": "mcp", "has_script": false,
            "script_name": null, "has_text": false, "has_mcp": true, "mcp_server_names": ["b", "a"],
            "version": 1,
        })
    );
}

#[tokio::test]
async fn an_agent_is_shown_with_what_its_capabilities_say_or_raw() {
    let world = equipped().await;
    let resolved = world.ask("GET", "/agents/helper").await.json();
    let prompt = resolved["system_prompt"].as_str().unwrap();
    let parts: Vec<&str> = prompt.split("\n\n---\n\n").collect();
    assert_eq!(parts[..2], ["You help.", "Check first."]);
    assert!(parts[2].starts_with("## Local Script: deploy\n**Description:** Deploys\n"));
    assert!(parts[2].contains("bash scripts/deploy/deploy.sh --env <test|live>"));
    let listed = world.ask("GET", "/agents").await.json();
    assert_eq!(listed[0]["system_prompt"], prompt);
    let raw = world.ask("GET", "/agents/helper?raw=true").await.json();
    assert_eq!(raw["system_prompt"], "You help.");
}

#[tokio::test]
async fn put_and_patch_change_it() {
    let world = equipped().await;
    let path = "/capabilities/checking";
    let put = world.send("PUT", path, checking()).await;
    assert_eq!(
        (put.status.as_u16(), &put.json()["version"]),
        (200, &json!(1))
    );
    let patch = json!({"script": "", "text": null, "description": "", "moon": 1});
    let patched = world.send("PATCH", path, patch).await.json();
    assert_eq!(
        (
            &patched["type"],
            &patched["description"],
            patched.get("script")
        ),
        (&json!("text"), &json!(""), None)
    );
    assert_eq!(patched["version"], 2);
    let new = world
        .send(
            "PUT",
            "/capabilities/other",
            json!({"description": "", "text": "New"}),
        )
        .await;
    assert_eq!(new.status, 201);
}

#[rstest]
#[case::nothing_in_it(json!({}), 400, "invalid_capability")]
#[case::does_not_fit(json!({"type": "text", "text": "a", "script": "deploy"}), 400, "invalid_capability")]
#[case::unknown_script(json!({"script": "nothing"}), 400, "broken_reference")]
#[case::bad_name(json!({"name": "a b", "text": "a"}), 400, "invalid_name")]
#[case::taken(json!({"name": "checking", "text": "a"}), 409, "already_exists")]
#[case::no_type(json!({"type": "skill", "text": "a"}), 422, "invalid_request")]
#[tokio::test]
async fn what_cannot_be_is_refused(#[case] more: Value, #[case] status: u16, #[case] code: &str) {
    let world = equipped().await;
    let mut body = json!({"name": "new", "description": ""});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let told = world.send("POST", "/capabilities", body).await.error();
    assert_eq!((told.0, told.2.as_str()), (status, code), "{}", told.1);
}

#[tokio::test]
async fn what_is_referred_to_stays() {
    let world = equipped().await;
    let told = world.ask("DELETE", "/capabilities/checking").await.error();
    let detail = json!("Capability is referenced by agents: helper");
    assert_eq!(told, (409, detail, "referenced_by_agents".to_owned()));
    let told = world.ask("DELETE", "/scripts/deploy").await.error();
    let detail = json!("Script is referenced by capabilities: checking");
    assert_eq!(told, (409, detail, "referenced_by_capabilities".to_owned()));
    let both = json!({
        "name": "deployer", "description": "", "type": "procedural", "script": "deploy",
    });
    world.send("POST", "/agents", both).await;
    let (_, detail, _) = world.ask("DELETE", "/scripts/deploy").await.error();
    assert_eq!(
        detail,
        json!("Script is referenced by agents: deployer; capabilities: checking")
    );
    let magic = json!({"capabilities": ["magic"]});
    let told = world.send("PATCH", "/agents/helper", magic).await.error();
    assert_eq!((told.0, told.2.as_str()), (400, "broken_reference"));
    for path in [
        "/agents/helper",
        "/agents/deployer",
        "/capabilities/checking",
        "/scripts/deploy",
    ] {
        assert_eq!(world.ask("DELETE", path).await.status, 204, "{path}");
    }
    let told = world.ask("GET", "/capabilities/checking").await.error();
    let detail = json!("Capability not found: checking");
    assert_eq!(told, (404, detail, "capability_not_found".to_owned()));
}
