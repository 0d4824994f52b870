//! WIRE.md, line by line against the running coordinator: codes, texts that clients compare, and every
//! field of every document. Runners that long-poll have stories of their own, and so have sessions.

use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::{Answer, Coordinator};
use tests::runner::Settings;

/// The fields that are always there, and those that may be left out.
struct Shape(&'static str, &'static str);

const SCRIPT: Shape = Shape(
    "name description script_file script_content created_at modified_at",
    "parameters_schema demands",
);
const SCRIPT_SUMMARY: Shape = Shape(
    "name description script_file has_parameters_schema has_demands demand_tags created_at modified_at",
    "",
);
const AGENT: Shape = Shape(
    "name description type tags capabilities status created_at modified_at",
    "script parameters_schema output_schema system_prompt mcp_servers skills demands hooks command runner_id",
);
const CAPABILITY: Shape = Shape(
    "name description type created_at modified_at",
    "script text mcp_servers",
);
const CAPABILITY_SUMMARY: Shape = Shape(
    "name description type has_script script_name has_text has_mcp mcp_server_names created_at modified_at",
    "",
);
const RUN: Shape = Shape(
    "run_id type session_id agent_name parameters status project_dir parent_session_id execution_mode demands \
     runner_id error created_at claimed_at started_at completed_at timeout_at reason script script_version digest \
     lane attempt exit_code result_data",
    "",
);
const RUNNER: Shape = Shape(
    "runner_id registered_at last_heartbeat hostname project_dir executor_profile executor tags \
     require_matching_tags status seconds_since_heartbeat",
    "",
);

/// All of the contract's fields are there, but for those that may be left out.
#[track_caller]
fn is(shape: &Shape, value: &Value) {
    let fields = value.as_object().unwrap_or_else(|| panic!("{value}"));
    for field in shape.0.split_whitespace() {
        assert!(fields.contains_key(field), "no {field}: {value:#}");
    }
    for field in shape.1.split_whitespace() {
        assert!(
            fields.get(field) != Some(&Value::Null),
            "{field} is null, not left out: {value:#}"
        );
    }
}

async fn is_told(
    coordinator: &Coordinator,
    method: &str,
    path: &str,
    body: Value,
    status: u16,
    detail: Value,
) -> Answer {
    let body = (!body.is_null()).then_some(body);
    let answer = coordinator
        .send(method.parse::<Method>().unwrap(), path, body)
        .await;
    assert_eq!(
        answer.status.as_u16(),
        status,
        "{method} {path}: {answer:?}"
    );
    if !detail.is_null() {
        assert_eq!(answer.body["detail"], detail, "{method} {path}");
    }
    answer
}

#[tokio::test]
async fn scripts() {
    let coordinator = Coordinator::start().await;
    let tell = async |method: &str, path: &str, body: Value, status: u16, detail: Value| {
        is_told(&coordinator, method, path, body, status, detail)
            .await
            .body
    };
    let script = json!({
        "name": "deploy", "description": "Deploys", "script_file": "deploy.sh", "script_content": "echo 1\n",
        "parameters_schema": {"type": "object", "properties": {"to": {"type": "string"}}},
        "demands": {"tags": ["bash"]}, "unknown": 1,
    });
    is(
        &SCRIPT,
        &tell("POST", "/scripts", script.clone(), 201, Value::Null).await,
    );
    tell("POST", "/scripts", script.clone(), 409, Value::Null).await;
    tell("POST", "/scripts", json!({"name": "a/b"}), 400, Value::Null).await;
    let missing = tell("POST", "/scripts", json!({"name": "x"}), 422, Value::Null).await;
    for field in ["type", "loc", "msg", "input"] {
        assert!(missing["detail"][0].get(field).is_some(), "{missing}");
    }
    let listed = tell("GET", "/scripts", Value::Null, 200, Value::Null).await;
    is(&SCRIPT_SUMMARY, &listed[0]);
    assert_eq!(
        (&listed[0]["has_demands"], &listed[0]["demand_tags"]),
        (&json!(true), &json!(["bash"]))
    );
    tell(
        "GET",
        "/scripts/none",
        Value::Null,
        404,
        json!("Script not found: none"),
    )
    .await;
    let kept = json!({"description": "New", "parameters_schema": null});
    let kept = tell("PATCH", "/scripts/deploy", kept, 200, Value::Null).await;
    assert!(kept["parameters_schema"].is_object() && kept["description"] == "New");
    let removed = json!({"parameters_schema": {}, "demands": {"tags": []}});
    let removed = tell("PATCH", "/scripts/deploy", removed, 200, Value::Null).await;
    assert!(
        removed.get("parameters_schema").is_none() && removed.get("demands").is_none(),
        "{removed}"
    );
    for name in ["b", "a"] {
        let agent =
            json!({"name": name, "type": "procedural", "description": "", "script": "deploy"});
        tell("POST", "/agents", agent, 201, Value::Null).await;
    }
    tell(
        "DELETE",
        "/scripts/deploy",
        Value::Null,
        409,
        json!("Script is referenced by agents: a, b"),
    )
    .await;
    let triggered = tell(
        "POST",
        "/scripts/sync/trigger",
        json!({"scripts": ["deploy"]}),
        202,
        Value::Null,
    )
    .await;
    assert!(triggered.is_object());
    for name in ["a", "b"] {
        tell(
            "DELETE",
            &format!("/agents/{name}"),
            Value::Null,
            204,
            Value::Null,
        )
        .await;
    }
    tell("DELETE", "/scripts/deploy", Value::Null, 204, Value::Null).await;
    tell(
        "DELETE",
        "/scripts/deploy",
        Value::Null,
        404,
        json!("Script not found: deploy"),
    )
    .await;
}

#[tokio::test]
async fn agents_and_capabilities() {
    let coordinator = Coordinator::start().await;
    let tell = async |method: &str, path: &str, body: Value, status: u16, detail: Value| {
        is_told(&coordinator, method, path, body, status, detail)
            .await
            .body
    };
    let schema = json!({"type": "object", "properties": {"to": {"type": "string"}}});
    coordinator
        .script(
            "deploy",
            &json!({"script_content": "echo 1\n", "parameters_schema": schema}),
        )
        .await;
    let resolved = tell("GET", "/agents/deploy", Value::Null, 200, Value::Null).await;
    is(&AGENT, &resolved);
    assert_eq!(resolved["parameters_schema"], schema);
    let raw = tell(
        "GET",
        "/agents/deploy?raw=true",
        Value::Null,
        200,
        Value::Null,
    )
    .await;
    assert!(raw.get("parameters_schema").is_none(), "{raw}");
    tell(
        "GET",
        "/agents/none",
        Value::Null,
        404,
        json!("Agent not found: none"),
    )
    .await;
    tell(
        "PATCH",
        "/agents/deploy/status",
        json!({"status": "inactive"}),
        200,
        Value::Null,
    )
    .await;
    tell(
        "POST",
        "/runs",
        json!({"agent_name": "deploy"}),
        409,
        Value::Null,
    )
    .await;
    tell(
        "PATCH",
        "/agents/deploy/status",
        json!({"status": "gone"}),
        422,
        Value::Null,
    )
    .await;
    let broken = json!({"name": "x", "type": "procedural", "description": "", "script": "none"});
    tell("POST", "/agents", broken, 400, Value::Null).await;

    let scripted = json!({"name": "ships", "description": "Ships", "script": "deploy"});
    let scripted = tell("POST", "/capabilities", scripted, 201, Value::Null).await;
    is(&CAPABILITY, &scripted);
    assert_eq!(scripted["type"], "script", "by what is there");
    let text = json!({"name": "knows", "description": "", "text": "Be kind."});
    assert_eq!(
        tell("POST", "/capabilities", text, 201, Value::Null).await["type"],
        "text"
    );
    let misfit = json!({"name": "x", "description": "", "type": "mcp", "text": "t"});
    tell("POST", "/capabilities", misfit, 400, Value::Null).await;
    let unknown = json!({"name": "x", "description": "", "script": "none"});
    tell("POST", "/capabilities", unknown, 400, Value::Null).await;
    let listed = tell("GET", "/capabilities", Value::Null, 200, Value::Null).await;
    for capability in listed.as_array().unwrap() {
        is(&CAPABILITY_SUMMARY, capability);
    }
    let thinker = json!({
        "name": "thinker", "type": "autonomous", "description": "", "system_prompt": "Think.", "tags": ["x", "y"],
        "capabilities": ["knows", "ships"],
    });
    tell("POST", "/agents", thinker, 201, Value::Null).await;
    let prompt =
        tell("GET", "/agents/thinker", Value::Null, 200, Value::Null).await["system_prompt"]
            .clone();
    let prompt = prompt.as_str().unwrap();
    assert!(
        prompt.starts_with("Think.\n\n---\n\nBe kind.\n\n---\n\n## Local Script: deploy\n"),
        "{prompt}"
    );
    let both = tell("GET", "/agents?tags=x,y", Value::Null, 200, Value::Null).await;
    assert_eq!(both.as_array().unwrap().len(), 1);
    assert_eq!(
        tell("GET", "/agents?tags=x,z", Value::Null, 200, Value::Null).await,
        json!([])
    );
    tell(
        "DELETE",
        "/capabilities/knows",
        Value::Null,
        409,
        json!("Capability is referenced by agents: thinker"),
    )
    .await;
    let cleared = json!({"system_prompt": "", "tags": [], "capabilities": []});
    let cleared = tell("PATCH", "/agents/thinker", cleared, 200, Value::Null).await;
    assert!(
        cleared.get("system_prompt").is_none() && cleared["tags"] == json!([]),
        "{cleared}"
    );
    tell(
        "DELETE",
        "/capabilities/knows",
        Value::Null,
        204,
        Value::Null,
    )
    .await;
    tell(
        "GET",
        "/capabilities/knows",
        Value::Null,
        404,
        json!("Capability not found: knows"),
    )
    .await;
}

#[tokio::test]
async fn runs_and_runners() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let tell = async |method: &str, path: &str, body: Value, status: u16, detail: Value| {
        is_told(&coordinator, method, path, body, status, detail)
            .await
            .body
    };
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    coordinator
        .script(
            "count",
            &json!({"script_content": "echo $2\n", "parameters_schema": schema}),
        )
        .await;
    let body = json!({"type": "start_session", "agent_name": "count", "parameters": {"n": "x"}, "execution_mode": "sync"});
    let refused = tell("POST", "/runs", body, 400, Value::Null).await;
    let detail = &refused["detail"];
    assert_eq!(
        (&detail["error"], &detail["agent_name"]),
        (&json!("parameter_validation_failed"), &json!("count"))
    );
    assert_eq!(detail["parameters_schema"], schema);
    let first = detail["validation_errors"][0].as_object().unwrap();
    assert_eq!(first["path"], "$.n");
    assert!(
        first.contains_key("message") && first.contains_key("schema_path"),
        "{first:?}"
    );
    let body = json!({"type": "start_session", "agent_name": "count", "parameters": {"n": 3}, "session_id": "mine"});
    let begun = tell("POST", "/runs", body.clone(), 201, Value::Null).await;
    assert_eq!(
        (&begun["session_id"], &begun["status"]),
        (&json!("mine"), &json!("pending"))
    );
    tell("POST", "/runs", body, 409, Value::Null).await;
    let id = begun["run_id"].as_str().unwrap();
    is(&RUN, &coordinator.ends(id).await);
    let listed = tell(
        "GET",
        "/runs?status=completed&agent=count&limit=1",
        Value::Null,
        200,
        Value::Null,
    )
    .await;
    is(&RUN, &listed["runs"][0]);
    tell(
        "GET",
        "/runs/run_0123456789abcdef",
        Value::Null,
        404,
        json!("Run not found"),
    )
    .await;
    let stopped = tell(
        "POST",
        &format!("/runs/{id}/stop"),
        json!({}),
        200,
        Value::Null,
    )
    .await;
    assert_eq!(
        (&stopped["ok"], &stopped["run_id"], &stopped["session_id"]),
        (&json!(true), &json!(id), &json!("mine"))
    );
    assert!(stopped["message"].is_string(), "{stopped}");
    let resume =
        json!({"type": "resume_session", "session_id": "mine", "parameters": {"prompt": "x"}});
    let refused = tell("POST", "/runs", resume, 400, Value::Null).await;
    assert_eq!(refused["detail"]["error"], "procedural_agent_no_resume");
    tell(
        "POST",
        "/runs",
        json!({"agent_name": "none"}),
        404,
        Value::Null,
    )
    .await;
    let result = tell(
        "GET",
        "/sessions/mine/result",
        Value::Null,
        200,
        Value::Null,
    )
    .await;
    assert_eq!(result, json!({"result_text": null, "result_data": 3}));
    tell(
        "GET",
        "/sessions/none/result",
        Value::Null,
        404,
        Value::Null,
    )
    .await;
    let runners = tell("GET", "/runners", Value::Null, 200, Value::Null).await;
    is(&RUNNER, &runners["runners"][0]);
}

#[tokio::test]
async fn what_is_not_served_is_not_found() {
    let coordinator = Coordinator::start().await;
    for (method, path) in [
        ("GET", "/mcp-servers"),
        ("GET", "/config/export"),
        ("POST", "/config/import"),
        ("PATCH", "/sessions/x/metadata"),
        ("GET", "/sessions/x/affinity"),
        ("GET", "/nowhere"),
    ] {
        is_told(
            &coordinator,
            method,
            path,
            Value::Null,
            404,
            json!("Not Found"),
        )
        .await;
    }
    let wrong = is_told(
        &coordinator,
        "PUT",
        "/runs",
        Value::Null,
        405,
        json!("Method Not Allowed"),
    )
    .await;
    for field in ["code", "request_id"] {
        assert!(wrong.body[field].is_string(), "{wrong:?}");
    }
    let health = coordinator.get("/health").await.body;
    assert_eq!(health, json!({"status": "healthy"}));
}
