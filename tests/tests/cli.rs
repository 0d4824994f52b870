//! The command line against a real coordinator and a real runner: what stands on stdout and what
//! on stderr, and exit codes. What the README says is run in `readme`.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::runner::Settings;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ended with this code; gives its stdout.
fn exits(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    stdout(output)
}

fn parsed(output: &Output) -> Value {
    serde_json::from_str(&exits(output, 0)).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn from_a_starter_folder_to_nothing() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let starter = folder.path().join("my-scripts");
    let starter = starter.to_str().unwrap();

    let written = exits(&coordinator.cli(&["init", starter]), 0);
    assert!(written.contains("scripts/deploy/deploy.sh"), "{written}");
    let again = coordinator.cli(&["init", starter]);
    assert_eq!(exits(&again, 1), "");
    assert!(stderr(&again).contains("nothing was written"), "{again:?}");

    let apply = |more: &[&str]| coordinator.cli(&[&["apply", "-f", starter], more].concat());
    let dry = exits(&apply(&["--dry-run"]), 0);
    assert_eq!(dry.matches("would be created").count(), 10, "{dry}");
    assert_eq!(coordinator.get("/scripts").await.body, json!([]));
    let first = exits(&apply(&[]), 0);
    assert_eq!(first.matches("created (v1)").count(), 10, "{first}");
    let second = exits(&apply(&[]), 0);
    assert_eq!(second.matches("unchanged (v1)").count(), 10, "{second}");

    let file = Path::new(starter).join("scripts/deploy/deploy.sh");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("is healthy", "is very healthy")).unwrap();
    let third = exits(&apply(&[]), 0);
    assert!(third.contains("changed (v1 → v2): deploy.sh"), "{third}");
    assert_eq!(third.matches("unchanged (v1)").count(), 9, "{third}");

    let run = coordinator.cli(&["agent", "run", "deploy", "-p", "target=staging"]);
    let result: Value = serde_json::from_str(&exits(&run, 0)).unwrap();
    assert_eq!(result, json!({"status": "deployed", "target": "staging"}));
    let told = stderr(&run);
    assert!(
        told.contains("staging is very healthy") && told.contains("completed"),
        "{told}"
    );

    let refused = coordinator.cli(&["script", "delete", "deploy"]);
    assert_eq!(exits(&refused, 1), "");
    assert!(
        stderr(&refused).contains("referenced by agents: deploy"),
        "{refused:?}"
    );
    exits(&coordinator.cli(&["agent", "delete", "deploy"]), 0);
    exits(&coordinator.cli(&["script", "rm", "deploy"]), 0);
    let left = exits(&coordinator.cli(&["script", "list", "-q"]), 0);
    assert_eq!(left.lines().count(), 4, "{left}");
}

#[tokio::test]
async fn every_exit_code_is_its_own() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("ok", "echo '{\"ok\": true}'\n").await;
    coordinator.bash("bad", "echo so far; exit 3\n").await;
    coordinator
        .bash("slow", "while :; do sleep 0.1; done\n")
        .await;
    exits(&coordinator.cli(&["agent", "run", "ok"]), 0);
    let failed = coordinator.cli(&["agent", "run", "bad"]);
    let result: Value = serde_json::from_str(&exits(&failed, 10)).unwrap();
    assert_eq!(
        (&result["return_code"], &result["stdout"]),
        (&json!(3), &json!("so far\n"))
    );
    assert!(
        stderr(&failed).contains("coordinator run show run_"),
        "{failed:?}"
    );
    let late = coordinator.cli(&["agent", "run", "slow", "--timeout", "1s"]);
    exits(&late, 11);
    assert!(stderr(&late).contains("timeout"), "{late:?}");

    for (arguments, code, says) in [
        (&["agent", "run", "gone"][..], 1, "Agent not found: gone"),
        (
            &["run", "show", "run_0123456789abcdef"],
            1,
            "coordinator run list",
        ),
        (&["agent", "run", "ok", "-p", "novalue"], 2, "key=value"),
        (&["agent", "frobnicate"], 2, "frobnicate"),
        (&["run", "list", "--limit", "0"], 2, "--limit"),
        (&["agent", "run", "ok", "--params", "{"], 2, "not JSON"),
    ] {
        let output = coordinator.cli(arguments);
        assert_eq!(exits(&output, code), "", "{arguments:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {output:?}");
    }
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let away = coordinator.cli(&["status", "--url", &nobody]);
    assert_eq!(exits(&away, 3), "");
    assert!(stderr(&away).contains("coordinator serve"), "{away:?}");
    let stranger = coordinator.cli(&["status", "--token", "wrong"]);
    assert_eq!(exits(&stranger, 4), "");
    assert!(stderr(&stranger).contains("token"), "{stranger:?}");
}

#[tokio::test]
async fn a_run_is_listed_shown_followed_and_stopped() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let loud = "echo out; echo err >&2; while :; do sleep 0.1; done\n";
    coordinator.bash("loud", loud).await;
    let started = exits(&coordinator.cli(&["agent", "run", "loud", "-d"]), 0);
    let id = started.trim();
    coordinator.reaches(id, "running").await;

    let following = coordinator
        .cli_command(&["run", "logs", "-f", id])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let staying = coordinator
        .cli_command(&["agent", "run", "loud", "--idempotency-key", "k"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let second = eventually("the second run is there", async || {
        let running = coordinator.get("/runs?status=running").await.body;
        let ids = running["runs"]
            .as_array()?
            .iter()
            .map(|run| run["run_id"].clone());
        ids.into_iter().find(|other| other != id)
    })
    .await;
    let second = second.as_str().unwrap();

    let listed = exits(&coordinator.cli(&["run", "list"]), 0);
    assert!(listed.starts_with("RUN") && listed.contains(id), "{listed}");
    let quiet = exits(
        &coordinator.cli(&["run", "ls", "-q", "--status", "running"]),
        0,
    );
    assert_eq!(quiet, format!("{second}\n{id}\n"));
    let shown = exits(&coordinator.cli(&["run", "show", &id[..12]]), 0);
    assert!(shown.contains(id) && shown.contains("running"), "{shown}");
    for id in [id, second] {
        let stopped = exits(&coordinator.cli(&["run", "cancel", id]), 0);
        assert!(stopped.contains("stopping"), "{stopped}");
    }
    let followed = following.wait_with_output().unwrap();
    assert_eq!(exits(&followed, 0), "out\n");
    let told = stderr(&followed);
    assert!(
        told.starts_with("err\n") && told.contains("stopped"),
        "{told}"
    );
    let stayed = staying.wait_with_output().unwrap();
    exits(&stayed, 12);
    assert!(stderr(&stayed).contains("out\n"), "{stayed:?}");
    let over = coordinator.cli(&["run", "stop", id]);
    assert!(exits(&over, 0).contains("stopped"), "{over:?}");
    assert!(stderr(&over).contains("had ended already"), "{over:?}");
    let logs = coordinator.cli(&["run", "logs", id]);
    assert_eq!(
        (exits(&logs, 0).as_str(), stderr(&logs).as_str()),
        ("out\n", "err\n")
    );
}

#[tokio::test]
async fn json_is_the_apis_own_and_alone_on_stdout() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("ok", "echo remark >&2; echo 7\n").await;
    let run = parsed(&coordinator.cli(&["agent", "run", "ok", "-o", "json"]));
    assert_eq!(
        (&run["status"], &run["result_data"]),
        (&json!("completed"), &json!(7))
    );
    let id = run["run_id"].as_str().unwrap();
    for (arguments, path) in [
        (&["script", "list"][..], "/scripts".to_owned()),
        (&["script", "show", "ok"], "/scripts/ok".to_owned()),
        (&["agent", "list"], "/agents".to_owned()),
        (&["agent", "show", "ok"], "/agents/ok".to_owned()),
        (&["run", "list"], "/runs".to_owned()),
        (&["run", "show", id], format!("/runs/{id}")),
        (&["run", "logs", id], format!("/runs/{id}/logs")),
    ] {
        let shown = parsed(&coordinator.cli(&[arguments, &["-o", "json"]].concat()));
        assert_eq!(shown, coordinator.get(&path).await.body, "{arguments:?}");
    }
    let runners = parsed(&coordinator.cli(&["runner", "list", "-o", "json"]));
    assert_eq!(runners["runners"][0]["status"], "online", "{runners:#}");
    let status = parsed(&coordinator.cli(&["status", "-o", "json"]));
    assert_eq!(status["broker"]["connected"], true, "{status:#}");
    let lines = exits(&coordinator.cli(&["agent", "list", "-o", "jsonl"]), 0);
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let bare = parsed(&coordinator.cli(&["agent", "run", "ok"]));
    assert_eq!(bare, 7, "what the script said, and nothing else");
    for table in [
        &["runner", "list"][..],
        &["status"],
        &["agent", "list", "-o", "wide"],
    ] {
        assert!(
            exits(&coordinator.cli(table), 0).lines().count() > 1,
            "{table:?}"
        );
    }
}

#[tokio::test]
async fn scripts_and_agents_are_made_without_a_folder() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("add.sh");
    std::fs::write(&file, "cat \"$PARAMS_FILE\"\n").unwrap();
    let file = file.to_str().unwrap();
    let schema = r#"{"properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}"#;
    let create = [
        "script",
        "create",
        "--file",
        file,
        "--tags",
        "bash",
        "--params-schema",
        schema,
    ];
    exits(&coordinator.cli(&create), 0);
    assert_eq!(
        exits(&coordinator.cli(&create), 1),
        "",
        "there is one already"
    );
    exits(
        &coordinator.cli(&["agent", "create", "adder", "--script", "add"]),
        0,
    );
    let dangling = coordinator.cli(&["agent", "create", "other", "--script", "gone"]);
    assert_eq!(exits(&dangling, 1), "");
    assert!(stderr(&dangling).contains("gone"), "{dangling:?}");
    let content = exits(&coordinator.cli(&["script", "show", "add", "--content"]), 0);
    assert_eq!(content, "cat \"$PARAMS_FILE\"\n");

    let run = ["agent", "run", "adder", "-q"];
    let typed = coordinator.cli(&[
        "agent",
        "run",
        "adder",
        "-p",
        "n=1",
        "-p",
        "s=1",
        "-p",
        "more=[1, 2]",
    ]);
    assert_eq!(parsed(&typed), json!({"n": 1, "s": "1", "more": [1, 2]}));
    let file = folder.path().join("params.json");
    std::fs::write(&file, r#"{"n": 2, "s": "a"}"#).unwrap();
    let at = format!("@{}", file.display());
    let over = coordinator.cli(&["agent", "run", "adder", "--params", &at, "-p", "s=b=c"]);
    assert_eq!(parsed(&over), json!({"n": 2, "s": "b=c"}));
    let mut piped = coordinator.cli_command(&["agent", "run", "adder", "--params", "-"]);
    let piped = piped
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert_eq!(parsed(&piped), json!({"n": 2, "s": "a"}));
    let misfit = coordinator.cli(&["agent", "run", "adder", "-p", "n=many"]);
    assert_eq!(exits(&misfit, 1), "");
    assert!(stderr(&misfit).contains("$.n"), "{misfit:?}");
    let quiet = coordinator.cli(&run);
    assert!(exits(&quiet, 0).starts_with("run_"), "{quiet:?}");
}

#[tokio::test]
async fn who_leaves_a_run_is_told_how_to_stop_it() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator
        .bash("waits", "echo; while [ ! -e go ]; do sleep 0.05; done\n")
        .await;
    let staying = coordinator
        .cli_command(&["agent", "run", "waits"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let id = eventually("it runs", async || {
        let running = coordinator.get("/runs?status=running").await.body;
        running["runs"][0]["run_id"].as_str().map(str::to_owned)
    })
    .await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(staying.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let left = staying.wait_with_output().unwrap();
    assert_eq!(exits(&left, 130), "");
    assert!(
        stderr(&left).contains(&format!("coordinator run stop {id}")),
        "{left:?}"
    );
    assert_eq!(
        coordinator.run(&id).await["status"],
        "running",
        "it goes on"
    );
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    assert_eq!(coordinator.ends(&id).await["status"], "completed");
}
