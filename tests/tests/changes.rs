//! Changing what is stored: versions count on, what is unchanged stays, folders come back as they
//! went in; and who may do it: a token, one of our own names, no page from elsewhere.

use reqwest::Method;
use schemas::bundle::{File, Folder};
use schemas::{Digest, ScriptDocument};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tests::coordinator::{Answer, Coordinator};
use tests::runner::Settings;

async fn change(coordinator: &Coordinator, method: Method, path: &str, body: Value) -> Value {
    let answer = coordinator.send(method, path, Some(body)).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    answer.body
}

#[tokio::test]
async fn a_scripts_versions_count_on() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let first = json!({"script_content": "echo 1\n", "parameters_schema": schema});
    coordinator.script("s", &first).await;
    let patch = async |body| change(&coordinator, Method::PATCH, "/scripts/s", body).await;
    let second = patch(json!({"script_content": "echo 2\n"})).await;
    assert_eq!(
        (&second["version"], &second["parameters_schema"]),
        (&json!(2), &schema)
    );
    let same = patch(json!({"script_content": "echo 2\n", "description": null})).await;
    assert_eq!(same["version"], 2, "nothing changed");
    let third = patch(json!({"parameters_schema": {}, "description": "Says a number"})).await;
    assert_eq!(third["version"], 3);
    assert_eq!(
        (third.get("parameters_schema"), &third["script_content"]),
        (None, &json!("echo 2\n"))
    );
    assert_eq!(third["created_at"], second["created_at"]);
    assert_ne!(third["modified_at"], second["modified_at"]);
    assert_ne!(third["digest"], second["digest"]);

    let whole = json!({"description": "", "script_file": "other.sh", "script_content": "echo 4\n", "demands": {"tags": ["bash"]}});
    let fourth = change(&coordinator, Method::PUT, "/scripts/s", whole.clone()).await;
    assert_eq!(
        (&fourth["version"], &fourth["script_file"]),
        (&json!(4), &json!("other.sh"))
    );
    let run = coordinator
        .ends(&coordinator.request("s", json!({})).await)
        .await;
    assert_eq!(
        (&run["script_version"], &run["result_data"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(run["digest"], fourth["digest"]);

    for path in ["/agents/s", "/scripts/s"] {
        assert_eq!(
            coordinator.send(Method::DELETE, path, None).await.status,
            204
        );
        let gone = coordinator.get(path).await;
        assert_eq!(gone.status, 404, "{gone:?}");
    }
    let reborn = change(&coordinator, Method::PUT, "/scripts/s", whole).await;
    assert_eq!(
        reborn["version"], 5,
        "a digest and a version belong together for ever"
    );
    let kept = coordinator.run(run["run_id"].as_str().unwrap()).await;
    assert_eq!(kept, run, "what ran stays known");
}

#[tokio::test]
async fn an_agents_versions_count_on() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo\n").await;
    let patch = async |body| change(&coordinator, Method::PATCH, "/agents/s", body).await;
    let second = patch(json!({"description": "Says nothing", "tags": ["a", "b"]})).await;
    assert_eq!(
        (&second["version"], &second["tags"]),
        (&json!(2), &json!(["a", "b"]))
    );
    assert_eq!(
        patch(json!({"description": "Says nothing"})).await["version"],
        2
    );
    let listed = async |query: &str| {
        let agents = coordinator.get(&format!("/agents?tags={query}")).await.body;
        agents.as_array().unwrap().len()
    };
    assert_eq!(
        (listed("a").await, listed("a,b").await, listed("a,c").await),
        (1, 1, 0)
    );
    let third = patch(json!({"description": "", "tags": []})).await;
    assert_eq!(
        (&third["version"], &third["description"]),
        (&json!(3), &json!(""))
    );
    let status = json!({"status": "inactive"});
    let fourth = change(&coordinator, Method::PATCH, "/agents/s/status", status).await;
    assert_eq!(
        (&fourth["version"], &fourth["status"]),
        (&json!(4), &json!("inactive"))
    );
    let whole = json!({"type": "procedural", "description": "", "script": "s"});
    let fifth = change(&coordinator, Method::PUT, "/agents/s", whole).await;
    assert_eq!(
        (&fifth["version"], &fifth["status"]),
        (&json!(5), &json!("active"))
    );
    assert_eq!(
        coordinator
            .send(Method::DELETE, "/agents/s", None)
            .await
            .status,
        204
    );
    assert_eq!(coordinator.get("/agents").await.body, json!([]));
}

/// A folder with a helper in a folder of its own, and data that is no text.
fn folder() -> Folder {
    let document = json!({"name": "s", "description": "", "script_file": "s.sh", "demands": {"tags": ["bash"]}});
    let document = ScriptDocument::from_value(document).unwrap();
    let files = [
        (
            "s.sh",
            File::executable(b"#!/usr/bin/env bash\ncat \"$SCRIPT_DIR/lib/data\"\n".to_vec()),
        ),
        ("lib/data", File::plain(b"\x00\xff\n".to_vec())),
    ];
    let files = files.map(|(path, file)| (path.parse().unwrap(), file));
    Folder::script(&document, files).unwrap()
}

async fn download(coordinator: &Coordinator, query: &str) -> Vec<u8> {
    let request = coordinator.http(Method::GET, &format!("/scripts/s/download{query}"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.bytes().await.unwrap().to_vec()
}

fn unpacked_by_tar(archive: &[u8], into: &Path) {
    let path = into.join("download");
    std::fs::write(&path, archive).unwrap();
    let mut tar = Command::new("tar");
    let done = tar.arg("-xzf").arg(&path).arg("-C").arg(into).status();
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn a_folder_comes_back_as_it_went_in() {
    let coordinator = Coordinator::start().await;
    let bundle = folder().pack().unwrap();
    let upload = coordinator
        .http(Method::POST, "/scripts")
        .header("content-type", "application/zstd")
        .body(bundle.bytes.clone());
    let created = Answer::of(upload.send().await.unwrap()).await.unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["digest"], bundle.digest.to_string());

    let zst = download(&coordinator, "?format=zst").await;
    assert_eq!(Digest::of(&zst), bundle.digest);
    assert_eq!(Folder::unpack(&zst, None).unwrap(), folder());
    let here = tempfile::tempdir().unwrap();
    unpacked_by_tar(&download(&coordinator, "").await, here.path());
    for (path, file) in folder().files() {
        let unpacked = here.path().join("s").join(path.as_str());
        assert_eq!(std::fs::read(&unpacked).unwrap(), file.bytes, "{path}");
        let mode = unpacked.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111 != 0, file.executable, "{path}");
    }

    change(
        &coordinator,
        Method::PATCH,
        "/scripts/s",
        json!({"description": "New"}),
    )
    .await;
    let old = download(
        &coordinator,
        &format!("?format=zst&digest={}", bundle.digest),
    )
    .await;
    assert_eq!(old, zst);
    assert_ne!(download(&coordinator, "?format=zst").await, zst);
    for (path, status) in [
        ("/scripts/gone/download", 404),
        ("/scripts/s/download?format=rar", 422),
    ] {
        assert_eq!(coordinator.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn without_the_token_only_health_and_the_page() {
    let coordinator = Coordinator::start().await;
    for path in ["/health", "/"] {
        let answer = coordinator
            .stranger(Method::GET, path)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let routes = [
        (Method::GET, "/scripts"),
        (Method::POST, "/scripts"),
        (Method::DELETE, "/scripts/s"),
        (Method::GET, "/scripts/s/download"),
        (Method::GET, "/agents"),
        (Method::POST, "/runs"),
        (Method::GET, "/runs/run_0123456789abcdef/logs"),
        (Method::POST, "/runner/join"),
        (Method::GET, "/status"),
        (Method::GET, "/no/such/route"),
        (Method::POST, "/health"),
    ];
    let almost = &coordinator.token()[1..];
    let mut asked = Vec::new();
    for (method, path) in routes {
        let ask = || coordinator.stranger(method.clone(), path);
        for request in [
            ask(),
            ask().bearer_auth(almost),
            ask().bearer_auth(""),
            ask().basic_auth("admin", Some(coordinator.token())),
            ask().query(&[("token", coordinator.token())]),
        ] {
            let what = format!("{method} {path}");
            asked.push(async move {
                let answer = Answer::of(request.send().await.unwrap()).await.unwrap();
                let told = answer.refusal();
                assert_eq!(told, (401, "unauthenticated"), "{what}: {answer:?}");
            });
        }
    }
    // At once: whoever shows wrong tokens waits, and longer each time.
    futures::future::join_all(asked).await;
    let large = coordinator
        .stranger(Method::POST, "/scripts")
        .body(vec![0; 8 * 1024 * 1024]);
    let answer = Answer::of(large.send().await.unwrap()).await.unwrap();
    assert_eq!(answer.refusal().0, 401, "said also to who is still sending");
}

#[tokio::test]
async fn requests_that_were_not_meant_for_us_are_refused() {
    let coordinator = Coordinator::start_with(&["--allowed-host", "ops.example"]).await;
    let port = coordinator.url().rsplit_once(':').unwrap().1.to_owned();
    let own = [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "ops.example".to_owned(),
    ];
    for host in &own {
        let request = coordinator
            .http(Method::GET, "/scripts")
            .header("host", host);
        assert_eq!(request.send().await.unwrap().status(), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "192.168.1.1"] {
        for path in ["/scripts", "/health", "/"] {
            let request = coordinator.http(Method::GET, path).header("host", host);
            let answer = Answer::of(request.send().await.unwrap()).await.unwrap();
            assert_eq!(answer.status, 403, "{host} {path}: {answer:?}");
        }
    }
    let from = async |origin: &str| {
        let request = coordinator
            .http(Method::POST, "/scripts")
            .header("origin", origin);
        let script =
            json!({"name": "x", "description": "", "script_file": "x.sh", "script_content": ""});
        request.json(&script).send().await.unwrap().status()
    };
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        assert_eq!(from(origin).await, 403, "{origin}");
    }
    assert_eq!(coordinator.get("/scripts").await.body, json!([]));
    assert_eq!(from(&coordinator.url()).await, 201);
}
