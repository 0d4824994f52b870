//! What a script writes: stdout and stderr told apart, seen while it runs, followed across broken
//! connections without loss or doubles, byte for byte, bounded, and there after the end.

use reqwest::Method;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use tests::coordinator::Coordinator;
use tests::events::{Event, Events};
use tests::runner::Settings;

async fn follow(coordinator: &Coordinator, id: &str, after: Option<&str>) -> Events {
    let mut request = coordinator
        .http(Method::GET, &format!("/runs/{id}/logs"))
        .header("accept", "text/event-stream");
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    Events::of(request.send().await.unwrap())
}

async fn chunks(coordinator: &Coordinator, id: &str) -> Vec<Value> {
    let mut logs = coordinator.get(&format!("/runs/{id}/logs")).await.body;
    assert_eq!(logs["complete"], true);
    match logs["chunks"].take() {
        Value::Array(chunks) => chunks,
        other => panic!("{other}"),
    }
}

/// All text of one stream.
fn text<'a>(chunks: impl IntoIterator<Item = &'a Value>, stream: &str) -> String {
    let own = chunks.into_iter().filter(|chunk| chunk["stream"] == stream);
    own.map(|chunk| chunk["text"].as_str().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn a_line_is_seen_before_the_script_goes_on() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    let waits = "echo first; while [ ! -e go ]; do sleep 0.05; done; echo second >&2\n";
    coordinator.bash("waits", waits).await;
    let id = coordinator.request("waits", json!({})).await;
    let mut events = follow(&coordinator, &id, None).await;
    let first = events.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), &first.data["text"]),
        ("output", &json!("first\n"))
    );
    assert_eq!(
        (&first.data["stream"], &first.data["attempt"]),
        (&json!("stdout"), &json!(1))
    );
    let so_far = coordinator.get(&format!("/runs/{id}/logs")).await.body;
    assert_eq!(
        so_far["complete"], false,
        "it has not been let go yet: {so_far}"
    );
    assert_eq!(
        text(so_far["chunks"].as_array().unwrap(), "stdout"),
        "first\n"
    );

    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    let second = events.next().await.unwrap();
    assert_eq!(
        (&second.data["stream"], &second.data["text"]),
        (&json!("stderr"), &json!("second\n"))
    );
    let end = events.next().await.unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["status"]),
        ("end", &json!("completed"))
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn broken_connections_lose_and_double_nothing() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let counts = "for n in $(seq 60); do echo out $n; echo err $n >&2; sleep 0.03; done\n";
    coordinator.bash("counts", counts).await;
    let id = coordinator.request("counts", json!({})).await;
    let mut seen: Vec<Event> = Vec::new();
    let mut last = None;
    // One event per connection, the worst there is.
    let end = loop {
        let mut events = follow(&coordinator, &id, last.as_deref()).await;
        match events.next().await {
            Some(event) if event.name == "end" => break event,
            Some(event) => {
                last.clone_from(&event.id);
                seen.push(event);
            }
            None => panic!("it ended without saying so"),
        }
    };
    assert_eq!(end.data["status"], "completed");
    assert!(seen.len() > 4, "{} events", seen.len());
    let data: Vec<&Value> = seen.iter().map(|event| &event.data).collect();
    for (stream, word) in [("stdout", "out"), ("stderr", "err")] {
        let expected: String = (1..=60).map(|n| format!("{word} {n}\n")).collect();
        assert_eq!(text(data.iter().copied(), stream), expected);
    }
    assert_eq!(
        chunks(&coordinator, &id).await,
        data.into_iter().cloned().collect::<Vec<_>>()
    );
    let middle = seen[seen.len() / 2].id.as_deref().unwrap();
    let rest = coordinator
        .get(&format!("/runs/{id}/logs?after={middle}"))
        .await
        .body;
    assert_eq!(
        rest["chunks"].as_array().unwrap().len(),
        seen.len() - seen.len() / 2 - 1
    );
    let bad = coordinator
        .get(&format!("/runs/{id}/logs?after=nothing"))
        .await;
    assert_eq!(bad.status, 422, "{bad:?}");
}

#[tokio::test]
async fn bytes_survive_and_characters_stay_whole() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("bytes", "printf '\\xff\\xfe ok'\n").await;
    let cut = "printf '\\xc3'; sleep 0.3; printf '\\xa9'; sleep 0.3; printf '\\xe2'; sleep 0.3; printf '\\x82\\xac'\n";
    coordinator.bash("cut", cut).await;
    let bytes = coordinator.request("bytes", json!({})).await;
    let cut = coordinator.request("cut", json!({})).await;
    let run = coordinator.ends(&bytes).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    let written = chunks(&coordinator, &bytes).await;
    assert_eq!(written[0]["base64"], "//4gb2s=", "{written:?}");
    let logs = coordinator.cli(&["run", "logs", &bytes]);
    assert_eq!(logs.stdout, b"\xff\xfe ok");
    assert_eq!(coordinator.ends(&cut).await["result_data"]["stdout"], "é€");
    assert_eq!(text(&chunks(&coordinator, &cut).await, "stdout"), "é€");
}

/// Retitles the window, clears the screen, moves the cursor, rings, asks the terminal who it is.
const ACTS: &str =
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[1;1Hdone\u{8}\u{1b}[c \u{1b}[31mred\u{1b}[0m";

/// What a command writes to a terminal of its own.
fn on_terminal(command: &Command) -> String {
    let mut terminal = Command::new("python3");
    terminal
        .args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"])
        .arg(command.get_program())
        .args(command.get_args())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            terminal.env(name, value);
        }
    }
    String::from_utf8(terminal.output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn what_a_script_writes_does_not_act_on_a_terminal() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let script = format!("printf '%s\\n' '{ACTS}'; printf '%s\\n' '{ACTS}' >&2\n");
    coordinator.bash("acts", &script).await;
    let id = coordinator.request("acts", json!({})).await;
    coordinator.ends(&id).await;
    let logs = |options: &[&str]| {
        let arguments = [&["run", "logs", &id], options].concat();
        on_terminal(&coordinator.cli_command(&arguments))
    };
    let shown = logs(&[]);
    let harmless = "done \u{1b}[31mred\u{1b}[0m";
    assert_eq!(shown.matches(harmless).count(), 2, "{shown:?}");
    for sign in [
        "owned",
        "\u{1b}[2J",
        "\u{1b}[1;1H",
        "\u{1b}[c",
        "\u{7}",
        "\u{8}",
    ] {
        assert!(!shown.contains(sign), "{sign:?} in {shown:?}");
    }
    assert_eq!(logs(&["--raw"]).matches(ACTS).count(), 2);
    let piped = coordinator.cli(&["run", "logs", &id]);
    let line = format!("{ACTS}\n").into_bytes();
    assert_eq!((piped.stdout, piped.stderr), (line.clone(), line));
}

const FLOOD: u64 = 60 * 1024 * 1024;
const KEPT: u64 = 50 * 1024 * 1024;

#[tokio::test]
async fn a_flood_is_bounded_and_says_what_is_missing() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    let flood = format!("head -c {FLOOD} /dev/zero | tr '\\0' x >&2; echo '\"done\"'\n");
    coordinator.bash("flood", &flood).await;
    let id = coordinator.request("flood", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(
        (&run["status"], &run["result_data"]),
        (&json!("completed"), &json!("done"))
    );
    let chunks = chunks(&coordinator, &id).await;
    let err = chunks.iter().filter(|chunk| chunk["stream"] == "stderr");
    let length = |chunk: &Value| chunk["text"].as_str().map_or(0, |text| text.len() as u64);
    let (mut kept, mut missing) = (0, 0);
    for chunk in err {
        kept += length(chunk);
        missing += chunk["gap"].as_u64().unwrap_or(0);
    }
    assert_eq!(kept + missing, FLOOD, "{kept} kept, {missing} missing");
    assert!(
        kept <= KEPT && missing > 0,
        "{kept} kept, {missing} missing"
    );
}

#[tokio::test]
async fn a_result_shows_the_edges_of_a_flood() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    // More than is kept for a result, which is 16 MiB.
    let flood = "echo begin; head -c 20000000 /dev/zero | tr '\\0' x; echo\n";
    coordinator.bash("flood", flood).await;
    let id = coordinator.request("flood", json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed");
    let shown = run["result_data"]["stdout"].as_str().unwrap();
    assert!(shown.starts_with("begin\nxxx") && shown.contains("bytes left out"));
    assert!(shown.len() < 600 * 1024, "{} bytes", shown.len());
}

#[tokio::test]
async fn output_is_there_after_the_end_and_after_a_restart() {
    let mut coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("says", "echo out; echo err >&2\n").await;
    let id = coordinator.request("says", json!({})).await;
    coordinator.ends(&id).await;
    let before = chunks(&coordinator, &id).await;
    assert_eq!(
        text(&before, "stdout") + &text(&before, "stderr"),
        "out\nerr\n"
    );
    coordinator.kill();
    coordinator.start_again().await;
    assert_eq!(chunks(&coordinator, &id).await, before);
    let mut events = follow(&coordinator, &id, None).await;
    let mut again = Vec::new();
    while let Some(event) = events.next().await {
        again.push(event);
    }
    assert_eq!(again.pop().unwrap().name, "end");
    let again: Vec<Value> = again.into_iter().map(|event| event.data).collect();
    assert_eq!(again, before);
}
