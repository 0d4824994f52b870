//! `/runs` and what of `/sessions` a procedural run has, against the contract.

use super::fixtures::runner;
use super::world::World;
use axum::body::Body;
use rstest::rstest;
use serde_json::{Value, json};

fn start() -> Value {
    json!({"type": "start_session", "agent_name": "deployer", "parameters": {"env": "test"}})
}

#[tokio::test]
async fn a_request_answers_with_ids_and_says_that_nobody_is_there() {
    let world = World::with_deployer().await;
    let answer = world.send("POST", "/runs", start()).await;
    let body = answer.json();
    assert_eq!(
        (answer.status.as_u16(), &body["status"]),
        (201, &json!("pending"))
    );
    assert!(body["run_id"].as_str().unwrap().starts_with("run_"));
    assert!(body["session_id"].as_str().unwrap().starts_with("ses_"));
    assert_eq!(body["warnings"][0]["code"], "no_runner");
    assert!(
        body["warnings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("bash"),
        "{body}"
    );
    assert!(body.get("run").is_none());
}

#[tokio::test]
async fn a_run_has_every_field_of_the_contract() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let run = world.ask("GET", &format!("/runs/{run_id}")).await.json();
    let null = [
        "project_dir",
        "parent_session_id",
        "runner_id",
        "error",
        "claimed_at",
        "started_at",
        "completed_at",
        "timeout_at",
        "reason",
        "exit_code",
        "result_data",
    ];
    for field in null {
        assert_eq!(run.get(field), Some(&Value::Null), "{field}");
    }
    let expected = json!({
        "run_id": run_id, "type": "start_session", "agent_name": "deployer", "status": "pending",
        "parameters": {"env": "test"}, "execution_mode": "sync", "script": "deploy",
        "script_version": 1, "attempt": 1, "demands": {"tags": ["bash", "type:procedural"]},
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&run[field], value, "{field}");
    }
}

#[tokio::test]
async fn who_waits_gets_the_end() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let path = format!("/runs/{run_id}?wait=60s");
    let (run, ()) = tokio::join!(world.ask("GET", &path), world.executed(&run_id));
    let run = run.json();
    assert_eq!(
        (&run["status"], &run["exit_code"]),
        (&json!("completed"), &json!(0))
    );
    assert_eq!(run["result_data"], json!({"deployed": true}));
    assert_eq!(run["runner_id"], json!(runner()));
    let session = format!("/sessions/{}", run["session_id"].as_str().unwrap());
    assert_eq!(
        world.ask("GET", &format!("{session}/status")).await.json(),
        json!({"status": "finished"})
    );
    let result = json!({"result_text": null, "result_data": {"deployed": true}});
    assert_eq!(
        world.ask("GET", &format!("{session}/result")).await.told(),
        (200, result)
    );
    let stopped = world
        .ask("POST", &format!("/runs/{run_id}/stop"))
        .await
        .json();
    assert_eq!(
        (&stopped["ok"], &stopped["status"]),
        (&json!(true), &json!("stopped"))
    );
    assert!(stopped["message"].as_str().unwrap().contains("completed"));
}

#[tokio::test]
async fn whoever_waits_is_answered_when_we_go() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    world.closing.cancel();
    let run = world.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    assert_eq!(run.json()["status"], "pending");
    let request = World::request("GET", &format!("/runs/{run_id}/logs"))
        .header("accept", "text/event-stream");
    let events = world.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(events.body, "");
}

#[tokio::test]
async fn a_stop_of_a_waiting_run_ends_it() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let stopped = world.ask("POST", &format!("/runs/{run_id}/stop")).await;
    assert_eq!(
        (stopped.status.as_u16(), &stopped.json()["status"]),
        (200, &json!("stopped"))
    );
    let run = world.ask("GET", &format!("/runs/{run_id}")).await.json();
    assert_eq!(run["status"], "stopped");
}

#[tokio::test]
async fn lists_are_newest_first_filtered_and_paged() {
    let world = World::with_deployer().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, json!(world.requested().await));
    }
    let list = async |query: String| world.ask("GET", &format!("/runs?{query}")).await.json();
    let of = |page: &Value| {
        let runs = page["runs"].as_array().unwrap().iter();
        runs.map(|run| run["run_id"].clone()).collect::<Vec<_>>()
    };
    let first = list("limit=2".to_owned()).await;
    assert_eq!(of(&first), ids[..2]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(format!("limit=2&cursor={cursor}")).await;
    assert_eq!(of(&second), ids[2..]);
    assert!(second.get("next_cursor").is_none());
    assert_eq!(
        of(&list("status=running".to_owned()).await),
        Vec::<Value>::new()
    );
    assert_eq!(
        of(&list("status=pending&agent=deployer".to_owned()).await),
        ids
    );
    assert_eq!(
        of(&list(format!("prefix={}", ids[1].as_str().unwrap())).await),
        ids[1..2]
    );
}

#[tokio::test]
async fn parameters_that_do_not_fit_say_where() {
    let world = World::with_deployer().await;
    let mut body = start();
    body["parameters"] = json!({"env": "moon"});
    let (status, detail, code) = world.send("POST", "/runs", body).await.error();
    assert_eq!(
        (status, code.as_str()),
        (400, "parameter_validation_failed")
    );
    assert_eq!(detail["error"], "parameter_validation_failed");
    assert_eq!(detail["agent_name"], "deployer");
    assert_eq!(detail["validation_errors"][0]["path"], "$.env");
    assert_eq!(
        detail["validation_errors"][0]["schema_path"],
        "/properties/env/enum"
    );
    assert_eq!(detail["parameters_schema"]["required"], json!(["env"]));
}

#[rstest]
#[case::agent(json!({"agent_name": "gone"}), 404, "agent_not_found")]
#[case::no_agent(json!({"agent_name": null}), 422, "invalid_request")]
#[case::kind(json!({"type": "end_session"}), 422, "invalid_request")]
#[case::mode(json!({"execution_mode": "later"}), 422, "invalid_request")]
#[case::session(json!({"session_id": "a b"}), 422, "invalid_request")]
#[case::parameters(json!({"parameters": []}), 422, "invalid_request")]
#[case::timeout(json!({"timeout_seconds": 0}), 422, "invalid_request")]
#[case::resume_nothing(json!({"type": "resume_session"}), 422, "invalid_request")]
#[case::resume_unknown(json!({"type": "resume_session", "session_id": "ses_x"}), 404, "session_not_found")]
#[tokio::test]
async fn what_cannot_run_is_refused(
    #[case] change: Value,
    #[case] status: u16,
    #[case] code: &str,
) {
    let world = World::with_deployer().await;
    let mut body = start();
    for (field, value) in change.as_object().unwrap() {
        body[field] = value.clone();
    }
    let told = world.send("POST", "/runs", body).await.error();
    assert_eq!((told.0, told.2.as_str()), (status, code), "{}", told.1);
    assert_eq!(world.ask("GET", "/runs").await.json(), json!({"runs": []}));
}

#[tokio::test]
async fn a_session_is_taken_once_and_never_resumed() {
    let world = World::with_deployer().await;
    let mut body = start();
    body["session_id"] = json!("mine");
    assert_eq!(
        world.send("POST", "/runs", body.clone()).await.json()["session_id"],
        "mine"
    );
    let told = world.send("POST", "/runs", body).await.error();
    assert_eq!((told.0, told.2.as_str()), (409, "session_taken"));
    let resume =
        json!({"type": "resume_session", "session_id": "mine", "parameters": {"prompt": "x"}});
    let (status, detail, _) = world.send("POST", "/runs", resume).await.error();
    assert_eq!(
        (status, &detail["error"]),
        (400, &json!("procedural_agent_no_resume"))
    );
    assert_eq!(detail["agent_name"], "deployer");
}

#[tokio::test]
async fn one_key_is_one_run() {
    let world = World::with_deployer().await;
    let request = async |body: Value| {
        let request = World::request("POST", "/runs").header("content-type", "application/json");
        let request = request
            .header("idempotency-key", "k1")
            .body(Body::from(body.to_string()));
        world.answer(request.unwrap()).await
    };
    let first = request(start()).await.json();
    assert_eq!(request(start()).await.json()["run_id"], first["run_id"]);
    let mut other = start();
    other["parameters"] = json!({"env": "live"});
    assert_eq!(request(other).await.error().2, "idempotency_key_reused");
}

#[rstest]
#[case("/runs/run_0123456789abcdef")]
#[case("/runs/run_0123456789abcdef/logs")]
#[case("/runs/nonsense")]
#[tokio::test]
async fn an_unknown_run_is_not_found(#[case] path: &str) {
    let world = World::new().await;
    let told = world.ask("GET", path).await.error();
    assert_eq!(
        told,
        (404, json!("Run not found"), "run_not_found".to_owned())
    );
}

#[tokio::test]
async fn a_session_that_runs_has_no_result_and_an_unknown_one_says_so() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let run = world.ask("GET", &format!("/runs/{run_id}")).await.json();
    let path = format!("/sessions/{}/result", run["session_id"].as_str().unwrap());
    let told = world.ask("GET", &path).await.error();
    assert_eq!(
        (told.0, told.1),
        (400, json!("Session not finished or idle"))
    );
    let status = world.ask("GET", "/sessions/gone/status").await;
    assert_eq!(status.told(), (200, json!({"status": "not_existent"})));
    assert_eq!(world.ask("GET", "/sessions/gone/result").await.status, 404);
}

#[tokio::test]
async fn a_waiting_run_says_why() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let path = format!("/runs/{run_id}/explain");
    let waiting = world.ask("GET", &path).await.json();
    assert_eq!(
        (&waiting["cause"], &waiting["position"]),
        (&json!("no_runner"), &json!({"ahead": 0, "waiting": 1}))
    );
    assert_eq!(waiting["lane_tags"], json!(["bash", "type:procedural"]));
    world.executed(&run_id).await;
    world.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    let ended = world.ask("GET", &path).await.json();
    assert_eq!(
        (&ended["cause"], &ended["waits_for"]),
        (&json!("completed"), &Value::Null)
    );
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_refused_and_nothing_is_stored() {
    let world = World::with_deployer().await;
    let mut body = start();
    body["fail_fast"] = json!(true);
    let (status, detail, code) = world.send("POST", "/runs", body).await.error();
    assert_eq!((status, code.as_str()), (409, "no_runner"));
    assert!(detail.to_string().contains("No runner"), "{detail}");
    assert_eq!(world.ask("GET", "/runs").await.json(), json!({"runs": []}));
}

#[tokio::test]
async fn a_run_is_repeated_exactly_when_it_has_ended() {
    let world = World::with_deployer().await;
    let run_id = world.requested().await;
    let path = format!("/runs/{run_id}/retry");
    let told = world.ask("POST", &path).await.error();
    assert_eq!((told.0, told.2.as_str()), (409, "run_not_ended"));
    world.executed(&run_id).await;
    world.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    for gone in ["/agents/deployer", "/scripts/deploy"] {
        assert_eq!(world.ask("DELETE", gone).await.status, 204);
    }
    let again = world.ask("POST", &path).await;
    let body = again.json();
    assert_eq!(
        (again.status.as_u16(), &body["retried_from"]),
        (201, &json!(run_id))
    );
    let new = world
        .ask(
            "GET",
            &format!("/runs/{}", body["run_id"].as_str().unwrap()),
        )
        .await
        .json();
    let old = world.ask("GET", &format!("/runs/{run_id}")).await.json();
    for same in ["digest", "script_version", "parameters", "demands", "lane"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    assert_eq!(new["retry_of"], json!(run_id));
    assert_ne!(new["session_id"], old["session_id"]);
    let current = world.send("POST", &path, json!({"current": true})).await;
    assert_eq!(current.error().2, "agent_not_found");
}

#[tokio::test]
async fn a_key_still_means_its_run_when_the_agent_is_gone() {
    let world = World::with_deployer().await;
    let request = async |path: &str, body: Value| {
        let request = World::request("POST", path).header("content-type", "application/json");
        let request = request.header("idempotency-key", "k1");
        let request = request.body(Body::from(body.to_string())).unwrap();
        world.answer(request).await
    };
    let first = request("/runs", start()).await.json();
    let mut fewer = start();
    fewer["parameters"] = json!({});
    assert_eq!(
        request("/runs", fewer).await.error().2,
        "idempotency_key_reused"
    );
    assert_eq!(world.ask("DELETE", "/agents/deployer").await.status, 204);
    let again = request("/runs", start()).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["run_id"]),
        (201, &first["run_id"])
    );
    let retry = format!("/runs/{}/retry", first["run_id"].as_str().unwrap());
    assert_eq!(
        request(&retry, json!({})).await.error().2,
        "idempotency_key_reused"
    );
}

#[rstest]
#[case("1h", 1)]
#[case("2100-01-01T00:00:00Z", 0)]
#[tokio::test]
async fn runs_are_listed_since_a_time(#[case] since: &str, #[case] count: usize) {
    let world = World::with_deployer().await;
    world.requested().await;
    let page = world
        .ask("GET", &format!("/runs?since={since}"))
        .await
        .json();
    assert_eq!(page["runs"].as_array().unwrap().len(), count, "{page}");
}
