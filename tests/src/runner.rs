//! A real runner process with folders of its own.

use crate::process::{Process, binary};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// One runner. Its folders survive [`Runner::kill`] and [`Runner::start_again`].
pub struct Runner {
    process: Process,
    settings: Settings,
    folder: TempDir,
}

/// What a story may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    pub coordinator: String,
    pub token: Option<String>,
    /// Shared between runners where a story says so.
    pub project_dir: Option<PathBuf>,
    pub profile: String,
    pub tags: String,
    pub max_runs: u32,
    pub grace_seconds: u64,
    /// Further options of `runner start`.
    pub options: Vec<String>,
    /// Further variables in its environment.
    pub env: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            coordinator: "http://127.0.0.1:9".to_owned(),
            token: None,
            project_dir: None,
            profile: "default".to_owned(),
            tags: String::new(),
            max_runs: 4,
            grace_seconds: 30,
            options: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// Variables that uv needs on machines with their own certificates or package index.
const PASSED: [&str; 6] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_FIND_LINKS",
    "HTTPS_PROXY",
];

impl Runner {
    pub fn start(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(settings, folder)
    }

    /// With folders that a story has prepared: `project` and `state`.
    pub fn start_in(settings: Settings, folder: TempDir) -> Self {
        std::fs::create_dir_all(folder.path().join("project")).unwrap();
        let process = spawn(&settings, folder.path());
        Self {
            process,
            settings,
            folder,
        }
    }

    pub fn start_again(&mut self) {
        self.process = spawn(&self.settings, self.folder.path());
    }

    /// In the same folders, with other settings.
    pub fn start_again_as(&mut self, settings: Settings) {
        self.settings = settings;
        self.start_again();
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn project_dir(&self) -> PathBuf {
        project_dir(&self.settings, self.folder.path())
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }
}

fn project_dir(settings: &Settings, folder: &Path) -> PathBuf {
    let shared = settings.project_dir.clone();
    shared.unwrap_or_else(|| folder.join("project"))
}

fn spawn(settings: &Settings, folder: &Path) -> Process {
    let mut command = Command::new(binary("runner"));
    command
        .args(["start", "--coordinator", &settings.coordinator])
        .arg("--project-dir")
        .arg(project_dir(settings, folder))
        .arg("--state-dir")
        .arg(folder.join("state"))
        .args(["--profile", &settings.profile])
        .args(["--max-runs", &settings.max_runs.to_string()])
        .args(["--grace-seconds", &settings.grace_seconds.to_string()])
        .args(&settings.options)
        // Nothing of whoever runs this.
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .envs(settings.env.iter().cloned())
        .env("RUST_LOG", "info,async_nats=warn")
        .env("PATH", crate::process::path_with_tools())
        .stdin(Stdio::null());
    if !settings.tags.is_empty() {
        command.args(["--tags", &settings.tags]);
    }
    if let Some(token) = &settings.token {
        command.env("COORDINATOR_TOKEN", token);
    }
    for name in PASSED {
        if std::env::var_os(name).is_some() {
            command.args(["--pass-env", name]);
        }
    }
    Process::start("runner", &mut command)
}
