//! The flags that every command takes, and what they become: a client, an output, a terminal. With
//! `settings`, the only place of the command line that reads the environment.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Format, Output};
use super::terminal::{Terminal, note};

/// Written by the coordinator at its first start, readable by its owner only.
const TOKEN_FILE: &str = "admin.token";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Where the coordinator listens
    #[arg(long, global = true, env = "COORDINATOR_URL", value_name = "URL",
          default_value = "http://127.0.0.1:8765", value_parser = parse_url)]
    pub url: Url,

    /// Access token; else, for a coordinator on this host, the file `admin.token` in the data folder
    #[arg(
        long,
        global = true,
        env = "COORDINATOR_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<Token>,

    /// Certificate authorities (PEM) that an https:// coordinator is verified against [default: the system's]
    #[arg(long, global = true, env = "COORDINATOR_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Ask the coordinator of this context; see `coordinator context` [default: the current one, if any]
    #[arg(long, global = true, env = "COORDINATOR_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// The settings file [default: coordinator.toml in ~/.config/coordinator, else in /etc/coordinator]
    #[arg(long, global = true, env = "COORDINATOR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The coordinator's data folder [default: $XDG_DATA_HOME/coordinator or ~/.local/share/coordinator]
    #[arg(long, global = true, env = "COORDINATOR_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Form of the output
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true,
        help = "Form of the output: table, wide, json, jsonl or name"
    )]
    pub output: Format,

    /// Names and ids only, no remarks
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// No colours (also: NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// An access token; never printed, `Debug` included.
#[derive(Clone)]
pub struct Token(String);

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl Token {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a command works with.
pub struct Context {
    pub client: Client,
    pub output: Output,
    pub quiet: bool,
    /// For programs that are started to work with the same coordinator.
    pub token: Option<Token>,
}

impl Context {
    /// Something worth saying that is not data; `-q` does without.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            note(text);
        }
    }
}

impl GlobalArgs {
    pub fn context(&self) -> Result<Context, Failure> {
        let token = self.token()?;
        Ok(Context {
            client: Client::new(self.url.clone(), token.as_deref(), self.ca.as_deref())?,
            output: self.output(),
            quiet: self.quiet,
            token: token.as_deref().map(Token::from),
        })
    }

    /// Whether the coordinator that is asked is on this host, as far as its address says.
    pub fn is_on_this_host(&self) -> bool {
        is_loopback(&self.url)
    }

    pub fn output(&self) -> Output {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let format = if self.quiet {
            Format::Name
        } else {
            self.output
        };
        Output::new(
            format,
            Terminal::detect(!self.no_color && !no_color),
            Timestamp::now(),
        )
    }

    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("coordinator"))
            .ok_or_else(|| {
                Failure::usage("there is no home folder to keep data in: HOME is not set")
                    .hint("--data-dir DIR")
            })
    }

    /// The file is for the coordinator on this host: it is not sent to any other.
    fn token(&self) -> Result<Option<String>, Failure> {
        // An empty one is a variable that was never filled in.
        if let Some(Token(token)) = self.token.as_ref().filter(|token| !token.0.is_empty()) {
            return Ok(Some(token.clone()));
        }
        match self.data_dir() {
            Ok(dir) if is_loopback(&self.url) => token_file(&dir.join(TOKEN_FILE)),
            _ => Ok(None),
        }
    }
}

/// The trace that this command is a part of, where whoever started it says so: a run that it requests belongs to
/// it, too.
pub fn traceparent() -> Option<HeaderValue> {
    HeaderValue::try_from(std::env::var("TRACEPARENT").ok()?).ok()
}

/// The user's editor, with its options.
pub fn editor() -> String {
    let set = |name| {
        let value = std::env::var(name).ok();
        value.filter(|value: &String| !value.trim().is_empty())
    };
    let chosen = set("VISUAL").or_else(|| set("EDITOR"));
    chosen.unwrap_or_else(|| "vi".to_owned())
}

/// A missing file is no error: the coordinator says whether a token is needed.
fn token_file(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(token) => Ok(Some(token.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(
            Exit::NotAllowed,
            format!("cannot read the token in {}", path.display()),
        )
        .because(error)
        .hint("--token, COORDINATOR_TOKEN, or the account that runs the coordinator")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

pub fn parse_url(text: &str) -> Result<Url, String> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!(
            "`{other}` is no scheme for a coordinator; write http://HOST:PORT or https://HOST:PORT"
        )),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1:8765", true)]
    #[case("127.0.0.2:1", true)]
    #[case("http://[::1]:8765", true)]
    #[case("localhost:8765", true)]
    #[case("https://localhost:8765", true)]
    #[case("https://ops:8765", false)]
    #[case("http://127.0.0.1.example.org", false)]
    #[case("http://10.0.0.1:8765", false)]
    fn the_token_file_is_for_this_host(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(&parse_url(url).unwrap()), expected);
    }

    #[rstest]
    #[case("nats://127.0.0.1:4222")]
    #[case("http://")]
    fn other_addresses_are_refused(#[case] url: &str) {
        assert!(parse_url(url).is_err());
    }
}
