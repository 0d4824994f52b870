//! `coordinator bench sync`: how long a change takes from its answer to the new version ready on disk,
//! and how long an empty host takes to have its scripts again. Both beside a floor on the same broker,
//! in turns. It drives the public API and looks at folders; the runners are other processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bench_children::{Program, last_words};
use super::bench_links::{Links, leads_to};
use super::bench_stats::Part;
use super::bench_sync_report::{COLUMNS, rebuilt, spread};
use super::client::Body;
use super::failure::Failure;
use super::global::Context;
use super::output::text;
use super::when::parse_duration;

/// Script of the changes, and the tag that only the benchmark's runners offer.
const NAME: &str = "bench-sync";

/// Of each script that an empty host has to have again: a page of text.
const SCRIPT_BYTES: usize = 4_096;

/// Changes before those that count: connections, caches, the lane.
const WARM_UP: u32 = 2;

/// Between two looks at a folder that is being filled.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Measure how long changes take to reach runners' disks, and empty hosts to be rebuilt
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator bench sync --runners 100
  coordinator bench sync --runners 100,300,1000 --simulated
  coordinator bench sync --rebuild 200 --rounds 3

It starts runners of its own on this host, in a temporary folder, and takes them out of the lists
again. A change is timed from the answer to it until the link in each runner's folder leads to the new
version. The floor is one plain message to as many plain connections to the same broker, in turns with
the changes. A rebuild is timed from a forced re-check, after the scripts folder was deleted, until the
last link; its floor fetches and unpacks the same bundles with a plain client.")]
pub struct SyncArgs {
    /// How many runners; several counts are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10",
          value_parser = clap::value_parser!(u32).range(1..=5_000))]
    runners: Vec<u32>,

    /// All runners in one process: the same code, connections and folders, without a process each
    #[arg(long)]
    simulated: bool,

    /// How many changes, or rebuilds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,

    /// Instead: let one runner rebuild so many scripts from nothing
    #[arg(long, value_name = "SCRIPTS", value_parser = clap::value_parser!(u32).range(1..=1_500))]
    rebuild: Option<u32>,

    /// The runner's program, where it is not beside this one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,

    /// Where the runners' folders are made, so that a disk can be chosen [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,

    /// How long runners may take to come, and a change to reach all
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_duration)]
    patience: Duration,
}

pub async fn run(context: &Context, args: &SyncArgs) -> Result<(), Failure> {
    let bench = Bench {
        context,
        args,
        program: Program::find(context, args.program.as_deref())?,
    };
    let mut reports = Vec::new();
    match args.rebuild {
        Some(scripts) => reports.push(bench.rebuild(scripts).await?),
        None => {
            for count in &args.runners {
                reports.push(bench.changes(*count).await?);
            }
        }
    }
    let all = json!({"results": reports});
    context.output.list(&all, &reports, "measured", COLUMNS)
}

struct Bench<'a> {
    context: &'a Context,
    args: &'a SyncArgs,
    program: Program,
}

impl Bench<'_> {
    async fn changes(&self, count: u32) -> Result<Value, Failure> {
        let folder = self.folder()?;
        self.publish(NAME, &content(0, 0)).await?;
        self.context.remark(&format!("starting {count} runners …"));
        let runners = self
            .program
            .runners(folder.path(), NAME, count, self.args.simulated)
            .await?;
        let measured = self.measure(folder.path(), count).await;
        runners.leave().await;
        self.forget(count).await?;
        self.remove(NAME).await?;
        let said = last_words(folder.path()).await;
        measured.map_err(|failure| failure.details([said]))
    }

    async fn measure(&self, folder: &Path, count: u32) -> Result<Value, Failure> {
        let scripts = |number: u32| folder.join(number.to_string()).join("scripts");
        let folders: Vec<PathBuf> = (1..=count).map(scripts).collect();
        let mut links = Links::watch(&folders, NAME, self.args.patience).await?;
        let mut floor = self.program.floor(folder, count)?;
        floor.shout().await?;
        self.context.remark("measuring …");
        let (mut below, mut reached) = (Part::default(), Part::default());
        for round in 1..=self.args.rounds + WARM_UP {
            let said = part(floor.shout().await?);
            let changed = self.change(&mut links, round).await?;
            if round > WARM_UP {
                below.add(said);
                reached.add(changed);
            }
        }
        Ok(spread(count, self.args.simulated, &below, &reached))
    }

    /// One change, and how long after its answer each runner had it.
    async fn change(&self, links: &mut Links, round: u32) -> Result<Part, Failure> {
        let body = json!({"script_content": content(0, round)});
        let path = ["scripts", NAME];
        let client = &self.context.client;
        let answer = client
            .send(Method::PATCH, &path, &[], Body::Json(&body))
            .await?;
        let answered = Instant::now();
        let digest = text(&answer.body["digest"]);
        let reached = links.reach(&digest, self.args.patience).await;
        let taken = reached
            .into_iter()
            .map(|at| at.map(|at| at.saturating_duration_since(answered)));
        let taken: Option<Vec<Duration>> = taken.collect();
        let late = || Failure::refused("a change did not reach every runner in time");
        Ok(part(taken.ok_or_else(late)?))
    }

    async fn rebuild(&self, scripts: u32) -> Result<Value, Failure> {
        let folder = self.folder()?;
        let mut digests = Vec::new();
        self.context.remark(&format!("storing {scripts} scripts …"));
        for number in 1..=scripts {
            digests.push(self.publish(&name(number), &content(number, 0)).await?);
        }
        let runners = self.program.runners(folder.path(), NAME, 1, false).await?;
        let measured = self.measure_rebuild(folder.path(), &digests).await;
        runners.leave().await;
        self.forget(1).await?;
        for number in 1..=scripts {
            self.remove(&name(number)).await?;
        }
        let said = last_words(folder.path()).await;
        measured.map_err(|failure| failure.details([said]))
    }

    async fn measure_rebuild(&self, folder: &Path, digests: &[String]) -> Result<Value, Failure> {
        let scripts = folder.join("1/scripts");
        self.filled(&scripts, digests).await?;
        let mut floor = self.program.floor(folder, 1)?;
        floor.unpack(digests).await?;
        self.context.remark("measuring …");
        let (mut below, mut ours) = (Part::default(), Part::default());
        for _ in 0..self.args.rounds {
            below.add(part(vec![floor.unpack(digests).await?]));
            ours.add(part(vec![self.once_more(&scripts, digests).await?]));
            below.add(part(vec![floor.unpack(digests).await?]));
        }
        Ok(rebuilt(digests.len(), &below, &ours))
    }

    /// Deletes the folder, and says so: how long until everything is there again.
    async fn once_more(&self, scripts: &Path, digests: &[String]) -> Result<Duration, Failure> {
        let deleted = std::fs::remove_dir_all(scripts);
        deleted.map_err(|error| {
            Failure::refused("the scripts folder cannot be deleted").because(error)
        })?;
        let start = Instant::now();
        let trigger = json!({"scripts": [], "runners": [format!("{NAME}-1")]});
        let path = ["scripts", "sync", "trigger"];
        let client = &self.context.client;
        client
            .send(Method::POST, &path, &[], Body::Json(&trigger))
            .await?;
        self.filled(scripts, digests).await?;
        Ok(start.elapsed())
    }

    async fn filled(&self, scripts: &Path, digests: &[String]) -> Result<(), Failure> {
        let began = Instant::now();
        for (number, digest) in (1..).zip(digests) {
            let target = format!(".bundles/{}", digest.trim_start_matches("sha256:"));
            while !leads_to(&scripts.join(name(number)), &target) {
                if began.elapsed() > self.args.patience {
                    return Err(Failure::refused("the scripts do not come in time"));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Stores a script and pins it to the benchmark's runners; gives its digest.
    async fn publish(&self, name: &str, content: &str) -> Result<String, Failure> {
        let client = &self.context.client;
        let script = json!({"name": name, "description": "Changes, for `coordinator bench`",
            "script_file": "noop.sh", "script_content": content, "demands": {"tags": ["bash"]}});
        let stored = client
            .send(Method::PUT, &["scripts", name], &[], Body::Json(&script))
            .await?;
        let pin = json!({"tags": [NAME]});
        let path = ["scripts", name, "pins"];
        client
            .send(Method::POST, &path, &[], Body::Json(&pin))
            .await?;
        Ok(text(&stored.body["digest"]))
    }

    async fn remove(&self, name: &str) -> Result<(), Failure> {
        let client = &self.context.client;
        let path = ["scripts", name];
        client.send(Method::DELETE, &path, &[], Body::Empty).await?;
        Ok(())
    }

    /// Takes the runners out of the lists, as they will never come back.
    async fn forget(&self, count: u32) -> Result<(), Failure> {
        for number in 1..=count {
            let id = format!("{NAME}-{number}");
            let path = ["runners", id.as_str()];
            let client = &self.context.client;
            // One that never came is not known, which is as good.
            let _ = client.send(Method::DELETE, &path, &[], Body::Empty).await;
        }
        Ok(())
    }

    fn folder(&self) -> Result<TempDir, Failure> {
        let made = match &self.args.folder {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        };
        made.map_err(|error| {
            Failure::refused("no folder can be made for the runners").because(error)
        })
    }
}

fn part(latencies: Vec<Duration>) -> Part {
    Part {
        wall: latencies.iter().max().copied().unwrap_or_default(),
        count: latencies.len(),
        latencies,
    }
}

fn name(number: u32) -> String {
    format!("{NAME}-{number}")
}

/// Different for each script and round.
fn content(number: u32, round: u32) -> String {
    let line = format!("# script {number}, round {round}\n");
    format!("#!/bin/bash\n{}", line.repeat(SCRIPT_BYTES / line.len()))
}
