//! `coordinator dev`: coordinator, broker and one runner in one command, ready when it says so,
//! and gone with everything it started.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tests::coordinator::starter;
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{binary, path_with_tools};

struct Dev {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Dev {
    /// Returns when it has said that it is ready.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("project")).unwrap();
        let mut child = Command::new(binary("coordinator"))
            .args(["dev", "--listen", &format!("127.0.0.1:{}", free_port())])
            .arg("--project-dir")
            .arg(folder.path().join("project"))
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .env("PATH", path_with_tools())
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
        stdout.read_line(&mut line).unwrap();
        let url = line
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("{line}"));
        Self {
            url: url.trim().to_owned(),
            child,
            folder,
        }
    }

    fn cli(&self, arguments: &[&str]) -> Value {
        let output = Command::new(binary("coordinator"))
            .args(arguments)
            .args(["-o", "json", "--url", &self.url, "--data-dir"])
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was started for this folder: broker and runner have it among their arguments, a script
/// works in it.
fn alive(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let related = processes.filter(|entry| {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(name) || cwd.to_string_lossy().contains(name)
    });
    related
        .map(|entry| entry.path().display().to_string())
        .collect()
}

fn at_work(dev: &Dev) {
    let starter = starter();
    dev.cli(&["apply", "-f", starter.to_str().unwrap(), "-y"]);
    let run = dev.cli(&["agent", "run", "deploy", "-p", "target=staging"]);
    assert_eq!(
        run["result_data"],
        json!({"status": "deployed", "target": "staging"})
    );
    let detached = dev.cli(&["agent", "run", "deploy", "-p", "target=live", "-d"]);
    assert!(detached["run_id"].is_string(), "{detached}");
    assert!(
        alive(dev.folder.path()).len() >= 3,
        "coordinator, broker, runner"
    );
}

#[tokio::test]
async fn it_serves_runs_and_leaves_in_order() {
    let mut dev = Dev::start();
    at_work(&dev);
    dev.signal(Signal::SIGTERM);
    let ended = eventually("it ends", async || dev.child.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
    assert_eq!(alive(dev.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn killed_it_leaves_nothing_behind() {
    let mut dev = Dev::start();
    at_work(&dev);
    dev.signal(Signal::SIGKILL);
    dev.child.wait().unwrap();
    eventually("everything is gone", async || {
        alive(dev.folder.path()).is_empty().then_some(())
    })
    .await;
}
