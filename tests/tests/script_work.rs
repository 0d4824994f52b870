//! The goal: a script is begun, checked and edited from the command line. What the coordinator would refuse is
//! said before it is sent, and nothing that somebody typed is ever lost.

use std::path::Path;
use std::process::Output;
use tests::coordinator::Coordinator;
use tests::runner::Settings;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An editor that does this to the file.
fn edit(coordinator: &Coordinator, editor: &str, arguments: &[&str]) -> Output {
    let mut command = coordinator.cli_command(&[&["script", "edit"], arguments].concat());
    command.env_remove("VISUAL").env("EDITOR", editor);
    command.output().unwrap()
}

fn content(coordinator: &Coordinator, name: &str) -> String {
    said(&coordinator.cli(&["script", "show", name, "--content"]), 0)
}

#[tokio::test]
async fn a_new_script_is_checked_and_runs() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    for interpreter in ["bash", "python3", "node"] {
        let new = [
            "script",
            "new",
            interpreter,
            "-i",
            interpreter,
            "--dir",
            dir,
            "--agent",
        ];
        said(&coordinator.cli(&new), 0);
        let again = coordinator.cli(&new);
        assert!(told(&again).contains("there already"), "{again:?}");
    }
    let checked = said(&coordinator.cli(&["script", "check", dir, "--offline"]), 0);
    assert_eq!(checked.matches(" ok").count(), 6, "{checked}");
    said(&coordinator.cli(&["apply", "-f", dir]), 0);
    for agent in ["bash", "python3", "node"] {
        let run = coordinator.cli(&["agent", "run", agent, "-p", "name=you"]);
        let result: serde_json::Value = serde_json::from_str(&said(&run, 0)).unwrap();
        assert_eq!(result["greeting"], "hello you", "{agent}");
    }
}

#[tokio::test]
async fn what_would_be_refused_is_said_before_it_is_sent() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let script = |name: &str, more: &str| {
        format!(r#"{{"name": "{name}", "description": "d", "script_file": "a.sh"{more}}}"#)
    };
    write("scripts/broken/script.json", &script("broken", ""));
    write("scripts/broken/a.sh", "if true; then\n");
    write(
        "scripts/odd/script.json",
        &script("odd", r#", "parameters_schema": {"type": 3}"#),
    );
    write("scripts/odd/a.sh", "true\n");
    write(
        "agents/lost/agent.json",
        r#"{"name": "lost", "type": "procedural", "description": "d", "script": "gone"}"#,
    );
    let dir = folder.path().to_str().unwrap();
    let check = |more: &[&str]| coordinator.cli(&[&["script", "check", dir], more].concat());
    let checked = check(&[]);
    let lines = said(&checked, 1);
    for expected in [
        "a.sh cannot be read",
        "parameters_schema",
        "refers to script gone",
    ] {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
    assert!(
        told(&checked).contains("3 of 3 would be refused"),
        "{checked:?}"
    );
    let offline = said(&check(&["--offline"]), 1);
    assert!(
        offline.contains("agent/lost ok") && offline.contains("is open"),
        "{offline}"
    );
    coordinator.bash("gone", "true\n").await;
    let names = said(&check(&["-q"]), 1);
    assert_eq!(names, "script/broken\nscript/odd\n");
}

#[tokio::test]
async fn an_edit_is_shown_and_stored_as_the_next_version() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("greet", "echo 1\n").await;
    let same = edit(&coordinator, "true", &["greet"]);
    assert!(told(&same).contains("nothing was changed"), "{same:?}");
    let dry = edit(&coordinator, "sed -i s/1/2/", &["greet", "--dry-run"]);
    assert!(told(&dry).contains("+echo 2"), "{dry:?}");
    assert_eq!(content(&coordinator, "greet"), "echo 1\n");
    let changed = edit(&coordinator, "sed -i s/1/2/", &["greet"]);
    assert!(said(&changed, 0).contains("v1 → v2"), "{changed:?}");
    assert_eq!(content(&coordinator, "greet"), "echo 2\n");
    let document = edit(
        &coordinator,
        "sed -i s/bash/uv/",
        &["greet", "--file", "script.json"],
    );
    assert!(told(&document).contains("\"uv\""), "{document:?}");
    let script = coordinator.get("/scripts/greet").await.body;
    assert_eq!(script["demands"]["tags"][0], "uv");
    let failed = edit(&coordinator, "false", &["greet"]);
    assert!(said(&failed, 1).is_empty() && told(&failed).contains("nothing was stored"));
    let other = edit(&coordinator, "true", &["greet", "--file", "x.sh"]);
    assert_eq!(said(&other, 2), "");
    assert!(told(&other).contains("greet.sh"), "{other:?}");
}

#[tokio::test]
async fn what_cannot_be_stored_is_kept() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("greet", "echo 1\n").await;
    // Somebody else is faster: this editor lets them be.
    let url = coordinator.url();
    let meanwhile = format!(
        "sed -i s/1/mine/ \"$1\"; {} script edit greet --url {url} --from other.sh >&2; true",
        tests::process::binary("coordinator").display()
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.sh"), "echo theirs\n").unwrap();
    let editor = folder.path().join("editor");
    std::fs::write(&editor, format!("#!/bin/sh\n{meanwhile}\n")).unwrap();
    make_executable(&editor);
    let mut command = coordinator.cli_command(&["script", "edit", "greet"]);
    command
        .current_dir(folder.path())
        .env_remove("VISUAL")
        .env("EDITOR", &editor);
    let refused = command.output().unwrap();
    assert_eq!(said(&refused, 1), "");
    let told = told(&refused);
    assert!(told.contains("v2 now, and you began with v1"), "{told}");
    assert_eq!(content(&coordinator, "greet"), "echo theirs\n");

    let kept = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("- your text is in "));
    let kept = kept.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "echo mine\n");
    let taken_up = coordinator.cli(&["script", "edit", "greet", "--from", kept]);
    assert!(said(&taken_up, 0).contains("v2 → v3"), "{taken_up:?}");
    assert_eq!(content(&coordinator, "greet"), "echo mine\n");
    std::fs::remove_file(kept).unwrap();

    let refused = edit(
        &coordinator,
        "sed -i s/greet/other/",
        &["greet", "--file", "script.json"],
    );
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("--file script.json --from"), "{told}");
    let kept = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("- your text is in "));
    std::fs::remove_file(kept.unwrap()).unwrap();
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
