//! Parameters of every kind arrive byte for byte, in the arguments and in `$PARAMS_FILE`, and never
//! become options or code, whatever the interpreter.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use tests::coordinator::{Answer, Coordinator};
use tests::runner::Settings;

/// Random values per interpreter: in `verify`, and in a soak (`COORDINATOR_SOAK`).
const VALUES: usize = 200;
const VALUES_IN_A_SOAK: usize = 10_000;
/// Values in one run, to stay fast.
const BATCH: usize = 100;

/// Pieces that mean something to a shell, an option parser or a JSON reader.
const PIECES: [&str; 32] = [
    "-",
    "--",
    "--help",
    "-c",
    "=",
    "a",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "'",
    "\"",
    "\\",
    "`id`",
    "$(touch pwned)",
    "${HOME}",
    "$PARAMS_FILE",
    "@file",
    "*",
    "?",
    ";",
    "&& exit 9",
    "|",
    "#",
    "\u{1}",
    "\u{7f}",
    "é",
    "日本",
    "👩‍👩‍👧",
    "\u{202e}",
    "%s%n",
];

/// Each prints what it was given, NUL after each, in hex; and the file beside it.
const BASH: &str =
    "printf '%s\\0' \"$@\" | od -An -v -tx1 | tr -d ' \\n'; echo\ncat \"$PARAMS_FILE\"\n";
const PYTHON: &str = "import os, sys\n\
    print(b''.join(os.fsencode(a) + b'\\0' for a in sys.argv[1:]).hex())\n\
    sys.stdout.flush()\n\
    os.write(1, open(os.environ['PARAMS_FILE'], 'rb').read())\n";
const NODE: &str = "const fs = require('fs');\n\
    const all = process.argv.slice(2).map(a => Buffer.from(a + '\\0'));\n\
    console.log(Buffer.concat(all).toString('hex'));\n\
    process.stdout.write(fs.readFileSync(process.env.PARAMS_FILE));\n";

fn value(random: &mut StdRng) -> String {
    let count = random.random_range(0..8);
    (0..count)
        .map(|_| PIECES[random.random_range(0..PIECES.len())])
        .collect()
}

/// The command line that the table in the README promises for strings.
fn expected(parameters: &Map<String, Value>) -> String {
    let mut bytes = Vec::new();
    let mut names: Vec<&String> = parameters.keys().collect();
    names.sort();
    for name in names {
        let text = parameters[name].as_str().unwrap();
        match text.starts_with('-') {
            true => bytes.extend(format!("--{name}={text}\0").bytes()),
            false => bytes.extend(format!("--{name}\0{text}\0").bytes()),
        }
    }
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[tokio::test]
async fn every_kind_of_value_arrives_byte_for_byte() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    let soak = std::env::var_os("COORDINATOR_SOAK").is_some();
    let values = if soak { VALUES_IN_A_SOAK } else { VALUES };
    for (tag, extension, content) in [
        ("bash", "sh", BASH),
        ("python3", "py", PYTHON),
        ("node", "js", NODE),
    ] {
        let script = json!({
            "script_file": format!("echoes.{extension}"), "script_content": content,
            "demands": {"tags": [tag]},
        });
        let name = format!("echo-{tag}");
        coordinator.script(&name, &script).await;
        let seed = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..values / BATCH {
            let named = (0..BATCH).map(|n| (format!("p{n:03}"), value(&mut random).into()));
            let parameters: Map<String, Value> = named.collect();
            let run = coordinator
                .ends(&coordinator.request(&name, parameters.clone().into()).await)
                .await;
            assert_eq!(run["status"], "completed", "{tag}, seed {seed}: {run:#}");
            let stdout = run["result_data"]["stdout"].as_str().unwrap();
            let (arguments, file) = stdout.split_once('\n').unwrap();
            assert!(
                arguments == expected(&parameters),
                "{tag}, seed {seed}: arguments"
            );
            let file: Map<String, Value> = serde_json::from_str(file).unwrap();
            assert!(file == parameters, "{tag}, seed {seed}: $PARAMS_FILE");
        }
    }
    assert!(!runner.project_dir().join("pwned").exists());
}

#[tokio::test]
async fn what_no_command_line_can_carry_is_refused_by_its_path() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("echoes", BASH).await;
    let body = |parameters: Value| json!({"type": "start_session", "agent_name": "echoes", "parameters": parameters});
    for (parameters, named) in [
        (json!({"a": "x\u{0}y"}), "$.a"),
        (json!({"a": "x".repeat(200 << 10)}), "$.a"),
        (json!({"a": ["x,y"]}), "$.a"),
    ] {
        let answer = coordinator.post("/runs", body(parameters)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.to_string().contains(named), "{answer:?}");
    }
}

/// Half of a character that JSON can write and no text can hold.
#[tokio::test]
async fn half_a_character_is_refused_by_every_door() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("echoes", BASH).await;
    for half in [r"\ud800", r"\udc00", r"\ud800\ud800", r"x\udbffy"] {
        let parameters = format!(r#"{{"a": "{half}"}}"#);
        let body = format!(
            r#"{{"type": "start_session", "agent_name": "echoes", "parameters": {parameters}}}"#
        );
        let request = coordinator
            .http(Method::POST, "/runs")
            .header("content-type", "application/json")
            .body(body);
        let answer = Answer::of(request.send().await.unwrap()).await.unwrap();
        assert_eq!(answer.status, 422, "{half}: {answer:?}");
        let error = answer.body.to_string();
        assert!(
            error.contains("half of a surrogate pair"),
            "{half}: {error}"
        );
        let given = coordinator.cli(&["agent", "run", "echoes", "--params", &parameters]);
        let error = String::from_utf8(given.stderr).unwrap();
        assert!(
            given.status.code() == Some(2) && error.contains("half of a surrogate pair"),
            "{half}: {error}"
        );
    }
    let runs = coordinator.get("/runs").await.body;
    assert_eq!(runs["runs"], json!([]), "nothing was requested");
}
