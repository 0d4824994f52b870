//! Scripts that nobody refers to go nowhere, until they are pinned by hand.

use reqwest::Method;
use serde_json::json;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::{Runner, Settings};

async fn holds(runner: &Runner, script: &str, wanted: bool) {
    let link = runner.project_dir().join("scripts").join(script);
    let what = format!("{script} is there: {wanted}");
    eventually(&what, async || (link.exists() == wanted).then_some(())).await;
}

fn said(coordinator: &Coordinator, arguments: &[&str]) -> String {
    let output = coordinator.cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_script_is_pinned_and_taken_back() {
    let coordinator = Coordinator::start().await;
    let named = |id: &str, tags: &str| Settings {
        tags: tags.to_owned(),
        options: vec!["--runner-id".to_owned(), id.to_owned()],
        ..Settings::default()
    };
    let east = coordinator.runner(named("east", "eu")).await;
    let west = coordinator.runner(named("west", "us")).await;
    let tool = json!({"name": "tool", "description": "", "script_file": "t.sh",
        "script_content": "true\n"});
    assert_eq!(coordinator.post("/scripts", tool).await.status, 201);

    let pinned = said(&coordinator, &["script", "pin", "tool", "--runner", "west"]);
    assert_eq!(pinned, "script/tool pinned to runner west\n");
    holds(&west, "tool", true).await;
    assert!(!east.project_dir().join("scripts/tool").exists());
    said(&coordinator, &["script", "pin", "tool", "--tag", "eu"]);
    holds(&east, "tool", true).await;
    let pins = said(&coordinator, &["script", "pins", "tool", "-o", "json"]);
    let pins: serde_json::Value = serde_json::from_str(&pins).unwrap();
    assert_eq!(
        (&pins[0]["runners"], &pins[1]["tags"]),
        (&json!(["west"]), &json!(["eu"]))
    );

    // A new version follows; what is held through two lanes stays until both let it go.
    let path = "/scripts/tool";
    let second = json!({"script_content": "true # 2\n"});
    coordinator.send(Method::PATCH, path, Some(second)).await;
    eventually("the pinned version is the present one", async || {
        let text = std::fs::read_to_string(west.project_dir().join("scripts/tool/t.sh"));
        text.is_ok_and(|text| text.contains("# 2")).then_some(())
    })
    .await;
    said(&coordinator, &["script", "pin", "tool", "--runner", "east"]);
    said(&coordinator, &["script", "unpin", "tool", "--tag", "eu"]);
    said(
        &coordinator,
        &["script", "unpin", "tool", "--runner", "west"],
    );
    holds(&west, "tool", false).await;
    holds(&east, "tool", true).await;

    // A script that goes takes its pins along.
    said(&coordinator, &["script", "delete", "tool"]);
    holds(&east, "tool", false).await;
    assert_eq!(coordinator.get("/pins").await.body, json!([]));
}

#[tokio::test]
async fn a_slip_of_the_pen_is_told() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "true\n").await;
    for (arguments, told) in [
        (
            &["script", "pin", "s", "--runner", "nobody"][..],
            "Runner not found: nobody",
        ),
        (
            &["script", "pin", "gone", "--tag", "a"],
            "Script not found: gone",
        ),
        (&["script", "unpin", "s"], "Script s is not pinned there"),
        (&["script", "pin", "s"], "--runner"),
    ] {
        let output = coordinator.cli(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(told), "{error}");
    }
}
