//! `coordinator bench log`: what reading the log costs, beside a bare consumer of the same client, and
//! what answers cost when the log is long. A broker of its own in a temporary folder, filled with made-up
//! history; every figure is a ratio of two that were taken in the same run.

mod fill;
mod served;

use crate::broker::{self, Broker, Search};
use crate::cli::LogArgs;
use crate::projections::Projections;
use anyhow::Context as _;
use events::log::Log as _;
use events::log::jetstream::{Access, Connection, StreamSettings, ensure_streams};
use events::subject::{self, Stream};
use fill::{CATALOG_SCRIPT, Fill, STEPS};
use serde_json::{Value, json};
use served::{Costs, Served, median};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How we are called in the broker's own lists.
const NAME: &str = "bench";
/// Bare reader and projection take turns, so that both see the same machine.
const ROUNDS: usize = 2;
/// Runs that count as few.
const FEW_RUNS: u64 = 1_000;
/// A summary is an append: a million of them, on a slow machine.
const SUMMARISED_WITHIN: Duration = Duration::from_secs(1800);
const SUMMARISED_PAUSE: Duration = Duration::from_millis(100);
/// Moments that are asked about.
const MOMENTS: u64 = 50;

/// Fills a log, measures, and leaves nothing behind.
pub async fn run(args: LogArgs) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let broker = broker(folder.path()).await?;
    let connection = connect(&broker).await?;
    ensure_streams(&connection, StreamSettings::default()).await?;
    let bench = Bench {
        folder: folder.path(),
        broker: &broker,
        connection,
        args: &args,
    };
    let report = bench.measure().await;
    bench.connection.close().await;
    tokio::task::spawn_blocking(move || broker.stop()).await?;
    report
}

struct Bench<'a> {
    folder: &'a Path,
    broker: &'a Broker,
    connection: Connection,
    args: &'a LogArgs,
}

impl Bench<'_> {
    async fn measure(&self) -> anyhow::Result<Value> {
        let runs = (self.args.events / STEPS).max(FEW_RUNS);
        let fill = Fill::new(&self.connection);
        say("filling in a few runs …");
        fill.runs(0..FEW_RUNS).await?;
        let few = self.costs(FEW_RUNS).await?;
        say("filling in the others …");
        fill.runs(FEW_RUNS..runs).await?;
        let (bare, rebuilt) = self.in_turns(runs * STEPS).await?;
        say("asking about many runs …");
        let many = self.costs(runs).await?;
        say("filling in versions …");
        let versions = u64::from(self.args.versions).min(self.args.events);
        fill.catalog(self.args.events, versions).await?;
        say("asking about the past …");
        let past = self.past(versions).await?;
        let per_second = |took: Duration| (runs * STEPS) as f64 / took.as_secs_f64();
        Ok(json!({
            "events": runs * STEPS,
            "runs": runs,
            "rebuild": {
                "bare_per_second": per_second(bare).round(),
                "rebuilt_per_second": per_second(rebuilt).round(),
                "rate_ratio": rounded(bare.as_secs_f64() / rebuilt.as_secs_f64()),
            },
            "few": few.report(),
            "many": many.report(),
            "list_ratio": rounded(many.list_ms / few.list_ms),
            "one_ratio": rounded(many.one_ms / few.one_ms),
            "memory_ratio": rounded(many.rss_kib as f64 / few.rss_kib as f64),
            "past": past,
        }))
    }

    /// What answers cost over so many runs, once the coordinator has done what it owes them.
    async fn costs(&self, runs: u64) -> anyhow::Result<Costs> {
        let served = self.served().await?;
        let begun = Instant::now();
        while self.connection.bounds(Stream::History).await?.last_sequence < runs {
            let waited = begun.elapsed();
            anyhow::ensure!(waited < SUMMARISED_WITHIN, "runs are without their summary");
            tokio::time::sleep(SUMMARISED_PAUSE).await;
        }
        served.runs(runs).await
    }

    /// Reads all with a bare consumer and builds a projection, by turns; the medians of both.
    async fn in_turns(&self, events: u64) -> anyhow::Result<(Duration, Duration)> {
        let (mut bare, mut rebuilt) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            say(&format!(
                "reading and rebuilding, round {round} of {ROUNDS} …"
            ));
            let start = Instant::now();
            let read = self.connection.read_bare(Stream::Runs, events).await?;
            bare.push(start.elapsed());
            anyhow::ensure!(read == events, "the bare consumer read {read} of {events}");
            let store = self.folder.join("rebuilt");
            let start = Instant::now();
            let log = Arc::new(self.connection.clone());
            let projections = Projections::open(log, &store).await?;
            rebuilt.push(start.elapsed());
            anyhow::ensure!(projections.quarantined() == 0, "some events were skipped");
            projections.close().await;
            drop(projections);
            std::fs::remove_dir_all(store)?;
        }
        Ok((median(bare), median(rebuilt)))
    }

    /// What one script with many versions costs as of any moment, beside reading the whole log.
    async fn past(&self, versions: u64) -> anyhow::Result<Value> {
        let start = Instant::now();
        let events = self.args.events;
        self.connection
            .read_bare(Stream::Catalog, events + 1)
            .await?;
        let whole = start.elapsed();
        let served = self.served().await?;
        let mut one = Vec::new();
        for moment in 1..=MOMENTS {
            let sequence = moment * events / MOMENTS;
            let path = format!("/scripts/{CATALOG_SCRIPT}?at_seq={sequence}");
            one.push(served.timed(&path).await?);
        }
        let list = served
            .timed(&format!("/scripts?at_seq={}", events / 2))
            .await?;
        let again = served
            .timed(&format!("/scripts?at_seq={}", events / 2))
            .await?;
        let one = median(one);
        Ok(json!({
            "events": events,
            "versions": versions,
            "whole_log_ms": ms(whole),
            "one_p50_ms": ms(one),
            "one_ratio": rounded(one.as_secs_f64() / whole.as_secs_f64()),
            "list_ms": ms(list),
            "list_again_ms": ms(again),
        }))
    }

    async fn served(&self) -> anyhow::Result<Served> {
        Served::start(self.folder, &self.broker.url(), self.broker.app_seed()).await
    }
}

async fn broker(folder: &Path) -> anyhow::Result<Broker> {
    let data_dir = folder.join("broker");
    std::fs::create_dir(&data_dir)?;
    let started = tokio::task::spawn_blocking(move || {
        let server = Search::of_process(None, None, &data_dir).locate()?;
        let config = broker::Config {
            data_dir,
            server,
            port: None,
        };
        anyhow::Ok(broker::start(config)?)
    });
    started.await?
}

async fn connect(broker: &Broker) -> anyhow::Result<Connection> {
    let access = Access {
        url: broker.url(),
        nkey_seed: Some(broker.app_seed().expose().to_owned()),
        name: NAME.to_owned(),
        inbox_prefix: subject::inbox_prefix(NAME),
        owns_streams: true,
    };
    Ok(Connection::open(access).await?)
}

fn say(text: &str) {
    eprintln!("{text}");
}

fn ms(took: Duration) -> f64 {
    rounded(took.as_secs_f64() * 1e3)
}

fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}
