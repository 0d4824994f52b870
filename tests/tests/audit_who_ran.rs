//! Months later: which bytes ran where, when, for whom, through what, and with what result. Told of
//! runs that are there, and of those whose steps retention has dropped, whole or in half.

use reqwest::Method;
use serde_json::{Value, json};
use std::process::Output;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

async fn ask(coordinator: &Coordinator, path: &str) -> Value {
    let answer = coordinator.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

async fn who_ran(coordinator: &Coordinator, what: &str) -> Vec<Value> {
    let body = ask(coordinator, &format!("/audit/who-ran/{what}")).await;
    body["runs"].as_array().unwrap().clone()
}

/// Once as many runs are noted.
async fn noted(coordinator: &Coordinator, what: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} runs of {what} are noted"), async || {
        let runs = who_ran(coordinator, what).await;
        (runs.len() == count).then_some(runs)
    })
    .await
}

fn ids(runs: &[Value]) -> Vec<&str> {
    let ids = runs.iter().map(|run| run["run_id"].as_str().unwrap());
    ids.collect()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8([&out[..], &err[..]].concat()).unwrap()
}

/// Drops the steps before this sequence, as retention does.
async fn dropped_before(nats: &Nats, sequence: u64) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream("RUNS").await.unwrap();
    stream.purge().sequence(sequence).await.unwrap();
}

/// Version 1 ran well by the command line, version 2 badly; one run was stopped by hand before anybody
/// had it, and one was repeated.
async fn some_runs(coordinator: &Coordinator) -> [String; 4] {
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("deploy", "echo '{\"v\": 1}'\n").await;
    let by_cli = coordinator.cli(&["agent", "run", "deploy", "-p", "to=staging", "-o", "json"]);
    let first: Value = serde_json::from_slice(&by_cli.stdout).unwrap();
    let first = first["run_id"].as_str().unwrap().to_owned();
    let change = json!({"script_content": "exit 3\n"});
    let changed = coordinator.send(Method::PATCH, "/scripts/deploy", Some(change));
    assert!(changed.await.status.is_success());
    let second = coordinator.request("deploy", json!({})).await;
    coordinator.ends(&second).await;
    let retry = format!("/runs/{second}/retry");
    let again = coordinator.post(&retry, json!({})).await.body;
    let again = again["run_id"].as_str().unwrap().to_owned();
    coordinator.ends(&again).await;
    drop(runner);
    let waiting = coordinator.request("deploy", json!({})).await;
    assert!(coordinator.cli(&["run", "stop", &waiting]).status.success());
    [first, second, again, waiting]
}

#[tokio::test]
async fn what_ran_is_known_when_its_steps_are_gone() {
    let nats = Nats::start().await;
    let mut coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let [first, second, again, stopped] = some_runs(&coordinator).await;
    let all = noted(&coordinator, "deploy", 4).await;
    assert_eq!(ids(&all), [&stopped, &again, &second, &first]);

    let by_cli = &all[3];
    assert_eq!(by_cli["through"], "cli");
    assert_eq!(by_cli["actor"], json!({"name": "admin", "via": "cli"}));
    assert_eq!(
        [
            &by_cli["status"],
            &by_cli["script_version"],
            &by_cli["agent_version"]
        ],
        [&json!("completed"), &json!(1), &json!(1)]
    );
    assert_eq!(
        [&by_cli["exit_code"], &by_cli["result_bytes"]],
        [&json!(0), &json!(7)]
    );
    for field in [
        "hostname",
        "runner_id",
        "parameters_digest",
        "started_at",
        "completed_at",
    ] {
        assert!(by_cli[field].is_string(), "{field}: {by_cli:#}");
    }
    assert_eq!(all[1]["through"], format!("http, retry of {second}"));
    assert_eq!(
        (&all[1]["reason"], &all[1]["exit_code"]),
        (&json!("exit_code"), &json!(3))
    );
    assert_eq!(all[0]["stopped_by"], json!({"name": "admin", "via": "cli"}));

    let old = who_ran(&coordinator, "deploy@1").await;
    assert_eq!(ids(&old), [&first]);
    let digest = old[0]["digest"].as_str().unwrap();
    for what in [digest, &digest[..15]] {
        assert_eq!(ids(&who_ran(&coordinator, what).await), [&first], "{what}");
    }
    let failed = who_ran(&coordinator, "deploy?status=failed&limit=1").await;
    assert_eq!(ids(&failed), [&again]);

    // Half of the second run is gone, and all before it.
    let step = ask(&coordinator, &format!("/audit/timeline/run/{second}")).await;
    let steps = step["entries"].as_array().unwrap();
    assert_eq!(steps.len(), 4, "{step:#}");
    let half = steps[1]["seq"].as_u64().unwrap();
    dropped_before(&nats, half).await;
    coordinator.kill();
    std::fs::remove_dir_all(coordinator.data_dir().join("projection")).unwrap();
    coordinator.start_again().await;
    assert_eq!(
        who_ran(&coordinator, "deploy").await,
        all,
        "rebuilt as it was"
    );
    let verified = coordinator.cli(&["audit", "verify", "--rebuild"]);
    assert!(verified.status.success(), "{verified:?}");

    for gone in [&first, &second] {
        let run = ask(&coordinator, &format!("/runs/{gone}")).await;
        assert_eq!(
            (&run["steps_gone"], &run["agent_name"]),
            (&json!(true), &json!("deploy"))
        );
        let stop = coordinator
            .post(&format!("/runs/{gone}/stop"), json!({}))
            .await;
        assert_eq!(stop.refusal(), (410, "run_gone"));
        let timeline = ask(&coordinator, &format!("/audit/timeline/run/{gone}")).await;
        assert_eq!(timeline["summary"]["run_id"], **gone);
    }
    let shown = said(&coordinator.cli(&["run", "show", &first]));
    assert!(
        shown.contains("its summary in HISTORY") && shown.contains("deploy"),
        "{shown}"
    );
    let shown = said(&coordinator.cli(&["audit", "timeline", &format!("run/{first}")]));
    assert!(
        shown.contains("steps are gone") && shown.contains("host:"),
        "{shown}"
    );
    let logs = said(&coordinator.cli(&["run", "logs", &first]));
    assert!(logs.contains("What is left is its summary"), "{logs}");
    let there = ask(&coordinator, &format!("/runs/{again}")).await;
    assert_eq!(there["result_data"]["return_code"], 3, "{there:#}");
}

#[tokio::test]
async fn a_timeline_tells_who_did_what_to_what() {
    let coordinator = Coordinator::start().await;
    some_runs(&coordinator).await;
    noted(&coordinator, "deploy", 4).await;
    let types = async |path: &str| {
        let body = ask(&coordinator, &format!("/audit/timeline/{path}")).await;
        let entries = body["entries"].as_array().unwrap().clone();
        let types = entries
            .iter()
            .map(|e| e["type"].as_str().unwrap().to_owned());
        types.collect::<Vec<_>>()
    };
    assert_eq!(
        types("script/deploy").await,
        [
            "run_stopped",
            "run_failed",
            "run_failed",
            "script_changed",
            "run_completed",
            "script_created"
        ]
    );
    assert_eq!(
        types("script/deploy?type=script_created,run_completed")
            .await
            .len(),
        2
    );
    assert_eq!(
        types("script/deploy?limit=2").await,
        ["run_stopped", "run_failed"]
    );
    assert_eq!(types("agent/deploy?type=run_ended").await.len(), 4);
    let by_admin = types("actor/admin").await;
    assert_eq!(
        by_admin.iter().filter(|t| t.starts_with("run_")).count(),
        4,
        "{by_admin:?}"
    );
    assert!(
        by_admin.contains(&"agent_created".to_owned()),
        "{by_admin:?}"
    );
    assert!(types("script/deploy?until=1d").await.is_empty());
    assert_eq!(types("script/deploy?since=1h").await.len(), 6);
    let runner = ask(&coordinator, "/audit/who-ran/deploy@1").await["runs"][0]["runner_id"].clone();
    let runner = runner.as_str().unwrap();
    let of_runner = types(&format!("runner/{runner}")).await;
    for said in ["registered", "synced", "run_completed", "run_failed"] {
        assert!(
            of_runner.iter().any(|told| told == said),
            "{said}: {of_runner:?}"
        );
    }
    assert_eq!(
        types(&format!("runner/{runner}?actor=nobody")).await.len(),
        0
    );

    let table = said(&coordinator.cli(&["audit", "timeline", "script/deploy"]));
    for part in [
        "script/deploy v2",
        "script changed",
        "deploy v2 on",
        "failed (exit_code 3)",
        "cli",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let table = said(&coordinator.cli(&["audit", "who-ran", "deploy@2", "--limit", "1"]));
    assert!(
        table.contains("deploy v2") && table.contains("there may be more"),
        "{table}"
    );
}

#[tokio::test]
async fn a_run_that_goes_on_is_told_apart() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("deploy", "true\n").await;
    let id = coordinator.request("deploy", json!({})).await;
    for path in ["/audit/who-ran/deploy@1", "/audit/timeline/actor/admin"] {
        let body = ask(&coordinator, path).await;
        assert_eq!(body["unfinished"][0]["run_id"], *id, "{body:#}");
    }
    let table = said(&coordinator.cli(&["audit", "who-ran", "deploy"]));
    assert!(
        table.contains("Not ended:") && table.contains("pending"),
        "{table}"
    );
}

#[tokio::test]
async fn what_is_not_known_is_said_to_be() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("deploy", "true\n").await;
    for (path, refusal) in [
        ("/audit/who-ran/never", (404, "nothing_named")),
        ("/audit/who-ran/deploy@2", (404, "version_not_found")),
        ("/audit/who-ran/deploy@x", (400, "invalid_version")),
        ("/audit/who-ran/a.b", (400, "invalid_name")),
        ("/audit/who-ran/sha256:12", (404, "nothing_with_digest")),
        ("/audit/who-ran/sha256:123456", (404, "nothing_with_digest")),
        ("/audit/timeline/script/never", (404, "nothing_known")),
        ("/audit/timeline/runner/never", (404, "nothing_known")),
        ("/audit/timeline/runner/a.b", (404, "runner_not_found")),
        ("/audit/timeline/actor/nobody", (404, "nothing_known")),
        ("/audit/timeline/run/x", (404, "run_not_found")),
        (
            "/audit/timeline/run/run_0000000000000001",
            (404, "run_not_found"),
        ),
        ("/audit/timeline/lane/x", (400, "unknown_kind")),
        (
            "/audit/timeline/script/deploy?since=soon",
            (422, "invalid_request"),
        ),
        (
            "/audit/timeline/script/deploy?since=1h&until=2h",
            (400, "times_swapped"),
        ),
        (
            "/audit/timeline/script/deploy?cursor=x",
            (400, "invalid_cursor"),
        ),
    ] {
        assert_eq!(coordinator.get(path).await.refusal(), refusal, "{path}");
    }
    let told = said(&coordinator.cli(&["audit", "timeline", "deploy"]));
    assert!(told.contains("script/NAME"), "{told}");
    let told = said(&coordinator.cli(&["audit", "timeline", "script/deploy", "--since", "soon"]));
    assert!(
        told.contains("30m, 2h or 1d ago") && !told.contains("panicked"),
        "{told}"
    );
}
