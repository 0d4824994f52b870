//! The arguments of the two commands that do not end. What they do is not decided here: the binary
//! supplies it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::input::parse_size;
use super::when::{parse_duration, parse_kept};

const SERVE_EXAMPLES: &str = "\
Examples:
  coordinator serve
  coordinator serve --data-dir /srv/coordinator --listen 127.0.0.1:8765
  coordinator serve --nats-url nats://nats.internal:4222 --nats-nkey coordinator.nk
  coordinator serve --listen 0.0.0.0:8765 --tls-cert cert.pem --tls-key key.pem --allowed-host scripts.example.org
  coordinator serve --fetch-broker";

const DEV_EXAMPLES: &str = "\
Examples:
  coordinator dev
  coordinator dev --project-dir ~/work --tags messaging-team,nightly";

/// Start the coordinator (and, without --nats-url, its own broker)
#[derive(Args, Clone, Debug)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Address and port of the HTTP API
    #[arg(
        long,
        env = "COORDINATOR_LISTEN",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8765"
    )]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub broker: BrokerArgs,

    /// A further Host header to accept, beside the loopback names; may be repeated
    #[arg(
        long,
        env = "COORDINATOR_ALLOWED_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_host: Vec<String>,

    /// Where others reach us, as https://scripts.example.org: its name is an allowed host, and its
    /// pages are our own
    #[arg(long, env = "COORDINATOR_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Let pages from here use the API from a browser, as https://tools.example.org; may be repeated
    #[arg(
        long,
        env = "COORDINATOR_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origin: Vec<String>,

    /// Certificate chain (PEM) to answer with TLS
    #[arg(long, env = "COORDINATOR_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert
    #[arg(long, env = "COORDINATOR_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Listen beyond loopback: a proxy in front of us does TLS
    #[arg(long, env = "COORDINATOR_BEHIND_PROXY", value_parser = clap::builder::FalseyValueParser::new())]
    pub behind_proxy: bool,

    /// Ask nobody for a token: whoever reaches the port may do everything. On loopback only
    #[arg(long, env = "COORDINATOR_NO_AUTH", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_auth: bool,

    /// How long a run may wait while no runner that is online could take it [default: 5m]
    #[arg(long, env = "COORDINATOR_SCHEDULE_TIMEOUT", value_name = "TIME", value_parser = parse_duration)]
    pub schedule_timeout: Option<Duration>,

    /// How long a run stays with a runner that gives no sign of life; a lost one is noticed after
    /// half as long again. Short leases ask for a quiet network [default: 30s]
    #[arg(long, env = "COORDINATOR_LEASE", value_name = "TIME", value_parser = parse_duration)]
    pub lease: Option<Duration>,

    /// How long a runner that long-polls may be silent before it counts as gone [default: 150s]
    #[arg(long, env = "COORDINATOR_HTTP_SILENCE", value_name = "TIME", value_parser = parse_duration)]
    pub http_silence: Option<Duration>,

    /// How long a lane that no agent, pin or unfinished run needs is kept [default: 10m]
    #[arg(long, env = "COORDINATOR_RETIRE_LANES_AFTER", value_name = "TIME", value_parser = parse_duration)]
    pub retire_lanes_after: Option<Duration>,

    /// How long runs are kept, with all their steps [default: as it is, at first 30d]
    #[arg(long, env = "COORDINATOR_RUNS_KEPT", value_name = "TIME", value_parser = parse_kept)]
    pub runs_kept: Option<Duration>,

    /// What runs may take up on the broker; at nine tenths of it new ones are refused [default: as it
    /// is, at first no limit]
    #[arg(long, env = "COORDINATOR_RUNS_MAX_SIZE", value_name = "SIZE", value_parser = parse_size)]
    pub runs_max_size: Option<u64>,

    /// How long the output of runs is kept [default: as it is, at first 7d]
    #[arg(long, env = "COORDINATOR_OUTPUT_KEPT", value_name = "TIME", value_parser = parse_kept)]
    pub output_kept: Option<Duration>,

    /// What output may take up on the broker; beyond it the oldest goes [default: as it is, at first 4GiB]
    #[arg(long, env = "COORDINATOR_OUTPUT_MAX_SIZE", value_name = "SIZE", value_parser = parse_size)]
    pub output_max_size: Option<u64>,

    /// How long it is kept what runners said of themselves [default: as it is, at first 90d]
    #[arg(long, env = "COORDINATOR_RUNNERS_KEPT", value_name = "TIME", value_parser = parse_kept)]
    pub runners_kept: Option<Duration>,

    /// After how long a bundle goes that nothing refers to [default: 1d]
    #[arg(long, env = "COORDINATOR_BUNDLE_GRACE", value_name = "TIME", value_parser = parse_kept)]
    pub bundle_grace: Option<Duration>,

    /// Which log lines to write: a level, and levels by module, as `info,coordinator::http=debug`
    #[arg(
        long,
        env = "COORDINATOR_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// Form of the log lines: text or json
    #[arg(
        long,
        env = "COORDINATOR_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub log_format: startup::log::Format,
}

// No doc comment: it would become that of the commands that take these.
#[derive(Args, Clone, Debug)]
pub struct BrokerArgs {
    /// Use this NATS server instead of starting one
    #[arg(long, env = "NATS_URL", value_name = "URL", conflicts_with_all = ["nats_server", "broker_port", "fetch_broker"])]
    pub nats_url: Option<String>,

    /// File with the nkey seed for --nats-url
    #[arg(long, env = "NATS_NKEY", value_name = "FILE", requires = "nats_url")]
    pub nats_nkey: Option<PathBuf>,

    /// Where runners reach the server of --nats-url [default: the same address]
    #[arg(
        long,
        env = "RUNNER_NATS_URL",
        value_name = "URL",
        requires = "nats_url"
    )]
    pub runner_nats_url: Option<String>,

    /// File with the nkey seed that runners use for it [default: they use none]
    #[arg(
        long,
        env = "RUNNER_NATS_NKEY",
        value_name = "FILE",
        requires = "nats_url"
    )]
    pub runner_nats_nkey: Option<PathBuf>,

    /// The nats-server program to start [default: looked for in PATH, .tools and the data folder]
    #[arg(long, env = "COORDINATOR_NATS_SERVER", value_name = "FILE")]
    pub nats_server: Option<PathBuf>,

    /// A folder with programs in its `bin`, looked at before the others
    #[arg(long, env = "COORDINATOR_TOOLS", value_name = "DIR")]
    pub tools: Option<PathBuf>,

    /// Port of the broker that is started [default: a free one, the same at every start]
    #[arg(long, env = "COORDINATOR_BROKER_PORT", value_name = "PORT")]
    pub broker_port: Option<u16>,

    /// Download nats-server into the data folder where none is found
    #[arg(long, env = "COORDINATOR_FETCH_BROKER", value_parser = clap::builder::FalseyValueParser::new())]
    pub fetch_broker: bool,

    /// Copies of all data, on as many servers of the broker's cluster: 1, 3 or 5 [default: as it is]
    #[arg(long, env = "COORDINATOR_REPLICAS", value_name = "N", value_parser = parse_replicas)]
    pub replicas: Option<usize>,
}

/// More than five servers make a cluster slower, and an even number no safer.
fn parse_replicas(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err(format!("`{text}` is no number of copies; write 1, 3 or 5")),
    }
}

/// Everything on this machine in one command: coordinator, broker and one runner
#[derive(Args, Clone, Debug)]
#[command(after_help = DEV_EXAMPLES)]
pub struct DevArgs {
    #[command(flatten)]
    pub serve: ServeArgs,

    /// Where the runner's agents work and its scripts are kept
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project_dir: PathBuf,

    /// Tags of the runner, beside those of the interpreters it finds
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Vec<String>,

    /// Executor profile of the runner
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub profile: String,

    /// How many runs at once [default: the runner's own]
    #[arg(long, value_name = "N")]
    pub max_runs: Option<u16>,

    /// A variable of our environment that scripts get; may be repeated
    #[arg(long, value_name = "NAME")]
    pub pass_env: Vec<String>,

    /// Let scripts reach whatever you can, also where the kernel has Landlock
    #[arg(long)]
    pub no_sandbox: bool,

    /// A further file or folder that scripts may read; may be repeated
    #[arg(long, value_name = "PATH", conflicts_with = "no_sandbox")]
    pub allow_read: Vec<PathBuf>,

    /// A further file or folder that scripts may change; may be repeated
    #[arg(long, value_name = "PATH", conflicts_with = "no_sandbox")]
    pub allow_write: Vec<PathBuf>,

    /// The runner program [default: `runner` beside this one]
    #[arg(long, env = "COORDINATOR_RUNNER", value_name = "FILE")]
    pub runner: Option<PathBuf>,
}
