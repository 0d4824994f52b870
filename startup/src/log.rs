//! Where log lines go: stderr, filtered, as text or as JSON lines. What is worth a line is decided
//! where it happens.

use crate::traces;
use std::io::IsTerminal as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is not a filter for --log; write a level (error, warn, info, debug, trace), or levels by module as info,coordinator::http=debug"
)]
pub struct BadFilter {
    text: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Others' daily lines are not ours to show; a filter that names them shows them all the same.
///
/// `traces` is for those who collect spans, not lines.
const QUIET: &str = "nats_server=warn,async_nats=warn,traces=off";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// A JSON object per line
    Json,
}

/// Starts logging for the whole process. A second start changes nothing.
///
/// # Errors
/// When the filter is none.
pub fn start(filter: &str, format: Format) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|source| BadFilter {
        text: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().boxed(),
    };
    // Each with a filter of its own: a quiet log costs no traces.
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(traces::layer())
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
    Ok(())
}
