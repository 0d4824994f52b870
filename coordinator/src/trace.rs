//! Where log lines go: stderr, filtered, as text or as JSON lines. What is worth a line is decided
//! where it happens.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a filter for --log; write a level as info, or coordinator=debug,info")]
pub struct BadFilter {
    text: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Others' daily lines are not ours to show; a filter that names them shows them all the same.
const QUIET: &str = "nats_server=warn,async_nats=warn";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging for the whole process. A second start changes nothing.
pub fn start(filter: &str, format: Format) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|source| BadFilter {
        text: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
    Ok(())
}
