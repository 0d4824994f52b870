//! What the user wrote, and what the runner makes of it once, at start. Nothing else reads the
//! environment or the arguments.

use crate::launcher::ResourceLimits;
use clap::{Args, Parser, Subcommand};
use events::RunnerId;
use schemas::{AgentKind, Tag};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::str::FromStr;
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
    /// Compare the scripts on this host with what its runners need; changes nothing.
    #[command(after_help = "Exit code 1 where something is not as it should be.

Examples:
  runner verify --project-dir ~/project
  runner verify --scripts-dir /srv/scripts")]
    Verify(VerifyArgs),
    /// Settings: which hold, who said so, and which there are.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Many runners in one process, for `coordinator bench sync`.
    #[command(hide = true)]
    Fleet(Box<FleetArgs>),
    /// What `coordinator bench sync` compares with; asked on stdin, answered on stdout.
    #[command(hide = true)]
    Floor(Box<FloorArgs>),
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting of `runner start` with its value and where it came from; secrets are masked.
    #[command(
        after_help = "A flag goes before the environment, that before the settings file, that before the default.

Examples:
  runner config show --origin
  runner config show --config /etc/coordinator/runner.toml"
    )]
    Show {
        /// Say where each value came from: flag, env NAME, a file, default.
        #[arg(long)]
        origin: bool,
        /// The settings file; by default runner.toml in ~/.config/coordinator, else in /etc/coordinator.
        #[arg(long, env = "RUNNER_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the JSON Schema of the settings file: every setting, its variable and its default.
    #[command(
        after_help = "The file is TOML, with a setting's flag as its key: tags = [\"eu\"], max-runs = 8.

Examples:
  runner config schema | jq -r '.properties | keys[]'"
    )]
    Schema,
}

/// How many runners one process is tried with at most.
const FLEET_MAX: i64 = 10_000;

#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    /// Each has folders of its own, by its number, below the project and the state folder.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=FLEET_MAX))]
    pub count: u32,
    #[command(flatten)]
    pub start: StartArgs,
}

impl FleetArgs {
    /// The settings of every member. Makes their folders.
    pub fn members(self) -> Result<Vec<Settings>, ConfigError> {
        (1..=self.count).map(|number| self.member(number)).collect()
    }

    fn member(&self, number: u32) -> Result<Settings, ConfigError> {
        let own = |folder: &Path| folder.join(number.to_string());
        let project_dir = own(&self.start.project_dir);
        let made = std::fs::create_dir_all(&project_dir);
        made.map_err(|source| ConfigError::ProjectDir {
            path: project_dir.clone(),
            source,
        })?;
        let prefix = self
            .start
            .runner_id
            .as_ref()
            .map_or("fleet", RunnerId::as_str);
        let member = StartArgs {
            project_dir,
            state_dir: self.start.state_dir.as_deref().map(own),
            runner_id: format!("{prefix}-{number}").parse().ok(),
            ..self.start.clone()
        };
        member.settings()
    }
}

#[derive(Clone, Debug, Args)]
pub struct FloorArgs {
    /// Connections that hear what is said.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=FLEET_MAX))]
    pub count: u32,
    #[command(flatten)]
    pub start: StartArgs,
}

#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The project folder; scripts are kept in `scripts/` below it.
    #[arg(long, env = "PROJECT_DIR", default_value = ".")]
    pub project_dir: PathBuf,
    /// The scripts folder, where it is another than `<project-dir>/scripts`.
    #[arg(long)]
    pub scripts_dir: Option<PathBuf>,
}

impl VerifyArgs {
    pub fn scripts_dir(self) -> PathBuf {
        self.scripts_dir
            .unwrap_or_else(|| self.project_dir.join("scripts"))
    }
}

#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// The coordinator to join. Asked once for the broker's address; not on the path of runs.
    #[arg(long, env = "COORDINATOR_URL", default_value = "http://127.0.0.1:8765",
          value_parser = address)]
    pub coordinator: String,
    /// Certificate authorities (PEM) that an https:// coordinator is verified against; by default the system's.
    #[arg(long, env = "COORDINATOR_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
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
    #[arg(long, env = "RUNNER_SCRIPTS_DIR")]
    pub scripts_dir: Option<PathBuf>,
    /// Agents of this runner's own: `<name>.json` or `<name>/agent.json`, each with a `command` of
    /// this host. Read again on HUP, and once a day.
    #[arg(long, env = "RUNNER_AGENTS_DIR", value_name = "DIR")]
    pub agents_dir: Option<PathBuf>,
    /// Tags this runner offers beside those of the interpreters it finds.
    #[arg(long, env = "RUNNER_TAGS", value_delimiter = ',')]
    pub tags: Vec<Tag>,
    /// Take only work that demands at least one of --tags: a runner kept for such work. What names
    /// this runner itself (its own agents, a script pinned to it) comes to it all the same.
    #[arg(long, env = "RUNNER_REQUIRE_MATCHING_TAGS", value_parser = clap::builder::FalseyValueParser::new(), requires = "tags")]
    pub require_matching_tags: bool,
    /// The profile it offers; agents can demand it as `executor_profile`.
    #[arg(long, env = "RUNNER_PROFILE", default_value = "default")]
    pub profile: String,
    /// Whose host this is: `procedural` runs agents' scripts; `autonomous` only keeps the scripts of
    /// AI agents' capabilities in place, for an executor beside it to start.
    #[arg(long, env = "RUNNER_EXECUTOR_TYPE", default_value = "procedural", value_parser = executor_type)]
    pub executor_type: AgentKind,
    /// How many runs it executes at once; an autonomous runner executes none.
    #[arg(long, env = "RUNNER_MAX_RUNS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_runs: u32,
    /// Its own state: credentials and results that wait for the broker. One per runner.
    #[arg(long, env = "RUNNER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Its id; by default derived from host, project folder and profile, so that it stays the same.
    #[arg(long, env = "RUNNER_ID")]
    pub runner_id: Option<RunnerId>,
    /// Interpreters it may use.
    #[arg(
        long,
        env = "RUNNER_ALLOW_INTERPRETERS",
        value_delimiter = ',',
        default_value = "uv,python3,bash,node"
    )]
    pub allow_interpreters: Vec<String>,
    /// Environment variables of this process that scripts get as well.
    #[arg(
        long = "pass-env",
        env = "RUNNER_PASS_ENV",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub pass_env: Vec<String>,
    /// How many files a process of a script may hold open; `none` leaves it to the host.
    #[arg(
        long,
        env = "RUNNER_LIMIT_OPEN_FILES",
        default_value = "4096",
        value_name = "COUNT"
    )]
    pub limit_open_files: Limit,
    /// How many processes the runner's user may have when a script forks; counted by the kernel for
    /// the whole user, not per run, and not at all for root.
    #[arg(
        long,
        env = "RUNNER_LIMIT_PROCESSES",
        default_value = "none",
        value_name = "COUNT"
    )]
    pub limit_processes: Limit,
    /// How large a file a script writes may become, as `512M`; a script that writes on is ended by
    /// the signal XFSZ.
    #[arg(
        long,
        env = "RUNNER_LIMIT_FILE_SIZE",
        default_value = "none",
        value_name = "BYTES"
    )]
    pub limit_file_size: Limit,
    /// How much address space each process of a script may have, as `4G`. Node reserves far more
    /// than it uses.
    #[arg(
        long,
        env = "RUNNER_LIMIT_MEMORY",
        default_value = "none",
        value_name = "BYTES"
    )]
    pub limit_memory: Limit,
    /// How often the scripts on the disk are compared with what they should be, in seconds.
    #[arg(long, env = "RUNNER_VERIFY_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub verify_seconds: u64,
    /// Let scripts reach whatever this runner's user can, also where the kernel has Landlock.
    #[arg(long, env = "RUNNER_NO_SANDBOX", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_sandbox: bool,
    /// A further file or folder that scripts may read and execute; may be repeated.
    #[arg(
        long,
        env = "RUNNER_ALLOW_READ",
        value_delimiter = ',',
        value_name = "PATH",
        conflicts_with = "no_sandbox"
    )]
    pub allow_read: Vec<PathBuf>,
    /// A further file or folder that scripts may also change; may be repeated.
    #[arg(
        long,
        env = "RUNNER_ALLOW_WRITE",
        value_delimiter = ',',
        value_name = "PATH",
        conflicts_with = "no_sandbox"
    )]
    pub allow_write: Vec<PathBuf>,
    /// How long running scripts may go on after TERM, in seconds.
    #[arg(long, env = "RUNNER_GRACE_SECONDS", default_value_t = 30)]
    pub grace_seconds: u64,
    /// Where uv keeps its cache; shared by all runs.
    #[arg(long, env = "UV_CACHE_DIR")]
    pub uv_cache_dir: Option<PathBuf>,
    /// Which log lines to write: a level, and levels by module, as `info,runner::work=debug`.
    #[arg(
        long,
        env = "RUNNER_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
    /// Form of the log lines: text or json.
    #[arg(
        long,
        env = "RUNNER_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub log_format: startup::log::Format,
    /// The settings file; by default runner.toml in ~/.config/coordinator, else in /etc/coordinator.
    #[arg(long, env = "RUNNER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A number, or none: `1024`, `64K`, `512M`, `4G`, `none`. Units are powers of 1,024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Option<u64>);

/// Text that is no limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit is a number above 0 as 1024, 64K, 512M or 4G, or none")]
pub struct InvalidLimit;

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        if text == "none" {
            return Ok(Self(None));
        }
        let units = [('K', 1_u64 << 10), ('M', 1 << 20), ('G', 1 << 30)];
        let unit = units.into_iter().find(|(unit, _)| text.ends_with(*unit));
        let (digits, factor) = match unit {
            Some((unit, factor)) => (text.strip_suffix(unit).unwrap_or(text), factor),
            None => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| InvalidLimit)?;
        let limit = number.checked_mul(factor).filter(|limit| *limit > 0);
        limit.map(|limit| Self(Some(limit))).ok_or(InvalidLimit)
    }
}

/// The checked settings of a runner.
#[derive(Clone, Debug)]
pub struct Settings {
    pub coordinator: String,
    /// Authorities that it is verified with, where they are not the system's.
    pub ca: Option<PathBuf>,
    pub token: Option<String>,
    pub token_file: PathBuf,
    pub hostname: String,
    /// Absolute, without links.
    pub project_dir: PathBuf,
    pub scripts_dir: PathBuf,
    /// Agents of this runner's own; absolute, without links.
    pub agents_dir: Option<PathBuf>,
    pub state_dir: PathBuf,
    pub runner_id: RunnerId,
    pub profile: String,
    pub executor_type: AgentKind,
    pub tags: Vec<Tag>,
    /// Only lanes that demand at least one of `tags` are for it.
    pub require_matching_tags: bool,
    /// 0 where it holds scripts only.
    pub max_runs: u32,
    pub allow_interpreters: Vec<String>,
    /// Names and values that scripts get as well.
    pub passed_env: Vec<(String, String)>,
    /// Of every script.
    pub limits: ResourceLimits,
    /// `None` where nobody wants one.
    pub sandbox: Option<Allowed>,
    pub grace: Duration,
    /// Between two looks whether somebody changed the scripts folder by hand.
    pub verify_every: Duration,
    pub uv_cache_dir: PathBuf,
    /// Where interpreters are looked for: the runner's own `PATH`.
    pub search_path: std::ffi::OsString,
}

/// What scripts may reach beside what the sandbox leaves to all.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
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
    #[error("--agents-dir {path:?} cannot be used; it has to be an existing folder")]
    AgentsDir {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "--agents-dir needs --executor-type procedural: an autonomous runner executes nothing, so \
         nobody could run its agents"
    )]
    AgentsOfAutonomous,
    #[error("--tags {given:?} is reserved: the runner offers tags with this prefix by itself")]
    ReservedTag { given: String },
    #[error("--pass-env {0:?} cannot be passed: it is not set to UTF-8 text")]
    PassedEnv(String),
    #[error("{option} {path:?} cannot be allowed; it has to exist")]
    Allowed {
        option: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
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
        if self.agents_dir.is_some() && self.executor_type == AgentKind::Autonomous {
            return Err(ConfigError::AgentsOfAutonomous);
        }
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        let identity = identity(&hostname, &project_dir, &self.profile, self.executor_type);
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
        let allowed = Allowed {
            read: existing("--allow-read", self.allow_read)?,
            write: existing("--allow-write", self.allow_write)?,
        };
        let data_dir = match self.data_dir {
            Some(dir) => dir,
            None => home("XDG_DATA_HOME", ".local/share")?.join("coordinator"),
        };
        Ok(Settings {
            coordinator: self.coordinator,
            // A service's folder of work is not where its file was named.
            ca: self.ca.map(absolute),
            token: self.token,
            token_file: data_dir.join("admin.token"),
            hostname,
            scripts_dir: absolute(
                self.scripts_dir
                    .unwrap_or_else(|| project_dir.join("scripts")),
            ),
            agents_dir: self.agents_dir.map(agents_dir).transpose()?,
            project_dir,
            state_dir: absolute(state_dir),
            runner_id,
            profile: self.profile,
            executor_type: self.executor_type,
            tags: self.tags,
            require_matching_tags: self.require_matching_tags,
            max_runs: match self.executor_type {
                AgentKind::Procedural => self.max_runs,
                AgentKind::Autonomous => 0,
            },
            allow_interpreters: self.allow_interpreters,
            passed_env: passed(self.pass_env)?,
            limits: ResourceLimits {
                open_files: self.limit_open_files.0,
                processes: self.limit_processes.0,
                file_size_bytes: self.limit_file_size.0,
                address_space_bytes: self.limit_memory.0,
            },
            sandbox: (!self.no_sandbox).then_some(allowed),
            grace: Duration::from_secs(self.grace_seconds),
            verify_every: Duration::from_secs(self.verify_seconds),
            uv_cache_dir: absolute(uv_cache_dir),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
        })
    }
}

fn executor_type(text: &str) -> Result<AgentKind, String> {
    [AgentKind::Procedural, AgentKind::Autonomous]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| "an executor is procedural or autonomous".to_owned())
}

/// An address that can be asked, as the coordinator's own command line takes it.
fn address(text: &str) -> Result<String, String> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url: reqwest::Url = whole.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(whole.trim_end_matches('/').to_owned()),
        other => Err(format!(
            "`{other}` is no scheme for a coordinator; write http://HOST:PORT or https://HOST:PORT"
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

fn existing(option: &'static str, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, ConfigError> {
    let real = |path: PathBuf| {
        path.canonicalize().map_err(|source| ConfigError::Allowed {
            option,
            path,
            source,
        })
    };
    paths.into_iter().map(real).collect()
}

fn agents_dir(path: PathBuf) -> Result<PathBuf, ConfigError> {
    // Reading it says at once what is wrong with it.
    let real = path.canonicalize();
    let real = real.and_then(|real| std::fs::read_dir(&real).map(|_| real));
    real.map_err(|source| ConfigError::AgentsDir { path, source })
}

/// The same for the same host, project folder and profile, so that a runner that comes back is
/// known: the first 64 bits of SHA-256, in hex.
fn identity(hostname: &str, project_dir: &Path, profile: &str, kind: AgentKind) -> String {
    let mut hash = Sha256::new();
    let folder = project_dir.to_string_lossy();
    // The usual kind is not named, as before there was another.
    let kind = (kind != AgentKind::Procedural).then_some(kind.as_str());
    let parts = [hostname, &folder, profile].into_iter().chain(kind);
    for part in parts {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("none", Ok(Limit(None)))]
    #[case("4096", Ok(Limit(Some(4096))))]
    #[case("64K", Ok(Limit(Some(65_536))))]
    #[case("4G", Ok(Limit(Some(4 << 30))))]
    #[case("0", Err(InvalidLimit))]
    #[case("", Err(InvalidLimit))]
    #[case("G", Err(InvalidLimit))]
    #[case("4GG", Err(InvalidLimit))]
    #[case("-1", Err(InvalidLimit))]
    #[case("99999999999G", Err(InvalidLimit))]
    fn a_limit_is_a_number_with_a_unit(
        #[case] text: &str,
        #[case] limit: Result<Limit, InvalidLimit>,
    ) {
        assert_eq!(text.parse(), limit);
    }
}
