//! `coordinator bench runs`: how much slower a run through the coordinator is than starting the same
//! script ourselves. It drives the public API only; where the time goes inside is not its business.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use futures::StreamExt;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::bench_spawn::Floor;
use super::bench_stats::{Part, compare};
use super::client::{Body, Client, WAIT};
use super::failure::Failure;
use super::follow::{epitaph, has_ended, wait};
use super::global::Context;
use super::output::{Column, text};
use super::when::parse_duration;

/// Script and agent that a benchmark makes for itself.
const NOOP: &str = "bench-noop";

/// Floor and measurement take turns this often, so that both see the same machine.
const ROUNDS: usize = 4;

/// Warm-up runs per slot: connections, caches, the runner's copy of the script.
const WARM_UP: usize = 3;

/// Requests in flight while a burst is submitted.
const SUBMITTERS: usize = 64;

const FIELDS: &[Column] = &[
    Column::made("RUNS", |report| {
        format!(
            "{} × {} at once, {}",
            text(&report["count"]),
            text(&report["concurrency"]),
            text(&report["mode"])
        )
    }),
    Column::made("FLOOR", |report| figures(&report["floor"])),
    Column::made("MEASURED", |report| figures(&report["measured"])),
    Column::made("RATE", |report| {
        format!("{} of the floor's", text(&report["rate_ratio"]))
    }),
    Column::made(
        "P50 ABOVE FLOOR",
        |report| match &report["p50_difference_ms"] {
            Value::Null => String::new(),
            difference => format!("{difference} ms"),
        },
    ),
];

#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    Runs(RunsArgs),
    Lanes(super::bench_lanes::LanesArgs),
    Sync(super::bench_sync::SyncArgs),
    Log(super::bench_log::LogArgs),
    Api(super::bench_api::ApiArgs),
}

/// Measure runs per second and latency, beside spawning the same script without us
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator bench runs --count 200 --concurrency 1
  coordinator bench runs --count 500 --concurrency 8 --burst
  coordinator bench runs --count 200 -o json | jq .p50_difference_ms

The floor is a no-op Bash script spawned in a loop on this host, its output collected; it takes
turns with the measurement. Latency is from request to visible result. In a burst all runs are
submitted first; their latency is the server's own, from created to ended.")]
pub struct RunsArgs {
    /// How many runs to measure
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,

    /// How many at once; in a burst: of the floor, so give it the runner's --max-runs
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,

    /// Submit all runs at once and time until the last has ended
    #[arg(long)]
    burst: bool,

    /// Run this agent instead of the no-op one; it is run without parameters
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,

    /// Leave the no-op script and agent in the coordinator
    #[arg(long)]
    keep: bool,

    /// How long to wait until a first run works
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    ready_timeout: Duration,
}

pub async fn run(context: &Context, command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Runs(args) => runs(context, args).await,
        BenchCommand::Lanes(args) => super::bench_lanes::run(context, args).await,
        BenchCommand::Sync(args) => super::bench_sync::run(context, &args).await,
        // It asks no coordinator.
        BenchCommand::Log(_) | BenchCommand::Api(_) => Ok(()),
    }
}

async fn runs(context: &Context, args: RunsArgs) -> Result<(), Failure> {
    let bench = Bench {
        client: &context.client,
        agent: args.agent.clone().unwrap_or_else(|| NOOP.to_owned()),
    };
    let made = if args.agent.is_none() {
        bench.prepare().await?
    } else {
        Vec::new()
    };
    let measured = bench.measure(context, &args).await;
    let removed = if args.keep {
        Ok(())
    } else {
        bench.remove(&made).await
    };
    // What went wrong first is what the user needs to know.
    context.output.show(&measured?, "rate_ratio", FIELDS)?;
    removed
}

struct Bench<'a> {
    client: &'a Client,
    agent: String,
}

impl Bench<'_> {
    /// Makes what is missing and says what it made, agent first: that is the order to remove it in.
    async fn prepare(&self) -> Result<Vec<[&'static str; 2]>, Failure> {
        let script = json!({"name": NOOP, "description": "Does nothing, for `coordinator bench`",
            "script_file": "noop.sh", "script_content": super::bench_spawn::NOOP_SCRIPT, "demands": {"tags": ["bash"]}});
        let agent = json!({"name": NOOP, "description": "Does nothing, for `coordinator bench`",
            "type": "procedural", "script": NOOP});
        let mut made = Vec::new();
        for (noun, document) in [("scripts", script), ("agents", agent)] {
            if self.client.find(&[noun, NOOP], &[]).await?.is_none() {
                self.client
                    .send(Method::POST, &[noun], &[], Body::Json(&document))
                    .await?;
                made.insert(0, [noun, NOOP]);
            }
        }
        Ok(made)
    }

    async fn remove(&self, made: &[[&'static str; 2]]) -> Result<(), Failure> {
        for path in made {
            self.client
                .send(Method::DELETE, path, &[], Body::Empty)
                .await?;
        }
        Ok(())
    }

    async fn measure(&self, context: &Context, args: &RunsArgs) -> Result<Value, Failure> {
        let floor = Floor::new()?;
        context.remark("waiting until a run works …");
        self.ready(args.ready_timeout).await?;
        let concurrency = args.concurrency as usize;
        context.remark("warming up …");
        self.runs(WARM_UP * concurrency, concurrency).await?;
        floor.spawn(WARM_UP * concurrency, concurrency).await?;
        context.remark("measuring …");
        let (below, measured) = match args.burst {
            true => self.burst(&floor, args).await?,
            false => self.in_turns(&floor, args).await?,
        };
        Ok(compare(
            args.count,
            args.concurrency,
            args.burst,
            &self.agent,
            &below,
            &measured,
        ))
    }

    /// Floor, runs, floor; and again.
    async fn in_turns(&self, floor: &Floor, args: &RunsArgs) -> Result<(Part, Part), Failure> {
        let (count, concurrency) = (args.count as usize, args.concurrency as usize);
        let rounds = ROUNDS.min(count);
        let (mut below, mut measured) = (Part::default(), Part::default());
        for round in 0..rounds {
            // The first rounds take what does not divide.
            let share = count / rounds + usize::from(round < count % rounds);
            below.add(floor.spawn(share.div_ceil(2), concurrency).await?);
            measured.add(self.runs(share, concurrency).await?);
            below.add(floor.spawn(share.div_ceil(2), concurrency).await?);
        }
        Ok((below, measured))
    }

    async fn burst(&self, floor: &Floor, args: &RunsArgs) -> Result<(Part, Part), Failure> {
        let (count, concurrency) = (args.count as usize, args.concurrency as usize);
        let mut below = floor.spawn(count.div_ceil(2), concurrency).await?;
        let start = Instant::now();
        let ids: Vec<Result<String, Failure>> = futures::stream::iter(0..count)
            .map(|_| self.submit())
            .buffered(SUBMITTERS)
            .collect()
            .await;
        let ids = ids.into_iter().collect::<Result<Vec<_>, _>>()?;
        // In the order of their submission: mostly they have ended by the time they are asked for.
        let runs: Vec<Result<Value, Failure>> = futures::stream::iter(&ids)
            .map(|id| wait(self.client, id))
            .buffered(SUBMITTERS)
            .collect()
            .await;
        let wall = start.elapsed();
        let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
        runs.iter().try_for_each(completed)?;
        below.add(floor.spawn(count.div_ceil(2), concurrency).await?);
        let latencies = runs
            .iter()
            .filter_map(super::bench_stats::served_in)
            .collect();
        Ok((
            below,
            Part {
                wall,
                count,
                latencies,
            },
        ))
    }

    /// Closed loop: each slot starts its next run when its last one has ended.
    async fn runs(&self, count: usize, concurrency: usize) -> Result<Part, Failure> {
        let start = Instant::now();
        let latencies: Vec<Result<Duration, Failure>> = futures::stream::iter(0..count)
            .map(|_| async {
                let start = Instant::now();
                let run = self.one().await?;
                completed(&run)?;
                Ok(start.elapsed())
            })
            .buffer_unordered(concurrency)
            .collect()
            .await;
        let wall = start.elapsed();
        Ok(Part {
            wall,
            count,
            latencies: latencies.into_iter().collect::<Result<_, _>>()?,
        })
    }

    async fn ready(&self, timeout: Duration) -> Result<(), Failure> {
        let first = tokio::time::timeout(timeout, self.one())
            .await
            .map_err(|_| {
                Failure::refused(format!(
                    "no run of {} ended within {} s",
                    self.agent,
                    timeout.as_secs()
                ))
                .hint("coordinator runner list: is there a runner with its tags?")
            })?;
        completed(&first?)
    }

    async fn one(&self) -> Result<Value, Failure> {
        let mut accepted = self.post(&[("wait", WAIT)]).await?;
        let run = accepted["run"].take();
        if has_ended(&run) {
            return Ok(run);
        }
        wait(self.client, &text(&accepted["run_id"])).await
    }

    async fn submit(&self) -> Result<String, Failure> {
        Ok(text(&self.post(&[]).await?["run_id"]))
    }

    async fn post(&self, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = json!({"type": "start_session", "agent_name": self.agent, "parameters": {}, "execution_mode": "async_poll"});
        let answer = self
            .client
            .send_with_headers(&["runs"], query, HeaderMap::new(), &request)
            .await;
        Ok(answer
            .map_err(|failure| failure.doing(format!("cannot run {}", self.agent)))?
            .body)
    }
}

/// A figure over failed runs would mean nothing.
pub(super) fn completed(run: &Value) -> Result<(), Failure> {
    if run["status"] == "completed" {
        return Ok(());
    }
    Err(
        Failure::refused(format!("a run did not complete: {}", epitaph(run)))
            .hint(format!("coordinator run show {}", text(&run["run_id"]))),
    )
}

pub(super) fn figures(part: &Value) -> String {
    let of = |field: &str| match &part[field] {
        Value::Null => "-".to_owned(),
        figure => figure.to_string(),
    };
    format!(
        "{} runs/s, p50 {} ms, p90 {} ms, p99 {} ms",
        of("runs_per_second"),
        of("p50_ms"),
        of("p90_ms"),
        of("p99_ms")
    )
}
