//! `coordinator bench lanes`: how soon runs in many lanes are claimed. With slots to spare, from request
//! to claim; with more runs than slots, how evenly the lanes get their turn. It drives the public API
//! only, by the server's own times, and starts no runners.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::bench::{completed, figures};
use super::bench_spawn::{Floor, NOOP_SCRIPT};
use super::bench_stats::{Part, spread};
use super::client::{Body, Client};
use super::failure::Failure;
use super::follow::wait;
use super::global::Context;
use super::output::{Column, text};
use super::when::parse_duration;

/// Documents and runs that are on their way at once.
const AT_ONCE: usize = 64;

const FIELDS: &[Column] = &[
    Column::made("RUNS", |report| {
        format!(
            "{} in {} lanes",
            text(&report["runs"]),
            text(&report["lanes"])
        )
    }),
    Column::made("FLOOR", |report| figures(&report["floor"])),
    Column::made("CLAIM, SLOTS FREE", |report| figures(&report["claim"])),
    Column::made("BURST", |report| {
        format!("claimed within {} s", text(&report["burst"]["seconds"]))
    }),
    Column::made("A LANE'S FIRST", |report| range(&report["burst"]["first"])),
    Column::made("A LANE'S LAST", |report| range(&report["burst"]["last"])),
];

/// Measure how soon, and how evenly, runs in many lanes are claimed
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  runner start --tags $(seq -s, -f bench-lane-%g 0 199) --max-runs 1   # some of these, first
  coordinator bench lanes --lanes 200 --count 1000

Each lane has a no-op Bash script of its own, which demands the tag bench-lane-N. First runs are asked
for a few at a time (--concurrency: fewer than there are slots), round the lanes, and timed from request
to claim. Then all runs are submitted at once; said is, as a share of the time until the last claim,
when lanes had their first and their last run claimed. The floor is the bare spawn of the script.")]
pub struct LanesArgs {
    /// How many lanes
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lanes: u32,

    /// How many runs, of each part
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,

    /// How many at once while slots are to be free
    #[arg(long, value_name = "C", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,

    /// How long to wait until every lane's first run works
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_duration)]
    ready_timeout: Duration,
}

pub async fn run(context: &Context, args: LanesArgs) -> Result<(), Failure> {
    let bench = Bench {
        client: &context.client,
        lanes: args.lanes as usize,
    };
    let measured = bench.measure(context, &args).await;
    let removed = bench.remove().await;
    // What went wrong first is what the user needs to know.
    context.output.show(&measured?, "claim", FIELDS)?;
    removed
}

struct Bench<'a> {
    client: &'a Client,
    lanes: usize,
}

impl Bench<'_> {
    async fn measure(&self, context: &Context, args: &LanesArgs) -> Result<Value, Failure> {
        let (count, concurrency) = (args.count as usize, args.concurrency as usize);
        let floor = Floor::new()?;
        context.remark("making the lanes …");
        self.prepare().await?;
        context.remark("waiting until a run of every lane works …");
        let first = tokio::time::timeout(args.ready_timeout, self.runs(self.lanes, AT_ONCE));
        first.await.map_err(|_| {
            Failure::refused("some lane had no run within the time given")
                .hint("coordinator lane list: does a runner offer bench-lane-0 and all the others?")
        })??;
        context.remark("measuring with slots to spare …");
        let mut below = floor.spawn(count.div_ceil(2), concurrency).await?;
        let begun = Instant::now();
        let runs = self.runs(count, concurrency).await?;
        let claim = Part {
            wall: begun.elapsed(),
            count,
            latencies: runs.iter().filter_map(claimed_in).collect(),
        };
        below.add(floor.spawn(count.div_ceil(2), concurrency).await?);
        context.remark("measuring a burst …");
        let burst = self.burst(count).await?;
        Ok(
            json!({"lanes": self.lanes, "runs": count, "concurrency": concurrency,
            "floor": below.report(), "claim": claim.report(), "burst": burst}),
        )
    }

    /// Each run in the next lane, so many at once, until all have ended.
    async fn runs(&self, count: usize, concurrency: usize) -> Result<Vec<Value>, Failure> {
        let runs: Vec<Result<Value, Failure>> = futures::stream::iter(0..count)
            .map(|number| async move {
                let run = wait(self.client, &self.submit(number).await?).await?;
                completed(&run)?;
                Ok(run)
            })
            .buffer_unordered(concurrency)
            .collect()
            .await;
        runs.into_iter().collect()
    }

    async fn burst(&self, count: usize) -> Result<Value, Failure> {
        let ids: Vec<Result<String, Failure>> = futures::stream::iter(0..count)
            .map(|number| self.submit(number))
            .buffered(AT_ONCE)
            .collect()
            .await;
        let ids = ids.into_iter().collect::<Result<Vec<_>, _>>()?;
        let runs: Vec<Result<Value, Failure>> = futures::stream::iter(&ids)
            .map(|id| wait(self.client, id))
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut claims: BTreeMap<usize, Vec<Timestamp>> = BTreeMap::new();
        for (number, run) in runs.into_iter().enumerate() {
            let run = run?;
            completed(&run)?;
            claims
                .entry(number % self.lanes)
                .or_default()
                .extend(at(&run, "claimed_at"));
        }
        Ok(spread(claims.into_values()))
    }

    async fn submit(&self, number: usize) -> Result<String, Failure> {
        let agent = name(number % self.lanes);
        let request = json!({"type": "start_session", "agent_name": agent, "parameters": {}, "execution_mode": "async_poll"});
        let answer = self
            .client
            .send_with_headers(&["runs"], &[], HeaderMap::new(), &request)
            .await;
        let answer = answer.map_err(|failure| failure.doing(format!("cannot run {agent}")))?;
        Ok(text(&answer.body["run_id"]))
    }

    async fn prepare(&self) -> Result<(), Failure> {
        self.each(async |name| {
            let script = json!({"name": name, "description": "Does nothing, for `coordinator bench`",
                "script_file": "noop.sh", "script_content": NOOP_SCRIPT, "demands": {"tags": ["bash", name]}});
            let agent = json!({"name": name, "description": "Does nothing, for `coordinator bench`",
                "type": "procedural", "script": name});
            for (noun, document) in [("scripts", script), ("agents", agent)] {
                if self.client.find(&[noun, &name], &[]).await?.is_none() {
                    let body = Body::Json(&document);
                    self.client.send(Method::POST, &[noun], &[], body).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Agents first, because they use the scripts.
    async fn remove(&self) -> Result<(), Failure> {
        self.each(async |name| {
            for noun in ["agents", "scripts"] {
                if self.client.find(&[noun, &name], &[]).await?.is_some() {
                    let path = [noun, &name];
                    self.client
                        .send(Method::DELETE, &path, &[], Body::Empty)
                        .await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// One after the other: they are set up, not measured.
    async fn each(&self, work: impl AsyncFn(String) -> Result<(), Failure>) -> Result<(), Failure> {
        for number in 0..self.lanes {
            work(name(number)).await?;
        }
        Ok(())
    }
}

/// Of a lane's script, its agent and its tag.
fn name(number: usize) -> String {
    format!("bench-lane-{number}")
}

fn at(run: &Value, field: &str) -> Option<Timestamp> {
    run[field].as_str()?.parse().ok()
}

fn claimed_in(run: &Value) -> Option<Duration> {
    let waited = at(run, "claimed_at")?.duration_since(at(run, "created_at")?);
    // Both times are the broker's, and a claim follows its request.
    Duration::try_from(waited).ok()
}

fn range(of: &Value) -> String {
    format!(
        "at {} % to {} % of the time",
        text(&of["min_percent"]),
        text(&of["max_percent"])
    )
}
