//! A folder in a repository as the source: diff, apply with `--prune` and `--watch`, and export,
//! which writes the folder that apply reads.

use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use tests::coordinator::{Coordinator, starter};
use tests::eventually::eventually;
use tests::process::Process;

/// Ended with this code; gives its stdout and stderr.
fn exits(output: &Output, code: i32) -> (String, String) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn write(dir: &Path, path: &str, content: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A script, and an agent of the same name.
fn add(dir: &Path, name: &str, content: &str) {
    let script = json!({"name": name, "description": "", "script_file": "run.sh"});
    let agent = json!({"name": name, "description": "", "type": "procedural", "script": name});
    write(
        dir,
        &format!("scripts/{name}/script.json"),
        &script.to_string(),
    );
    write(dir, &format!("scripts/{name}/run.sh"), content);
    write(dir, &format!("agents/{name}.json"), &agent.to_string());
}

fn remove(dir: &Path, name: &str) {
    std::fs::remove_dir_all(dir.join("scripts").join(name)).unwrap();
    std::fs::remove_file(dir.join(format!("agents/{name}.json"))).unwrap();
}

/// Every file below, by its path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

async fn names(coordinator: &Coordinator, path: &str) -> Vec<String> {
    let list = coordinator.get(path).await.body;
    let names = list.as_array().unwrap().iter();
    names
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_is_exported_applies_elsewhere_and_exports_to_the_same_bytes() {
    let (one, other) = (Coordinator::start().await, Coordinator::start().await);
    let starter = starter();
    exits(&one.cli(&["apply", "-f", starter.to_str().unwrap()]), 0);
    let off = json!({"status": "inactive"});
    let switched = one
        .send(reqwest::Method::PATCH, "/agents/deploy/status", Some(off))
        .await;
    assert_eq!(switched.status, 200, "{switched:?}");

    let folder = tempfile::tempdir().unwrap();
    let dir = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (said, _) = exits(&one.cli(&["export", &dir("a")]), 0);
    assert!(said.contains("agent/deploy → "), "{said}");
    let (told, _) = exits(&one.cli(&["diff", "-f", &dir("a"), "--prune"]), 0);
    assert_eq!(told, "", "nothing differs from what was just written");

    let (told, _) = exits(&other.cli(&["apply", "-f", &dir("a")]), 0);
    assert_eq!(told.matches("created (v1)").count(), 10, "{told}");
    exits(&other.cli(&["export", &dir("b")]), 0);
    assert_eq!(files(Path::new(&dir("a"))), files(Path::new(&dir("b"))));
    let agent = &files(Path::new(&dir("b")))["agents/deploy/agent.json"];
    let agent: serde_json::Value = serde_json::from_slice(agent).unwrap();
    assert_eq!(agent["status"], "inactive", "{agent}");
}

#[tokio::test]
async fn an_export_replaces_only_what_it_is_told_to_replace() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("one", "true\n").await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    write(folder.path(), "README.md", "ours");
    write(folder.path(), "scripts/old/script.json", "{}");
    let before = files(folder.path());
    let (_, told) = exits(&coordinator.cli(&["export", dir]), 1);
    assert!(told.contains("--overwrite"), "{told}");
    assert_eq!(files(folder.path()), before);
    exits(&coordinator.cli(&["export", dir, "--overwrite"]), 0);
    let after: Vec<String> = files(folder.path()).into_keys().collect();
    let expected = [
        "README.md",
        "agents/one/agent.json",
        "scripts/one/one.sh",
        "scripts/one/script.json",
    ];
    assert_eq!(after, expected);
}

#[tokio::test]
async fn diff_shows_what_apply_would_do_and_prune_deletes_what_is_gone() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let cli =
        |command: &str, more: &[&str]| coordinator.cli(&[&[command, "-f", dir][..], more].concat());
    for name in ["kept", "gone", "hooked"] {
        add(folder.path(), name, "true\n");
    }
    let hooked = json!({"name": "hooked", "description": "", "type": "procedural",
        "script": "hooked", "hooks": {"on_run_finish": {"type": "agent", "agent_name": "gone"}}});
    write(folder.path(), "agents/hooked.json", &hooked.to_string());
    exits(&cli("apply", &[]), 0);
    assert_eq!(exits(&cli("diff", &["--prune"]), 0).0, "");

    remove(folder.path(), "gone");
    remove(folder.path(), "hooked");
    write(folder.path(), "scripts/kept/run.sh", "true # now\n");
    assert_eq!(
        exits(&cli("diff", &[]), 1)
            .0
            .matches("would change")
            .count(),
        1
    );
    let (told, _) = exits(&cli("diff", &["--prune"]), 1);
    assert!(told.contains("+true # now"), "{told}");
    assert_eq!(told.matches("is not in the folder").count(), 4, "{told}");

    // Nobody can be asked here, and nothing is half done.
    let (_, told) = exits(&cli("apply", &["--prune"]), 1);
    assert!(told.contains("agent/gone") && told.contains("-y"), "{told}");
    assert_eq!(coordinator.get("/scripts/kept").await.body["version"], 1);
    let (told, _) = exits(&cli("apply", &["--prune", "--dry-run"]), 0);
    assert_eq!(told.matches("would be deleted").count(), 4, "{told}");

    // An agent that another's hook runs can only go after it.
    let (told, _) = exits(&cli("apply", &["--prune", "-y"]), 0);
    assert_eq!(told.matches(" deleted (v1)").count(), 4, "{told}");
    assert_eq!(names(&coordinator, "/scripts").await, ["kept"]);
    assert_eq!(names(&coordinator, "/agents").await, ["kept"]);
}

#[tokio::test]
async fn prune_deletes_nothing_it_was_not_told_of() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    add(folder.path(), "kept", "true\n");
    coordinator.bash("other", "true\n").await;

    // A file that cannot be read may be the one that is missing.
    write(folder.path(), "scripts/broken/script.json", "{");
    let broken = coordinator.cli(&["apply", "-f", dir, "--prune", "-y"]);
    assert!(
        exits(&broken, 1).1.contains("nothing was deleted"),
        "{broken:?}"
    );
    assert_eq!(names(&coordinator, "/scripts").await, ["kept", "other"]);
    std::fs::remove_dir_all(folder.path().join("scripts/broken")).unwrap();

    // Without a folder for agents, nothing is said about agents.
    std::fs::remove_dir_all(folder.path().join("agents")).unwrap();
    let refused = coordinator.cli(&["apply", "-f", dir, "--prune", "-y"]);
    assert!(
        exits(&refused, 1).1.contains("referenced by agents: other"),
        "{refused:?}"
    );
    assert_eq!(names(&coordinator, "/agents").await, ["kept", "other"]);

    let one = folder.path().join("scripts/kept");
    let refused = coordinator.cli(&["apply", "-f", one.to_str().unwrap(), "--prune", "-y"]);
    assert!(
        exits(&refused, 2).1.contains("capabilities/ and agents/"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn watch_applies_every_change_and_survives_mistakes_and_absences() {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "one", "true\n");
    let dir = folder.path().to_str().unwrap();
    let mut command = coordinator.cli_command(&["apply", "-f", dir, "--watch", "--prune", "-y"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let _watching = Process::start("coordinator", &mut command);
    let has = async |coordinator: &Coordinator, path: &str, version: u64| {
        eventually(path, async || {
            let body = coordinator.get(path).await.body;
            (body["version"] == version).then_some(())
        })
        .await;
    };
    has(&coordinator, "/agents/one", 1).await;
    write(folder.path(), "scripts/one/run.sh", "echo 2\n");
    has(&coordinator, "/scripts/one", 2).await;
    write(folder.path(), "scripts/one/script.json", "{");
    add(folder.path(), "two", "true\n");
    has(&coordinator, "/scripts/two", 1).await;
    coordinator.kill();
    add(folder.path(), "one", "echo 3\n");
    remove(folder.path(), "two");
    coordinator.start_again().await;
    has(&coordinator, "/scripts/one", 3).await;
    eventually("what was removed is gone", async || {
        (names(&coordinator, "/agents").await == ["one"]).then_some(())
    })
    .await;
}
