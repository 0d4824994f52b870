//! What every handler may use: the application, and the few facts of this process that it shows.

use crate::access::LastUses;
use crate::app::App;
use events::log::jetstream::Durability;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub struct Api {
    pub app: App,
    pub broker: Arc<BrokerFacts>,
    pub started: Instant,
    pub last_uses: Arc<LastUses>,
    /// Where this coordinator keeps what is its own.
    pub data_dir: Option<PathBuf>,
    /// We are about to go: whoever waits is answered now.
    pub closing: CancellationToken,
}

/// The broker as it is shown, and what a runner needs to reach it.
pub struct BrokerFacts {
    pub mode: BrokerMode,
    pub url: String,
    pub durability: Durability,
    /// Asked anew each time: a broker may be upgraded under us.
    pub server_version: Box<dyn Fn() -> String + Send + Sync>,
    pub runner_urls: Vec<String>,
    pub runner_seed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerMode {
    /// Our child.
    Embedded,
    External,
}

impl BrokerMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::External => "external",
        }
    }
}
