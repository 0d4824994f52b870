//! `/scripts` against the contract: its fields, its status codes, and every way a folder comes in
//! and goes out.

use super::fixtures::{deploy, deployer};
use super::world::World;
use axum::body::Body;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rstest::rstest;
use schemas::bundle::{File, Folder};
use schemas::{Digest, ScriptDocument};
use serde_json::{Value, json};
use std::io::Write as _;

/// What differs from run to run, taken out.
fn stable(mut script: Value) -> Value {
    for field in ["created_at", "modified_at", "digest", "size"] {
        assert!(!script[field].is_null(), "{field} is missing in {script}");
        script.as_object_mut().unwrap().remove(field);
    }
    script
}

#[tokio::test]
async fn a_script_comes_back_as_it_was_sent() {
    let world = World::new().await;
    let created = world.send("POST", "/scripts", deploy()).await;
    assert_eq!(created.status, 201);
    let mut expected = deploy();
    expected["version"] = json!(1);
    expected["idempotent"] = json!(false);
    let document = ScriptDocument::from_value(deploy()).unwrap().to_json();
    let content = deploy()["script_content"].as_str().unwrap().to_owned();
    expected["files"] = json!([
        {"path": "deploy.sh", "size": 14, "executable": true, "digest": Digest::of(content.as_bytes())},
        {"path": "script.json", "size": document.len(), "executable": false,
            "digest": Digest::of(document.as_bytes())},
    ]);
    assert_eq!(stable(created.json()), expected);
    assert_eq!(
        world.ask("GET", "/scripts/deploy").await.json(),
        created.json()
    );
}

#[tokio::test]
async fn the_list_is_sorted_and_says_what_each_is() {
    let world = World::new().await;
    let plain =
        json!({"name": "a", "description": "", "script_file": "a.sh", "script_content": ""});
    for script in [deploy(), plain] {
        assert_eq!(world.send("POST", "/scripts", script).await.status, 201);
    }
    let list = world.ask("GET", "/scripts").await.json();
    let names: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["a", "deploy"]);
    let deploy = &list[1];
    assert_eq!(deploy["has_parameters_schema"], true);
    assert_eq!(deploy["has_demands"], true);
    assert_eq!(deploy["demand_tags"], json!(["bash"]));
    assert!(deploy.get("script_content").is_none());
}

#[tokio::test]
async fn put_creates_once_and_counts_versions_only_when_something_changes() {
    let world = World::new().await;
    let mut body = deploy();
    body.as_object_mut().unwrap().remove("name");
    let told = async |body: &Value| {
        let answer = world.send("PUT", "/scripts/deploy", body.clone()).await;
        (answer.status.as_u16(), answer.json()["version"].clone())
    };
    assert_eq!(told(&body).await, (201, json!(1)));
    assert_eq!(told(&body).await, (200, json!(1)));
    body["script_content"] = json!("echo other");
    assert_eq!(told(&body).await, (200, json!(2)));
}

#[tokio::test]
async fn patch_keeps_what_is_absent_and_removes_what_is_empty() {
    let world = World::with_deployer().await;
    let patch = json!({"description": "New", "script_content": null, "parameters_schema": {}, "demands": {"tags": []}});
    let patched = world.send("PATCH", "/scripts/deploy", patch).await;
    assert_eq!(patched.status, 200);
    let script = patched.json();
    assert_eq!(script["description"], "New");
    assert_eq!(script["script_content"], "echo deployed\n");
    assert!(script.get("parameters_schema").is_none() && script.get("demands").is_none());
    let content = world
        .send(
            "PATCH",
            "/scripts/deploy",
            json!({"script_content": "echo 2"}),
        )
        .await;
    assert_eq!(content.json()["script_content"], "echo 2");
    assert_eq!(content.json()["version"], 3);
}

#[tokio::test]
async fn a_script_in_use_is_not_deleted() {
    let world = World::with_deployer().await;
    let told = world.ask("DELETE", "/scripts/deploy").await.error();
    let detail = json!("Script is referenced by agents: deployer");
    assert_eq!(told, (409, detail, "referenced_by_agents".to_owned()));
    assert_eq!(world.ask("DELETE", "/agents/deployer").await.status, 204);
    assert_eq!(world.ask("DELETE", "/scripts/deploy").await.status, 204);
    let told = world.ask("DELETE", "/scripts/deploy").await.error();
    assert_eq!(
        told,
        (
            404,
            json!("Script not found: deploy"),
            "script_not_found".to_owned()
        )
    );
}

#[rstest]
#[case::name(json!({"name": "../x"}), 400, "invalid_name")]
#[case::long_name(json!({"name": "x".repeat(61)}), 400, "invalid_name")]
#[case::name_type(json!({"name": 7}), 422, "invalid_request")]
#[case::no_content(json!({"script_content": null}), 422, "invalid_request")]
#[case::file_outside(json!({"script_file": "../run.sh"}), 422, "invalid_request")]
#[case::own_document(json!({"script_file": "script.json"}), 400, "invalid_script")]
#[case::reserved_tag(json!({"demands": {"tags": ["type:procedural"]}}), 400, "invalid_script")]
#[case::no_schema(json!({"parameters_schema": {"type": "nonsense"}}), 400, "invalid_schema")]
#[case::remote_schema(json!({"parameters_schema": {"$ref": "http://127.0.0.1:1/x"}}), 400, "invalid_schema")]
#[tokio::test]
async fn what_no_script_can_be_is_refused(
    #[case] change: Value,
    #[case] status: u16,
    #[case] code: &str,
) {
    let world = World::new().await;
    let mut body = deploy();
    for (field, value) in change.as_object().unwrap() {
        body[field] = value.clone();
    }
    let told = world.send("POST", "/scripts", body).await.error();
    assert_eq!((told.0, told.2.as_str()), (status, code), "{}", told.1);
    assert_eq!(world.ask("GET", "/scripts").await.json(), json!([]));
}

#[tokio::test]
async fn a_second_creation_of_one_name_is_a_conflict() {
    let world = World::with_deployer().await;
    let told = world.send("POST", "/scripts", deploy()).await.error();
    assert_eq!((told.0, told.2.as_str()), (409, "already_exists"));
    let told = world.send("PUT", "/scripts/other", deploy()).await.error();
    assert_eq!((told.0, told.2.as_str()), (400, "name_differs"));
}

fn folder() -> Folder {
    let document = ScriptDocument::from_value(deploy()).unwrap();
    let files = [
        (
            "deploy.sh".parse().unwrap(),
            File::plain("cat lib/data.txt"),
        ),
        ("lib/data.txt".parse().unwrap(), File::plain("data")),
    ];
    Folder::script(&document, files).unwrap()
}

fn gzipped(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn parts() -> Vec<u8> {
    let mut body = Vec::new();
    for (path, file) in folder().files() {
        let head = format!(
            "--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{path}\"\r\n\r\n"
        );
        body.extend([head.as_bytes(), &file.bytes, b"\r\n"].concat());
    }
    body.extend(b"--B--\r\n");
    body
}

#[rstest]
#[case("application/zstd", folder().pack().unwrap().bytes)]
#[case("application/x-tar", folder().tar(None))]
#[case("application/gzip", gzipped(&folder().tar(None)))]
#[case("multipart/form-data; boundary=B", parts())]
#[tokio::test]
async fn a_folder_arrives_in_every_wrapping_as_the_same_bundle(
    #[case] media: &str,
    #[case] body: Vec<u8>,
) {
    let world = World::new().await;
    for (method, path, status) in [("POST", "/scripts", 201), ("PUT", "/scripts/deploy", 200)] {
        let request = World::request(method, path).header("content-type", media);
        let answer = world
            .answer(request.body(Body::from(body.clone())).unwrap())
            .await;
        assert_eq!(answer.status, status, "{}", answer.json());
        assert_eq!(
            answer.json()["digest"],
            json!(folder().pack().unwrap().digest)
        );
        assert_eq!(answer.json()["version"], 1);
    }
}

#[rstest]
#[case("application/zstd", b"not zstd".to_vec())]
#[case("application/gzip", b"not gzip".to_vec())]
#[case("application/x-tar", vec![7; 512])]
#[case("application/x-tar", Folder::default().tar(None))]
#[tokio::test]
async fn an_archive_that_is_none_is_refused(#[case] media: &str, #[case] body: Vec<u8>) {
    let world = World::new().await;
    let request = World::request("POST", "/scripts").header("content-type", media);
    let answer = world.answer(request.body(Body::from(body)).unwrap()).await;
    assert!(matches!(answer.error().0, 400 | 422), "{}", answer.json());
}

#[tokio::test]
async fn a_download_is_a_tar_below_the_scripts_name() {
    let world = World::with_deployer().await;
    let answer = world.ask("GET", "/scripts/deploy/download").await;
    assert_eq!(answer.header("content-type"), "application/gzip");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"deploy.tar.gz\""
    );
    let mut archive = tar::Archive::new(GzDecoder::new(&answer.body[..]));
    let entries = archive.entries().unwrap();
    let names: Vec<String> = entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["deploy/deploy.sh", "deploy/script.json"]);
}

#[tokio::test]
async fn every_version_can_be_downloaded_by_its_digest() {
    let world = World::with_deployer().await;
    let old = world.ask("GET", "/scripts/deploy").await.json()["digest"].clone();
    world
        .send(
            "PATCH",
            "/scripts/deploy",
            json!({"script_content": "echo 2"}),
        )
        .await;
    let path = format!(
        "/scripts/deploy/download?format=zst&digest={}",
        old.as_str().unwrap()
    );
    let answer = world.ask("GET", &path).await;
    assert_eq!(json!(Digest::of(&answer.body)), old);
    let unknown = format!("/scripts/deploy/download?digest={}", Digest::of(b"x"));
    assert_eq!(
        world.ask("GET", &unknown).await.error().2,
        "version_not_found"
    );
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let world = World::new().await;
    let mut body = deploy();
    body["color"] = json!("blue");
    assert_eq!(world.send("POST", "/scripts", body).await.status, 201);
    let mut agent = deployer();
    agent["color"] = json!("blue");
    assert_eq!(world.send("POST", "/agents", agent).await.status, 201);
}
