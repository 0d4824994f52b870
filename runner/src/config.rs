//! What the user wrote, and what the runner makes of it once, at start. Nothing else reads the
//! environment or the arguments.

use clap::{Args, Parser, Subcommand};
use events::RunnerId;
use schemas::Tag;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Holds its lanes' scripts on this host, claims runs and executes them.
#[derive(Debug, Parser)]
#[command(name = "runner", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a coordinator and work until TERM or Ctrl-C.
    #[command(after_help = "Examples:
  runner start --project-dir ~/project
  runner start --coordinator http://ops:8765 --tags messaging-team,eu --max-runs 4")]
    Start(Box<StartArgs>),
}

#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// The coordinator to join. Asked once for the broker's address; not on the path of runs.
    #[arg(long, env = "COORDINATOR_URL", default_value = "http://127.0.0.1:8765",
          value_parser = address)]
    pub coordinator: String,
    /// A token for joining; on the coordinator's own host the file `admin.token` serves.
    #[arg(long, env = "COORDINATOR_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Where the coordinator on this host keeps `admin.token`.
    #[arg(long, env = "COORDINATOR_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Runs work in this folder; scripts are kept in `scripts/` below it.
    #[arg(long, env = "PROJECT_DIR", default_value = ".")]
    pub project_dir: PathBuf,
    /// Keep scripts here instead of `<project-dir>/scripts`.
    #[arg(long)]
    pub scripts_dir: Option<PathBuf>,
    /// Tags this runner offers beside those of the interpreters it finds.
    #[arg(long, value_delimiter = ',')]
    pub tags: Vec<Tag>,
    /// The profile it offers; agents can demand it as `executor_profile`.
    #[arg(long, default_value = "default")]
    pub profile: String,
    /// How many runs it executes at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_runs: u32,
    /// Its own state: credentials and results that wait for the broker. One per runner.
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Its id; by default derived from host, project folder and profile, so that it stays the same.
    #[arg(long)]
    pub runner_id: Option<RunnerId>,
    /// Interpreters it may use.
    #[arg(long, value_delimiter = ',', default_value = "uv,python3,bash,node")]
    pub allow_interpreters: Vec<String>,
    /// Environment variables of this process that scripts get as well.
    #[arg(long = "pass-env", value_delimiter = ',', value_name = "NAME")]
    pub pass_env: Vec<String>,
    /// How long running scripts may go on after TERM, in seconds.
    #[arg(long, default_value_t = 30)]
    pub grace_seconds: u64,
    /// Where uv keeps its cache; shared by all runs.
    #[arg(long, env = "UV_CACHE_DIR")]
    pub uv_cache_dir: Option<PathBuf>,
}

/// The checked settings of a runner.
#[derive(Clone, Debug)]
pub struct Settings {
    pub coordinator: String,
    pub token: Option<String>,
    pub token_file: PathBuf,
    pub hostname: String,
    /// Absolute, without links.
    pub project_dir: PathBuf,
    pub scripts_dir: PathBuf,
    pub state_dir: PathBuf,
    pub runner_id: RunnerId,
    pub profile: String,
    pub tags: Vec<Tag>,
    pub max_runs: u32,
    pub allow_interpreters: Vec<String>,
    /// Names and values that scripts get as well.
    pub passed_env: Vec<(String, String)>,
    pub grace: Duration,
    pub uv_cache_dir: PathBuf,
    /// Where interpreters are looked for: the runner's own `PATH`.
    pub search_path: std::ffi::OsString,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("--project-dir {path:?} cannot be used; it has to be an existing folder")]
    ProjectDir {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("--project-dir {0:?} is not UTF-8; scripts get it as text")]
    ProjectDirText(PathBuf),
    #[error("--tags {given:?} is reserved: the runner offers tags with this prefix by itself")]
    ReservedTag { given: String },
    #[error("--pass-env {0:?} cannot be passed: it is not set to UTF-8 text")]
    PassedEnv(String),
    #[error("there is no home folder to keep state in; give --state-dir and --uv-cache-dir")]
    NoHome,
}

impl StartArgs {
    /// Checks what can be checked before anything is begun.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let project_dir = existing_folder(&self.project_dir)?;
        if let Some(tag) = self.tags.iter().find(|tag| tag.is_reserved()) {
            let given = tag.as_str().to_owned();
            return Err(ConfigError::ReservedTag { given });
        }
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        let identity = identity(&hostname, &project_dir, &self.profile);
        let runner_id = match self.runner_id {
            Some(id) => id,
            None => format!("rnr-{identity}")
                .parse()
                .expect("hex is a runner id"),
        };
        let state_dir = match self.state_dir {
            Some(dir) => dir,
            None => home("XDG_STATE_HOME", ".local/state")?
                .join("coordinator-runner")
                .join(runner_id.as_str()),
        };
        let uv_cache_dir = match self.uv_cache_dir {
            Some(dir) => dir,
            None => home("XDG_CACHE_HOME", ".cache")?.join("uv"),
        };
        let data_dir = match self.data_dir {
            Some(dir) => dir,
            None => home("XDG_DATA_HOME", ".local/share")?.join("coordinator"),
        };
        Ok(Settings {
            coordinator: self.coordinator,
            token: self.token,
            token_file: data_dir.join("admin.token"),
            hostname,
            scripts_dir: absolute(
                self.scripts_dir
                    .unwrap_or_else(|| project_dir.join("scripts")),
            ),
            project_dir,
            state_dir: absolute(state_dir),
            runner_id,
            profile: self.profile,
            tags: self.tags,
            max_runs: self.max_runs,
            allow_interpreters: self.allow_interpreters,
            passed_env: passed(self.pass_env)?,
            grace: Duration::from_secs(self.grace_seconds),
            uv_cache_dir: absolute(uv_cache_dir),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
        })
    }
}

/// An address that can be asked, as the coordinator's own command line takes it.
fn address(text: &str) -> Result<String, String> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url: reqwest::Url = whole.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" => Ok(whole.trim_end_matches('/').to_owned()),
        "https" => {
            Err("this program speaks plain HTTP only; give the address behind the proxy".to_owned())
        }
        other => Err(format!(
            "`{other}` is no scheme for a coordinator; write http://HOST:PORT"
        )),
    }
}

fn existing_folder(path: &Path) -> Result<PathBuf, ConfigError> {
    let real = path
        .canonicalize()
        .map_err(|source| ConfigError::ProjectDir {
            path: path.to_owned(),
            source,
        })?;
    if real.to_str().is_none() {
        return Err(ConfigError::ProjectDirText(real));
    }
    Ok(real)
}

/// The same for the same host, project folder and profile, so that a runner that comes back is
/// known: the first 64 bits of SHA-256, in hex.
fn identity(hostname: &str, project_dir: &Path, profile: &str) -> String {
    let mut hash = Sha256::new();
    for part in [hostname, &project_dir.to_string_lossy(), profile] {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..8])
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn home(variable: &str, below_home: &str) -> Result<PathBuf, ConfigError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set(variable) {
        return Ok(dir.into());
    }
    let home = set("HOME").ok_or(ConfigError::NoHome)?;
    Ok(PathBuf::from(home).join(below_home))
}

fn passed(names: Vec<String>) -> Result<Vec<(String, String)>, ConfigError> {
    let with_value = |name: String| match std::env::var(&name) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(ConfigError::PassedEnv(name)),
    };
    names.into_iter().map(with_value).collect()
}
