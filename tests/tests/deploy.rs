//! The goal: what the README's *Deploy* chapter hands out works as it stands. The commands and variables of the
//! compose file are run here on one host, each service a process, containers' paths and names in temporary
//! folders and on free ports; the systemd units are read by systemd where it is. No image is built here.

use serde_yaml_ng::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{Process, binary, path_with_tools, root, tool};

/// What the compose file says, on this host.
struct Host {
    folder: tempfile::TempDir,
    services: Value,
    broker: u16,
    http: u16,
}

impl Host {
    fn new() -> Self {
        let text = std::fs::read_to_string(root().join("deploy/compose.yaml")).unwrap();
        let mut compose: Value = serde_yaml_ng::from_str(&text).unwrap();
        compose.apply_merge().unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            services: compose["services"].clone(),
            broker: free_port(),
            http: free_port(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A service's folders: where each volume is mounted, and where it is here.
    fn volumes(&self, service: &Value) -> Vec<(String, String)> {
        let volumes = service["volumes"].as_sequence().unwrap();
        let mounts = volumes.iter().map(|volume| {
            let parts: Vec<&str> = volume.as_str().unwrap().split(':').collect();
            (
                parts[1].to_owned(),
                self.path(parts[0]).display().to_string(),
            )
        });
        mounts.collect()
    }

    fn here(&self, text: &str, volumes: &[(String, String)]) -> String {
        // By whole paths, each once: what is here may contain what is there.
        let moved = volumes.iter().find_map(|(there, here)| {
            let rest = text.strip_prefix(there.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{here}{rest}"))
        });
        let text = moved.unwrap_or_else(|| text.to_owned());
        text.replace("0.0.0.0:4222", &format!("127.0.0.1:{}", self.broker))
            .replace("broker:4222", &format!("127.0.0.1:{}", self.broker))
            .replace("0.0.0.0:8765", &format!("127.0.0.1:{}", self.http))
            .replace("//coordinator:8765", &format!("//127.0.0.1:{}", self.http))
    }

    fn command(&self, name: &str) -> Command {
        let service = &self.services[name];
        let volumes = self.volumes(service);
        let words = service["command"].as_str().unwrap().split(' ');
        let words: Vec<String> = words.map(|word| self.here(word, &volumes)).collect();
        let program = match words[0].as_str() {
            "nats-server" => tool("nats-server"),
            ours => binary(ours),
        };
        let environment = service["environment"]
            .as_mapping()
            .cloned()
            .unwrap_or_default();
        let environment: BTreeMap<String, String> = environment
            .iter()
            .map(|(key, value)| {
                let value = self.here(value.as_str().unwrap(), &volumes);
                (key.as_str().unwrap().to_owned(), value)
            })
            .collect();
        let mut command = Command::new(program);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", path_with_tools())
            .env("HOME", self.path("home"))
            .envs(environment)
            .stdin(Stdio::null());
        command
    }

    fn ask(&self, arguments: &[&str]) -> std::process::Output {
        // As `docker compose exec coordinator` would.
        let mut command = Command::new(binary("coordinator"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path("home"))
            .env("COORDINATOR_URL", format!("http://127.0.0.1:{}", self.http))
            .env("COORDINATOR_DATA_DIR", self.path("coordinator-data"));
        command.output().unwrap()
    }
}

#[tokio::test]
async fn the_compose_file_brings_up_a_system_that_runs_a_script() {
    let host = Host::new();
    let mut written = host.command("broker-settings");
    assert!(written.status().unwrap().success());
    let _broker = Process::start("nats-server", host.command("broker").stderr(Stdio::null()));
    eventually("the broker listens", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", host.broker))
            .await
            .ok()
    })
    .await;
    let _coordinator = Process::start("coordinator", &mut host.command("coordinator"));
    eventually("the coordinator answers", async || {
        host.ask(&["status"]).status.success().then_some(())
    })
    .await;
    let _procedural = Process::start("runner", &mut host.command("procedural-runner"));
    let _autonomous = Process::start("runner", &mut host.command("autonomous-runner"));
    eventually("both runners are online", async || {
        let listed = host.ask(&["runner", "list", "-o", "json"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        (listed.matches("\"online\"").count() == 2).then_some(())
    })
    .await;
    let starter = host.path("starter");
    let starter = starter.to_str().unwrap();
    assert!(host.ask(&["init", starter]).status.success());
    assert!(host.ask(&["apply", "-f", starter]).status.success());
    let run = host.ask(&["agent", "run", "deploy", "-p", "target=staging"]);
    assert!(run.status.success(), "{run:?}");
    let project = host.path("project").join("scripts/deploy/deploy.sh");
    assert!(
        project.exists(),
        "both runners keep their scripts in one project"
    );
}

/// Every name of a program, a file or a service that the container's files mention is there.
#[test]
fn the_container_file_names_what_exists() {
    let text = std::fs::read_to_string(root().join("deploy/Containerfile")).unwrap();
    let pinned = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let rust = pinned.split("rust-version = \"").nth(1).unwrap();
    let rust = rust.split('"').next().unwrap();
    assert!(
        text.contains(&format!("rust:{rust}-")),
        "the image builds with Rust {rust}"
    );
    let tools = std::fs::read_to_string(root().join("xtask/tools.txt")).unwrap();
    let uv = tools
        .lines()
        .find_map(|line| line.strip_prefix("uv=="))
        .unwrap();
    let uv = uv.split_whitespace().next().unwrap();
    assert!(text.contains(&format!("uv:{uv} ")), "the image has uv {uv}");
}

#[test]
fn systemd_reads_the_units() {
    let verify = |unit: &PathBuf| {
        Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(unit)
            .output()
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, program) in [
        ("coordinator.service", "coordinator"),
        ("coordinator-runner.service", "runner"),
    ] {
        let text = std::fs::read_to_string(root().join("deploy").join(name)).unwrap();
        let installed = format!("/usr/local/bin/{program}");
        assert!(text.contains(&format!("ExecStart={installed} ")), "{name}");
        let unit = folder.path().join(name);
        let ours = binary(program).display().to_string();
        std::fs::write(&unit, text.replace(&installed, &ours)).unwrap();
        let Ok(verified) = verify(&unit) else {
            eprintln!("not looked at: there is no systemd-analyze here");
            return;
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        let about_ours = said.lines().filter(|line| line.contains(name));
        let about_ours: Vec<&str> = about_ours.collect();
        assert!(about_ours.is_empty(), "{about_ours:?}");
    }
}
