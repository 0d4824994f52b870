//! What every handler may use: the application, and the few facts of this process that it shows.

use super::page_cache::PageCache;
use crate::access::LastUses;
use crate::app::{App, Members};
use events::log::jetstream::Durability;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub struct Api {
    pub app: App,
    pub broker: Arc<BrokerFacts>,
    pub started: Instant,
    pub last_uses: Arc<LastUses>,
    pub pages: Arc<PageCache>,
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
    /// A key that all runners share, where an operator wants that; else each uses its own.
    pub runner_seed: Option<String>,
    /// How far in `CATALOG` our own broker knows who has joined; others are told by their operators.
    pub admitted: Option<watch::Receiver<u64>>,
    /// `accounts.conf` with these runners.
    pub accounts: Box<dyn Fn(&Members) -> String + Send + Sync>,
}

/// A reload of the broker takes milliseconds. Who is let in a moment later knocks again, so this
/// is no promise.
const ADMITTED_WITHIN: Duration = Duration::from_secs(2);

impl BrokerFacts {
    /// Waits until our own broker knows who has joined up to this sequence of `CATALOG`.
    pub async fn knows(&self, catalog_sequence: u64) {
        let Some(admitted) = &self.admitted else {
            return;
        };
        let mut admitted = admitted.clone();
        let told = admitted.wait_for(|sequence| *sequence >= catalog_sequence);
        // Whoever waits in vain is let in later, or cut off later, all the same.
        let _ = tokio::time::timeout(ADMITTED_WITHIN, told).await;
    }
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
