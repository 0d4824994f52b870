//! What does not fit is answered clearly and leaves nothing half done: names, tags, folders,
//! schemas, parameters, references, bodies, routes; over HTTP and by `coordinator apply`.

use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use tests::coordinator::{Answer, Coordinator};
use tests::runner::Settings;

/// As WIRE.md has it: a text, an object with a code, or a list of places; ours beside it.
fn is_an_error_of_ours(answer: &Answer) {
    let Answer { status, body } = answer;
    let detail = &body["detail"];
    let shaped = match status.as_u16() {
        422 => detail.as_array().is_some_and(|places| {
            places.iter().all(|place| {
                place["type"].is_string() && place["msg"].is_string() && place["loc"].is_array()
            })
        }),
        _ => detail.is_string() || (detail["error"].is_string() && detail["message"].is_string()),
    };
    assert!(shaped, "{answer:?}");
    assert!(
        body["code"].is_string() && body["request_id"].is_string(),
        "{answer:?}"
    );
}

/// Refused as expected, with a detail that says this.
fn refused(answer: &Answer, status: u16, code: &str, says: &str) {
    assert_eq!(answer.refusal(), (status, code), "{answer:?}");
    is_an_error_of_ours(answer);
    let told = answer.body["detail"].to_string();
    assert!(told.contains(says), "{says} is not in {told}");
}

async fn nothing_is_there(coordinator: &Coordinator) {
    for (path, expected) in [
        ("/scripts", json!([])),
        ("/agents", json!([])),
        ("/runs", json!({"runs": []})),
    ] {
        assert_eq!(coordinator.get(path).await.body, expected, "{path}");
    }
}

fn script(change: &Value) -> Value {
    let mut script = json!({
        "name": "s", "description": "", "script_file": "s.sh", "script_content": "true\n",
        "demands": {"tags": ["bash"]},
    });
    let fields = script.as_object_mut().unwrap();
    fields.extend(change.as_object().unwrap().clone());
    script
}

#[tokio::test]
async fn names_and_tags_that_cannot_be() {
    let coordinator = Coordinator::start().await;
    let long = "x".repeat(61);
    for name in ["", "-x", "a b", "../x", "a/b", ".x", "é", "x\n", &long] {
        let answer = coordinator
            .post("/scripts", script(&json!({ "name": name })))
            .await;
        refused(&answer, 400, "invalid_name", "");
        let agent = json!({"name": name, "description": "", "type": "autonomous"});
        refused(
            &coordinator.post("/agents", agent).await,
            400,
            "invalid_name",
            "",
        );
    }
    for path in ["/scripts/..%2f..%2fetc", "/agents/a%20b", "/scripts/%ff"] {
        let answer = coordinator.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        is_an_error_of_ours(&answer);
    }
    let number = coordinator
        .post("/scripts", script(&json!({"name": 7})))
        .await;
    refused(&number, 422, "invalid_request", r#""loc":["body","name"]"#);
    let long = "x".repeat(64);
    for tag in ["", "a b", "a\u{7}b", "a\u{a0}b", &long] {
        let answer = coordinator
            .post(
                "/scripts",
                script(&json!({"demands": {"tags": ["ok", tag]}})),
            )
            .await;
        let place = r#""loc":["body","demands","tags",1]"#;
        refused(&answer, 422, "invalid_request", place);
    }
    let reserved = script(&json!({"demands": {"tags": ["host:web1"]}}));
    refused(
        &coordinator.post("/scripts", reserved).await,
        400,
        "invalid_script",
        "host:web1",
    );
    nothing_is_there(&coordinator).await;
}

/// A body of files as a browser or curl sends it.
fn parts<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut body = String::new();
    for (path, content) in files {
        body.push_str(&format!(
            "--limit\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{path}\"\r\n\r\n{content}\r\n"
        ));
    }
    body + "--limit--\r\n"
}

async fn upload(coordinator: &Coordinator, media: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = coordinator
        .http(Method::POST, "/scripts")
        .header("content-type", media)
        .body(body);
    Answer::of(request.send().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn folders_that_no_script_can_have() {
    let coordinator = Coordinator::start().await;
    for path in [
        "../s.sh",
        "/bin/sh",
        "a/../../s.sh",
        "-s.sh",
        "a//s.sh",
        "",
        "a\\..\\s",
    ] {
        let answer = coordinator
            .post("/scripts", script(&json!({ "script_file": path })))
            .await;
        let place = r#""loc":["body","script_file"]"#;
        refused(&answer, 422, "invalid_request", place);
    }
    let mut no_content = script(&json!({}));
    no_content.as_object_mut().unwrap().remove("script_content");
    let answer = coordinator.post("/scripts", no_content).await;
    refused(&answer, 422, "invalid_request", "script_content");

    let document = r#"{"name": "s", "description": "", "script_file": "s.sh"}"#;
    let many: Vec<String> = (0..1001).map(|n| format!("f{n}")).collect();
    let many = many.iter().map(|path| (path.as_str(), ""));
    let folders = [
        (parts([("s.sh", "true")]), "script.json"),
        (parts([("script.json", document)]), "s.sh"),
        (parts([("script.json", document), ("other.sh", "")]), "s.sh"),
        (
            parts([("script.json", document), ("s.sh", ""), ("../x", "")]),
            "../x",
        ),
        (
            parts([("script.json", document), ("s.sh", ""), ("/x", "")]),
            "/x",
        ),
        (
            parts([
                ("script.json", document),
                ("s.sh", ""),
                ("A", ""),
                ("a", ""),
            ]),
            "differ only in case",
        ),
        (
            parts([("script.json", "{"), ("s.sh", "")]),
            "EOF while parsing",
        ),
        (
            parts(
                [("script.json", document), ("s.sh", "")]
                    .into_iter()
                    .chain(many),
            ),
            "1000",
        ),
    ];
    for (body, says) in folders {
        let answer = upload(&coordinator, "multipart/form-data; boundary=limit", body).await;
        assert!(
            [400, 422].contains(&answer.status.as_u16()),
            "{says}: {answer:?}"
        );
        is_an_error_of_ours(&answer);
        assert!(
            answer.body["detail"].to_string().contains(says),
            "{says}: {answer:?}"
        );
    }
    nothing_is_there(&coordinator).await;
}

#[tokio::test]
async fn archives_that_are_too_large_or_none() {
    let coordinator = Coordinator::start().await;
    let answer = upload(&coordinator, "application/zstd", vec![0; 12 * 1024 * 1024]).await;
    refused(&answer, 413, "body_too_large", "");
    for media in ["application/zstd", "application/gzip", "application/x-tar"] {
        let answer = upload(&coordinator, media, "no archive").await;
        refused(&answer, 400, "folder_refused", "");
    }
    let answer = upload(&coordinator, "text/plain", "echo").await;
    refused(&answer, 415, "unsupported_media_type", "application/zstd");
    let bomb = gzipped_folder(51 * 1024 * 1024);
    assert!(bomb.len() < 1024 * 1024, "it is small while it travels");
    refused(
        &upload(&coordinator, "application/gzip", bomb).await,
        400,
        "folder_refused",
        "52428800 bytes",
    );
    nothing_is_there(&coordinator).await;
}

/// A script's folder with a file of so many zeros, packed as any tool packs it.
fn gzipped_folder(zeros: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "script.json",
        r#"{"name": "s", "description": "", "script_file": "s.sh"}"#,
    );
    write("s.sh", "true\n");
    let large = std::fs::File::create(folder.path().join("zeros")).unwrap();
    large.set_len(zeros).unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.args(["-cz", "-C"]).arg(folder.path());
    let packed = tar.args(["script.json", "s.sh", "zeros"]).output().unwrap();
    assert!(packed.status.success());
    packed.stdout
}

fn nested(depth: usize, inner: Value) -> Value {
    (0..depth).fold(inner, |inner, _| json!({"properties": {"a": inner}}))
}

/// Every level doubles what has to be looked at.
fn explosive(levels: usize) -> Value {
    let mut definitions = serde_json::Map::new();
    definitions.insert("l0".to_owned(), json!({"type": "string", "minLength": 5}));
    for level in 1..=levels {
        let below = format!("#/$defs/l{}", level - 1);
        let both = json!({"anyOf": [{"$ref": below}, {"$ref": below}]});
        definitions.insert(format!("l{level}"), both);
    }
    json!({
        "type": "object", "$defs": definitions,
        "properties": {"a": {"$ref": format!("#/$defs/l{levels}")}},
    })
}

#[tokio::test]
async fn schemas_that_are_none_or_cost_too_much() {
    let coordinator = Coordinator::start().await;
    let many = (0..600).map(|n| (format!("p{n}"), json!({"type": "string"})));
    let many: serde_json::Map<String, Value> = many.collect();
    let schemas = [
        json!({"type": "strin"}),
        json!({"type": "object", "required": "a"}),
        json!({"properties": {"a": {"pattern": "("}}}),
        json!({"properties": {"a": {"pattern": "(a{1000}){1000}"}}}),
        json!({"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}),
        json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
        json!({"$ref": "#"}),
        json!({"properties": {"a": {"$ref": "#/$defs/gone"}}}),
        json!({"properties": many}),
        json!({"description": "x".repeat(65 * 1024)}),
        nested(40, json!({"type": "string"})),
        explosive(40),
    ];
    for schema in schemas {
        let answer = coordinator
            .post("/scripts", script(&json!({"parameters_schema": schema})))
            .await;
        assert!(
            [400, 422].contains(&answer.status.as_u16()),
            "{schema:.200}: {answer:?}"
        );
        is_an_error_of_ours(&answer);
        let agent = json!({"name": "a", "description": "", "type": "autonomous", "parameters_schema": schema});
        let answer = coordinator.post("/agents", agent).await;
        assert!(
            [400, 422].contains(&answer.status.as_u16()),
            "{schema:.200}: {answer:?}"
        );
    }
    // Deeper than anything may be, as text: building it here would end this test.
    let deep = format!("{}true{}", "{\"not\":".repeat(5000), "}".repeat(5000));
    let body = script(&json!({"parameters_schema": "deep"}));
    let body = body.to_string().replace("\"deep\"", &deep);
    let answer = upload(&coordinator, "application/json", body).await;
    refused(&answer, 422, "invalid_request", "");
    nothing_is_there(&coordinator).await;
    assert_eq!(coordinator.get("/health").await.status, 200);
}

#[tokio::test]
async fn parameters_that_do_not_fit_say_where_each() {
    let coordinator = Coordinator::start().await;
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["target", "token"],
        "properties": {
            "target": {"enum": ["staging", "live"]},
            "token": {"type": "string"},
            "when": {"type": "string", "format": "date-time"},
            "hosts": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer", "maximum": 65535}}}},
        },
    });
    let script = json!({"script_content": "touch ran\n", "parameters_schema": schema});
    coordinator.script("deploy", &script).await;
    let runner = coordinator.runner(Settings::default()).await;
    let parameters = json!({
        "target": "moon", "when": "soon", "hosts": [{"port": 1}, {"port": 70000}, {"port": "x"}], "odd name": 1,
    });
    let body = json!({"type": "start_session", "agent_name": "deploy", "parameters": parameters});
    let answer = coordinator.post("/runs", body).await;
    refused(&answer, 400, "parameter_validation_failed", "deploy");
    let detail = &answer.body["detail"];
    assert_eq!(
        (&detail["agent_name"], &detail["parameters_schema"]),
        (&json!("deploy"), &schema)
    );
    let errors = detail["validation_errors"].as_array().unwrap();
    let mut paths: Vec<&str> = errors.iter().map(|e| e["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "$",
            "$",
            "$.hosts[1].port",
            "$.hosts[2].port",
            "$.target",
            "$.when"
        ],
        "{detail:#}"
    );
    for error in errors {
        assert!(
            error["message"].is_string() && error["schema_path"].is_string(),
            "{error}"
        );
    }
    assert_eq!(coordinator.get("/runs").await.body, json!({"runs": []}));
    assert!(!runner.project_dir().join("ran").exists());
}

#[tokio::test]
async fn requests_for_runs_that_cannot_be() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("ok", "true\n").await;
    let run = |change: &Value| {
        let mut body = json!({"type": "start_session", "agent_name": "ok", "parameters": {}});
        let fields = body.as_object_mut().unwrap();
        fields.extend(change.as_object().unwrap().clone());
        body
    };
    let large = "x".repeat(257 * 1024);
    let tags = json!(["type:autonomous"]);
    for (change, status, code, says) in [
        (
            json!({"agent_name": "gone"}),
            404,
            "agent_not_found",
            "Agent not found: gone",
        ),
        (
            json!({"agent_name": "a b"}),
            422,
            "invalid_request",
            "agent_name",
        ),
        (
            json!({"agent_name": null}),
            422,
            "invalid_request",
            "agent_name",
        ),
        (
            json!({"parameters": [1]}),
            422,
            "invalid_request",
            "parameters",
        ),
        (
            json!({"parameters": {"text": large}}),
            400,
            "parameters_too_large",
            "262144 bytes",
        ),
        (
            json!({"parameters": {"text": "a\u{0}b"}}),
            400,
            "invalid_arguments",
            "text",
        ),
        (
            json!({"timeout_seconds": 0}),
            422,
            "invalid_request",
            "timeout_seconds",
        ),
        (
            json!({"additional_demands": {"tags": tags}}),
            400,
            "invalid_tag",
            "type:autonomous",
        ),
        (
            json!({"additional_demands": {"tags": ["a b"]}}),
            422,
            "invalid_request",
            "tags",
        ),
    ] {
        let answer = coordinator.post("/runs", run(&change)).await;
        refused(&answer, status, code, says);
    }
    let off = json!({"status": "inactive"});
    let answer = coordinator
        .send(Method::PATCH, "/agents/ok/status", Some(off))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = coordinator.post("/runs", run(&json!({}))).await;
    refused(&answer, 409, "agent_inactive", "ok");
    for path in [
        "/runs/run_0123456789abcdef",
        "/runs/nonsense",
        "/runs/run_x/logs",
    ] {
        refused(
            &coordinator.get(path).await,
            404,
            "run_not_found",
            "Run not found",
        );
    }
    assert_eq!(coordinator.get("/runs").await.body, json!({"runs": []}));
}

#[tokio::test]
async fn bodies_and_routes_that_are_none() {
    let coordinator = Coordinator::start().await;
    let json = "application/json";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1024 * 1024));
    for (path, media, body, status) in [
        ("/agents", json, "", 422),
        ("/agents", json, "{", 422),
        ("/agents", json, "[1", 422),
        ("/agents", json, "\"text\"", 422),
        ("/agents", json, "{\"name\": \"a\", \"name\": \"b\"}", 422),
        ("/runs", json, "{\"a\": NaN}", 422),
        ("/runs", json, "\u{feff}{}", 422),
        ("/runs", json, deep.as_str(), 422),
        ("/runs", "text/plain", "{}", 415),
        ("/runs", "application/x-www-form-urlencoded", "a=b", 415),
        ("/agents", json, large.as_str(), 413),
        ("/runs", json, large.as_str(), 413),
    ] {
        let request = coordinator
            .http(Method::POST, path)
            .header("content-type", media)
            .body(body.to_owned());
        let answer = Answer::of(request.send().await.unwrap()).await.unwrap();
        assert_eq!(answer.status, status, "{path} {body:.40}: {answer:?}");
        is_an_error_of_ours(&answer);
    }
    for path in [
        "/nothing",
        "/scripts/a/b",
        "/mcp-servers",
        "/config/export",
        "/runs/",
    ] {
        refused(&coordinator.get(path).await, 404, "not_found", "Not Found");
    }
    for (method, path) in [
        (Method::DELETE, "/scripts"),
        (Method::PUT, "/runs"),
        (Method::POST, "/health"),
        (Method::GET, "/runs/run_0123456789abcdef/stop"),
    ] {
        let answer = coordinator.send(method, path, None).await;
        refused(&answer, 405, "method_not_allowed", "Method Not Allowed");
    }
    nothing_is_there(&coordinator).await;
}

#[tokio::test]
async fn of_many_creations_of_one_name_one_succeeds() {
    let coordinator = Coordinator::start().await;
    let agent = json!({"name": "a", "description": "", "type": "autonomous"});
    for (path, body) in [("/scripts", script(&json!({}))), ("/agents", agent)] {
        let requests = (0..8).map(|_| coordinator.post(path, body.clone()));
        let answers = futures::future::join_all(requests).await;
        let (made, others): (Vec<Answer>, Vec<Answer>) =
            answers.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), 1, "{path}");
        assert_eq!(made[0].body["version"], 1);
        for other in others {
            refused(&other, 409, "already_exists", "already exists");
        }
        let one = format!("{path}/{}", body["name"].as_str().unwrap());
        assert_eq!(coordinator.get(&one).await.body["version"], 1);
    }
}

#[tokio::test]
async fn references_never_dangle() {
    let coordinator = Coordinator::start().await;
    let agent = json!({"name": "b", "description": "", "type": "procedural", "script": "gone"});
    let answer = coordinator.post("/agents", agent.clone()).await;
    refused(&answer, 400, "broken_reference", "gone");
    let answer = coordinator
        .send(Method::PUT, "/agents/b", Some(agent))
        .await;
    refused(&answer, 400, "broken_reference", "gone");
    nothing_is_there(&coordinator).await;

    coordinator.bash("used", "true\n").await;
    let second = json!({"name": "also", "description": "", "type": "procedural", "script": "used"});
    assert_eq!(coordinator.post("/agents", second).await.status, 201);
    let answer = coordinator
        .send(Method::DELETE, "/scripts/used", None)
        .await;
    let says = "Script is referenced by agents: also, used";
    refused(&answer, 409, "referenced_by_agents", says);
    let change = json!({"script": "gone"});
    let answer = coordinator
        .send(Method::PATCH, "/agents/also", Some(change))
        .await;
    refused(&answer, 400, "broken_reference", "gone");
    assert_eq!(coordinator.get("/agents/also").await.body["script"], "used");
    for path in ["/scripts/gone", "/agents/gone"] {
        assert_eq!(
            coordinator.send(Method::DELETE, path, None).await.status,
            404
        );
    }
    for path in ["/agents/also", "/agents/used", "/scripts/used"] {
        assert_eq!(
            coordinator.send(Method::DELETE, path, None).await.status,
            204
        );
    }
    nothing_is_there(&coordinator).await;
}

#[tokio::test]
async fn a_run_that_nobody_can_take_says_what_is_missing() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let script = json!({"script_content": "true\n", "demands": {"tags": ["bash", "gpu"]}});
    coordinator.script("train", &script).await;
    let body = json!({"type": "start_session", "agent_name": "train", "parameters": {}});
    let answer = coordinator.post("/runs", body).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["status"]),
        (201, &json!("pending"))
    );
    let warning = &answer.body["warnings"][0];
    assert_eq!(warning["code"], "no_runner", "{answer:?}");
    assert_eq!(warning["closest"]["missing"], json!(["gpu"]), "{warning:#}");
    assert!(
        warning["message"].as_str().unwrap().contains("gpu"),
        "{warning:#}"
    );
}

#[tokio::test]
async fn apply_names_what_it_cannot_take_and_takes_the_rest() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let document = |name: &str, script_file: &str| {
        json!({"name": name, "description": "", "script_file": script_file}).to_string()
    };
    file("scripts/good/script.json", &document("good", "good.sh"));
    file("scripts/good/good.sh", "true\n");
    file(
        "scripts/missing/script.json",
        &document("missing", "missing.sh"),
    );
    file(
        "scripts/outside/script.json",
        &document("outside", "../good/good.sh"),
    );
    file("scripts/other/script.json", &document("else", "other.sh"));
    file("scripts/other/other.sh", "true\n");
    file("scripts/broken/script.json", "{");
    let applied = coordinator.cli(&["apply", "-f", folder.path().to_str().unwrap(), "-y"]);
    let told = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert_eq!(applied.status.code(), Some(1), "{told}");
    for name in ["missing", "outside", "other", "broken"] {
        assert!(told.contains(name), "{name} is not in {told}");
    }
    assert!(told.contains("4 of 5 failed"), "{told}");
    let scripts = coordinator.get("/scripts").await.body;
    let names: Vec<&Value> = scripts
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["name"])
        .collect();
    assert_eq!(names, ["good"]);
    let nowhere = coordinator.cli(&[
        "apply",
        "-f",
        Path::new("/no/such/folder").to_str().unwrap(),
    ]);
    assert!(!nowhere.status.success());
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/folder"));
}
