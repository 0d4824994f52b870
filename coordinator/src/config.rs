//! What the user wrote becomes what the program needs: checked once, at start. Reads the files that
//! were named and nothing else; the environment is clap's to read.

use crate::cli::{BrokerArgs, ServeArgs};
use events::Cadence;
use events::cadence::InvalidLease;
use events::log::jetstream::{Retention, StreamSettings};
use schemas::Timeout;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Checked settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// Beside the loopback names.
    pub allowed_hosts: Vec<String>,
    /// Where our own pages come from behind a proxy, as a browser says it.
    pub own_origin: Option<String>,
    /// Pages elsewhere that may use the API, as a browser says it.
    pub cors_origins: Vec<String>,
    pub tls: Option<TlsFiles>,
    /// Nobody is asked for a token.
    pub no_auth: bool,
    pub broker: BrokerChoice,
    pub streams: StreamSettings,
    /// After how long a bundle goes that nothing refers to.
    pub bundle_grace: Option<Duration>,
    /// How long a run may wait while nobody could take it, where it does not say itself.
    pub schedule_timeout: Option<Timeout>,
    pub cadence: Cadence,
    /// How long a runner over HTTP may be silent.
    pub http_silence: Option<Duration>,
    /// How long a lane that nothing needs is kept.
    pub retire_lanes_after: Option<Duration>,
}

/// What we answer with TLS with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whose broker it is.
#[derive(Clone, Debug)]
pub enum BrokerChoice {
    /// Ours, as a child.
    Embedded {
        program: Option<PathBuf>,
        tools: Option<PathBuf>,
        port: Option<u16>,
        fetch: bool,
    },
    External {
        url: String,
        seed: Option<Seed>,
        runner_url: String,
        runner_seed: Option<Seed>,
    },
}

/// The seed of an nkey. Printing it for debugging does not show it.
#[derive(Clone)]
pub struct Seed(String);

/// Settings that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "will not listen on {0}, which other hosts reach, without TLS: tokens and scripts would travel in the clear. Give --tls-cert and --tls-key, or listen on 127.0.0.1, or say --behind-proxy if a proxy in front of us does TLS"
    )]
    BeyondLoopback(SocketAddr),
    #[error(
        "--no-auth lets whoever reaches the port do everything, so it works on loopback only: leave out {0}, or --no-auth"
    )]
    NoAuthBeyondLoopback(String),
    #[error("{0} is not an address for --public-url; write https://HOST, with nothing after it")]
    PublicUrl(String),
    #[error(
        "{0} is not an origin for --cors-origin; write each as https://HOST or https://HOST:PORT (there is no wildcard)"
    )]
    CorsOrigin(String),
    #[error(
        "{0} is not a host name for --allowed-host; give the name alone, as coordinator.example.org"
    )]
    HostName(String),
    #[error(
        "{0} is not an address of a broker; write nats://HOST:PORT, several separated by commas"
    )]
    BrokerUrl(String),
    #[error("--tls-cert and --tls-key belong together; {0} is missing")]
    HalfTls(&'static str),
    #[error("--schedule-timeout of {0} s is none; give 1s to 7d, as 30s, 5m or 1h")]
    ScheduleTimeout(f64),
    #[error("--lease: {0}")]
    Lease(InvalidLease),
    #[error("--http-silence of {0} s is none; give 3s to 1h, as 150s")]
    HttpSilence(u64),
    #[error("cannot read the nkey seed in {}; give a file that this user may read", path.display())]
    SeedUnreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold a user's nkey seed (it begins with SU)", .0.display())]
    NoSeed(PathBuf),
}

impl Settings {
    pub fn check(data_dir: PathBuf, args: &ServeArgs) -> Result<Self, ConfigError> {
        let tls = tls(args)?;
        if !args.listen.ip().is_loopback() && !args.behind_proxy && tls.is_none() {
            return Err(ConfigError::BeyondLoopback(args.listen));
        }
        if args.no_auth {
            nobody_beyond_loopback(args)?;
        }
        let hosts = args.allowed_host.iter().map(|name| host_name(name));
        let mut allowed_hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let public = args.public_url.as_deref();
        let public = public
            .map(|text| origin(text).ok_or_else(|| ConfigError::PublicUrl(schemas::shown(text))));
        let public = public.transpose()?;
        allowed_hosts.extend(public.as_ref().map(|(host, _)| host.clone()));
        let pages = args.cors_origin.iter();
        let pages = pages.map(|text| match origin(text) {
            Some((_, origin)) => Ok(origin),
            None => Err(ConfigError::CorsOrigin(schemas::shown(text))),
        });
        Ok(Self {
            data_dir,
            listen: args.listen,
            allowed_hosts,
            own_origin: public.map(|(_, origin)| origin),
            cors_origins: pages.collect::<Result<_, _>>()?,
            tls,
            no_auth: args.no_auth,
            broker: broker_choice(&args.broker)?,
            streams: streams(args),
            bundle_grace: args.bundle_grace,
            schedule_timeout: args.schedule_timeout.map(schedule_timeout).transpose()?,
            cadence: args.lease.map_or(Ok(Cadence::default()), cadence)?,
            http_silence: args.http_silence.map(http_silence).transpose()?,
            retire_lanes_after: args.retire_lanes_after,
        })
    }
}

impl Seed {
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let path = path.to_path_buf();
            ConfigError::SeedUnreadable { path, source }
        })?;
        let seed = text
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("SU"));
        seed.map(|seed| Self(seed.to_owned()))
            .ok_or_else(|| ConfigError::NoSeed(path.to_path_buf()))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

fn tls(args: &ServeArgs) -> Result<Option<TlsFiles>, ConfigError> {
    match (args.tls_cert.clone(), args.tls_key.clone()) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => Err(ConfigError::HalfTls("--tls-key")),
        (None, Some(_)) => Err(ConfigError::HalfTls("--tls-cert")),
        (None, None) => Ok(None),
    }
}

/// A proxy, or a public name, means that others come, whatever we listen on.
fn nobody_beyond_loopback(args: &ServeArgs) -> Result<(), ConfigError> {
    let beyond = if !args.listen.ip().is_loopback() {
        format!("--listen {}", args.listen)
    } else if args.behind_proxy {
        "--behind-proxy".to_owned()
    } else if args.public_url.is_some() {
        "--public-url".to_owned()
    } else {
        return Ok(());
    };
    Err(ConfigError::NoAuthBeyondLoopback(beyond))
}

/// The host of an address, and the address as a browser names it as the origin of a page.
fn origin(text: &str) -> Option<(String, String)> {
    let url: reqwest::Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    let known = matches!(url.scheme(), "http" | "https");
    let host = url.host_str()?.to_ascii_lowercase();
    (bare && nobody && known).then(|| (host, url.origin().ascii_serialization()))
}

fn streams(args: &ServeArgs) -> StreamSettings {
    let kept = |age, bytes| Retention { age, bytes };
    StreamSettings {
        replicas: args.broker.replicas,
        runs: kept(args.runs_kept, args.runs_max_size),
        output: kept(args.output_kept, args.output_max_size),
        runners: kept(args.runners_kept, None),
    }
}

/// Whose broker these arguments mean.
pub fn broker_choice(args: &BrokerArgs) -> Result<BrokerChoice, ConfigError> {
    let Some(url) = &args.nats_url else {
        return Ok(BrokerChoice::Embedded {
            program: args.nats_server.clone(),
            tools: args.tools.clone(),
            port: args.broker_port,
            fetch: args.fetch_broker,
        });
    };
    let runner_url = args.runner_nats_url.as_ref().unwrap_or(url);
    let seed = |path: &Option<PathBuf>| path.as_deref().map(Seed::read).transpose();
    Ok(BrokerChoice::External {
        url: broker_url(url)?,
        seed: seed(&args.nats_nkey)?,
        runner_url: broker_url(runner_url)?,
        runner_seed: seed(&args.runner_nats_nkey)?,
    })
}

/// In whole seconds, as runs carry it.
fn schedule_timeout(duration: Duration) -> Result<Timeout, ConfigError> {
    let refused = || ConfigError::ScheduleTimeout(duration.as_secs_f64());
    let seconds = u32::try_from(duration.as_secs()).map_err(|_| refused())?;
    Timeout::try_from(seconds).map_err(|_| refused())
}

fn cadence(lease: Duration) -> Result<Cadence, ConfigError> {
    Cadence::of_seconds(lease.as_secs()).map_err(ConfigError::Lease)
}

/// With less, a second of a busy host would count as death; with more, nobody would wait for it.
fn http_silence(silence: Duration) -> Result<Duration, ConfigError> {
    match silence.as_secs() {
        3..=3_600 => Ok(silence),
        seconds => Err(ConfigError::HttpSilence(seconds)),
    }
}

fn broker_url(text: &str) -> Result<String, ConfigError> {
    let usable = |url: &str| {
        let host = ["nats://", "tls://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace))
    };
    let urls: Vec<&str> = text.split(',').map(str::trim).collect();
    if urls.iter().all(|url| usable(url)) {
        Ok(urls.join(","))
    } else {
        Err(ConfigError::BrokerUrl(schemas::shown(text)))
    }
}

fn host_name(text: &str) -> Result<String, ConfigError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ConfigError::HostName(schemas::shown(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use rstest::rstest;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn check(args: &[&str]) -> Result<Settings, ConfigError> {
        let line = Line::parse_from([&["serve"], args].concat());
        Settings::check("data".into(), &line.serve)
    }

    #[rstest]
    #[case::half_tls(&["--tls-cert", "c"], "--tls-key is missing")]
    #[case::any_address(&["--listen", "0.0.0.0:1"], "--tls-cert")]
    #[case::no_auth(&["--no-auth", "--listen", "0.0.0.0:1", "--behind-proxy"], "--listen 0.0.0.0:1")]
    #[case::no_auth_proxy(&["--no-auth", "--behind-proxy"], "--behind-proxy")]
    #[case::no_auth_public(&["--no-auth", "--public-url", "https://x"], "--public-url")]
    #[case::public_path(&["--public-url", "https://x/y"], "https://HOST")]
    #[case::public_scheme(&["--public-url", "x.example"], "https://HOST")]
    #[case::cors_all(&["--cors-origin", "*"], "no wildcard")]
    #[case::cors_path(&["--cors-origin", "https://x/y"], "https://HOST")]
    #[case::public(&["--listen", "[2001:db8::1]:1"], "--behind-proxy")]
    #[case::schedule(&["--schedule-timeout", "0"], "1s to 7d")]
    #[case::lease(&["--lease", "1s"], "from 3s to 10m")]
    #[case::silence(&["--http-silence", "2h"], "3s to 1h")]
    #[case::host(&["--allowed-host", "http://x"], "give the name alone")]
    #[case::port_in_host(&["--allowed-host", "x:80"], "give the name alone")]
    #[case::broker(&["--nats-url", "localhost:4222"], "nats://HOST:PORT")]
    #[case::no_file(&["--nats-url", "nats://x", "--nats-nkey", "/no/such"], "/no/such")]
    fn what_cannot_be_meant_is_refused(#[case] args: &[&str], #[case] message: &str) {
        let error = check(args).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[rstest]
    #[case(&[])]
    #[case(&["--listen", "[::1]:0"])]
    #[case(&["--listen", "0.0.0.0:80", "--behind-proxy", "--allowed-host", "C.example.org"])]
    #[case(&["--listen", "0.0.0.0:80", "--tls-cert", "c", "--tls-key", "k"])]
    #[case(&["--no-auth"])]
    #[case(&["--nats-url", "nats://a:1, nats://b:2", "--runner-nats-url", "tls://c"])]
    fn what_can_be_meant_is_taken(#[case] args: &[&str]) {
        check(args).unwrap();
    }

    #[test]
    fn a_public_address_is_a_host_and_an_origin() {
        let settings = check(&[
            "--public-url",
            "https://C.example:443/",
            "--cors-origin",
            "http://p:80",
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.allowed_hosts, ["c.example"]);
        assert_eq!(settings.own_origin.as_deref(), Some("https://c.example"));
        assert_eq!(settings.cors_origins, ["http://p"]);
    }

    #[test]
    fn a_seed_is_found_among_other_lines_and_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "-----BEGIN-----\n SUSECRET\n").unwrap();
        let path = file.path().to_str().unwrap();
        let settings = check(&["--nats-url", "nats://x", "--runner-nats-nkey", path]).unwrap();
        assert!(!format!("{settings:?}").contains("SECRET"));
        std::fs::write(&file, "nothing").unwrap();
        let path = file.path().to_str().unwrap();
        assert!(check(&["--nats-url", "nats://x", "--nats-nkey", path]).is_err());
    }
}
