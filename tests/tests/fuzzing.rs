//! Whatever the API's own description allows, and much that it does not, is answered as it says: no
//! answer of the server's own fault, none that is not described, none of another shape. The budget is
//! a number of requests, drawn from a fixed seed.

use serde_json::json;
use std::path::PathBuf;
use tests::coordinator::Coordinator;
use tests::process::root;

/// Requests drawn at random for each route, beside those that cover its description systematically.
const EXAMPLES: &str = "5";
const SEED: &str = "20261120";
/// No request takes as long, unless it waits for something that is not to come.
const SILENCE_SECONDS: &str = "60";

/// What goes on for as long as the client listens.
const ENDLESS: [&str; 2] = ["/audit/export", "/sse/sessions"];

fn schemathesis() -> PathBuf {
    let program = root().join(".tools/schemathesis/bin/schemathesis");
    assert!(program.is_file(), "fetch it: cargo run -p xtask -- tools");
    program
}

async fn with_something_in_it() -> Coordinator {
    let coordinator = Coordinator::start().await;
    let script = json!({
        "name": "a", "description": "", "script_file": "a.sh", "script_content": "true\n",
        "demands": {"tags": ["bash"]},
    });
    let agent = json!({"name": "a", "description": "", "type": "procedural", "script": "a"});
    let capability = json!({"name": "a", "description": "", "text": "Be kind."});
    let run = json!({"type": "start_session", "agent_name": "a", "session_id": "a"});
    let pin = json!({"tags": ["eu"]});
    for (path, body) in [
        ("/scripts", script),
        ("/agents", agent),
        ("/capabilities", capability),
        ("/runs", run),
        ("/scripts/a/pins", pin),
    ] {
        assert_eq!(coordinator.post(path, body).await.status, 201, "{path}");
    }
    coordinator
}

#[tokio::test]
async fn every_answer_is_described_and_none_is_our_fault() {
    let coordinator = with_something_in_it().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(schemathesis());
    command
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .arg("run")
        .arg(format!("{}/openapi.json", coordinator.url()))
        .args(["--header", &format!("Authorization: Bearer {}", coordinator.token())])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance"])
        .args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--seed", SEED, "--no-shrink", "--continue-on-failure"])
        .args(["--request-timeout", SILENCE_SECONDS, "--workers", "2", "--warnings", "off"])
        .args(["--generation-database", "none"])
        .kill_on_drop(true);
    for path in ENDLESS {
        command.args(["--exclude-path", path]);
    }
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{problem}");
    assert!(told.contains("Test cases:"), "{told}");
    // It is not only up, but still takes work.
    assert_eq!(coordinator.get("/readyz").await.status, 200);
}
