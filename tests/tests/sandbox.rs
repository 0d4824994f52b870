//! Where the kernel has Landlock, scripts reach what they need and nothing else on the host: not the
//! credentials of their runner, not its memory, not other people's files and processes. What a runner
//! achieved is told, and a script that was refused can still be ended.

use serde_json::{Value, json};
use std::path::Path;
use tests::coordinator::Coordinator;
use tests::runner::{Runner, Settings};

/// Tries to do things, and prints what became of each.
const TRIES: &str = r#"
try() { if (eval "$2") >/dev/null 2>&1; then echo "\"$1\": true,"; else echo "\"$1\": false,"; fi; }
echo '{'
try 'changes the project' 'echo x > sub-$$ && mv sub-$$ moved-$$ && rm moved-$$'
try 'uses its own folders' 'echo x > $TMPDIR/x && mkdir $HOME/y && mv $TMPDIR/x $HOME/y && cat $PARAMS_FILE'
try 'uses the system' 'grep -q root /etc/passwd && ls /usr/bin /proc/self && cat <<< here'
try 'writes to devices' 'echo x > /dev/null && echo x > /dev/stdout && head -c 4 /dev/urandom'
try 'shares memory' 'python3 -c "import multiprocessing as m; m.Queue(); m.Lock()"'
try 'reads outside' "cat OUTSIDE/file"
try 'lists outside' "ls OUTSIDE"
try 'writes outside' "echo x > OUTSIDE/new"
try 'removes outside' "rm OUTSIDE/doomed"
try 'reads credentials' "cat STATE/membership.json"
try 'reads other runs' "ls STATE/runs"
try 'reads the environment of its runner' "cat /proc/RUNNER/environ"
try 'signals its runner' "kill -0 RUNNER"
echo '"end": true }'
"#;

/// What every script may do.
const OWN: [&str; 5] = [
    "changes the project",
    "uses its own folders",
    "uses the system",
    "writes to devices",
    "shares memory",
];

/// A folder of somebody else's.
fn outside() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["file", "doomed"] {
        std::fs::write(folder.path().join(name), "theirs").unwrap();
    }
    folder
}

/// What a script of this runner can do, by what was tried.
async fn tried(
    coordinator: &Coordinator,
    name: &str,
    runner: &mut Runner,
    outside: &Path,
) -> Value {
    let pid = runner.process().pid();
    let script = TRIES
        .replace("OUTSIDE", &outside.to_string_lossy())
        .replace("STATE", &runner.state_dir().to_string_lossy())
        .replace("RUNNER", &pid.to_string());
    coordinator.bash(name, &script).await;
    let id = coordinator.request(name, json!({})).await;
    let run = coordinator.ends(&id).await;
    assert_eq!(run["status"], "completed", "{run:#}");
    run["result_data"].clone()
}

/// All that succeeded, beyond what every script may do.
fn beyond(tried: &Value) -> Vec<&str> {
    let tried = tried.as_object().unwrap();
    for own in OWN {
        assert_eq!(tried[own], true, "{own}: {tried:#?}");
    }
    let done = tried.iter().filter(|(_, done)| **done == json!(true));
    let names = done.map(|(name, _)| name.as_str());
    names
        .filter(|name| !OWN.contains(name) && *name != "end")
        .collect()
}

async fn with_options(coordinator: &Coordinator, options: &[&str]) -> Runner {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    let settings = Settings {
        options,
        ..Settings::default()
    };
    coordinator.runner(settings).await
}

async fn reported(coordinator: &Coordinator) -> Value {
    let body = coordinator.get("/runners").await.body;
    body["runners"][0]["sandbox"].clone()
}

#[tokio::test]
#[cfg_attr(not(landlock), ignore = "this kernel has no Landlock")]
async fn scripts_reach_what_they_need_and_nothing_else() {
    let coordinator = Coordinator::start().await;
    let mut runner = with_options(&coordinator, &[]).await;
    let level = reported(&coordinator).await;
    assert_eq!(level["type"], "landlock", "{level}");
    let outside = outside();
    let tried = tried(&coordinator, "tries", &mut runner, outside.path()).await;
    let mut expected = Vec::new();
    // Root may look at all processes for the sake of performance tools, and Landlock has no say in it.
    if nix::unistd::geteuid().is_root() {
        expected.push("reads the environment of its runner");
    }
    // Kernels before 6.12 do not keep signals in.
    if level["partial"] == true {
        expected.push("signals its runner");
    }
    assert_eq!(beyond(&tried), expected);
}

#[tokio::test]
#[cfg_attr(not(landlock), ignore = "this kernel has no Landlock")]
async fn what_is_allowed_by_name_is_reached() {
    let coordinator = Coordinator::start().await;
    let (read, write) = (outside(), outside());
    let option =
        |name, folder: &tempfile::TempDir| format!("--allow-{name}={}", folder.path().display());
    let mut runner = with_options(
        &coordinator,
        &[&option("read", &read), &option("write", &write)],
    )
    .await;
    let reads = tried(&coordinator, "reads", &mut runner, read.path()).await;
    let changes = tried(&coordinator, "changes", &mut runner, write.path()).await;
    assert_eq!(beyond(&reads)[..2], ["reads outside", "lists outside"]);
    assert_eq!(reads["writes outside"], false);
    assert_eq!(
        beyond(&changes)[..4],
        [
            "reads outside",
            "lists outside",
            "writes outside",
            "removes outside"
        ]
    );
    assert_eq!(changes["reads credentials"], false);
}

/// Also shows that it is the sandbox which refuses in the other stories.
#[tokio::test]
async fn without_a_sandbox_scripts_reach_everything_and_that_is_told() {
    let coordinator = Coordinator::start().await;
    let mut runner = with_options(&coordinator, &["--no-sandbox"]).await;
    assert_eq!(reported(&coordinator).await, json!({"type": "off"}));
    let listed = coordinator.cli(&["runner", "list", "-o", "wide"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("SANDBOX") && listed.contains(" off "),
        "{listed}"
    );
    let id = coordinator.get("/runners").await.body["runners"][0]["runner_id"].clone();
    let shown = coordinator.cli(&["runner", "show", id.as_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.to_lowercase().contains("sandbox"), "{shown}");
    let outside = outside();
    let tried = tried(&coordinator, "tries", &mut runner, outside.path()).await;
    assert_eq!(beyond(&tried).len(), 8, "{tried:#}");
}

/// Where there is none, scripts run all the same.
#[tokio::test]
async fn the_kernels_own_word_is_told() {
    let coordinator = Coordinator::start().await;
    let _runner = with_options(&coordinator, &[]).await;
    let kind = reported(&coordinator).await["type"].clone();
    let expected: &[&str] = match cfg!(landlock) {
        true => &["landlock"],
        false => &["not_supported", "not_enabled"],
    };
    assert!(expected.contains(&kind.as_str().unwrap()), "{kind}");
    coordinator.bash("says", "echo 7\n").await;
    let id = coordinator.request("says", json!({})).await;
    assert_eq!(coordinator.ends(&id).await["result_data"], 7);
}
