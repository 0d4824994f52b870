//! A coordinator of its own process over the filled log, as a client meets it: what its answers cost,
//! and its memory.

use super::fill::run_id;
use crate::broker::Seed;
use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Answers of each kind that are timed.
const ASKED: u64 = 200;
/// A rebuild of millions of events, on a slow machine.
const READY_WITHIN: Duration = Duration::from_secs(600);
const READY_PAUSE: Duration = Duration::from_millis(20);

/// Ended when dropped.
pub struct Served {
    child: Child,
    url: String,
    token: String,
    client: reqwest::Client,
}

/// What so many runs cost.
pub struct Costs {
    pub runs: u64,
    pub list_ms: f64,
    pub one_ms: f64,
    pub rss_kib: u64,
}

impl Costs {
    pub fn report(&self) -> Value {
        json!({"runs": self.runs, "list_p50_ms": self.list_ms, "one_p50_ms": self.one_ms,
            "rss_kib": self.rss_kib})
    }
}

impl Served {
    /// Answers when it does.
    pub async fn start(folder: &Path, broker_url: &str, seed: &Seed) -> anyhow::Result<Self> {
        let data_dir = folder.join("coordinator");
        std::fs::create_dir_all(&data_dir)?;
        let key = folder.join("coordinator.nk");
        std::fs::write(&key, seed.expose())?;
        // Nobody else has it in the moment between.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--nats-url", broker_url])
            .arg("--nats-nkey")
            .arg(&key)
            .args(["--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("coordinator.log"))?)
            .kill_on_drop(true)
            .spawn()?;
        let mut served = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            token: String::new(),
            client: reqwest::Client::builder().no_proxy().build()?,
        };
        served.ready().await?;
        let token = std::fs::read_to_string(data_dir.join("admin.token"))?;
        token.trim().clone_into(&mut served.token);
        Ok(served)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let url = format!("{}/health", self.url);
        while self.client.get(&url).send().await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the coordinator ended at its start ({status})");
            }
            anyhow::ensure!(
                begun.elapsed() < READY_WITHIN,
                "the coordinator does not answer"
            );
            tokio::time::sleep(READY_PAUSE).await;
        }
        Ok(())
    }

    /// What reads cost; then ends it, so that what it knows is on the disk for the next one.
    pub async fn runs(mut self, runs: u64) -> anyhow::Result<Costs> {
        let (mut list, mut one) = (Vec::new(), Vec::new());
        for asked in 0..ASKED {
            // With `since` a page is made anew each time; without, it is kept while no run changes.
            list.push(self.timed("/runs?limit=50&since=365d").await?);
            let id = run_id(asked * runs / ASKED);
            one.push(self.timed(&format!("/runs/{id}")).await?);
        }
        let costs = Costs {
            runs,
            list_ms: super::ms(median(list)),
            one_ms: super::ms(median(one)),
            rss_kib: self.rss_kib()?,
        };
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
        }
        self.child.wait().await?;
        Ok(costs)
    }

    /// How long an answer takes that is none of an error.
    pub async fn timed(&self, path: &str) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let request = self.client.get(format!("{}{path}", self.url));
        let answer = request.bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let took = start.elapsed();
        anyhow::ensure!(
            status.is_success(),
            "{path}: {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(took)
    }

    /// The memory it holds now.
    fn rss_kib(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the coordinator has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib
            .context("the system does not tell the memory")?
            .parse()?)
    }
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
