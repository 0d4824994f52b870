//! `coordinator script sync`: has runners re-check what they hold, and prints what each answered.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Body, WAIT};
use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::{Column, text};
use super::runner_id;
use super::when;

const COLUMNS: &[Column] = &[
    Column::text("RUNNER", "/runner_id"),
    Column::text("HOST", "/hostname"),
    Column::text("ANSWER", "/state"),
    Column::text("CURRENT", "/current"),
    Column::text("BEHIND", "/behind"),
    Column::text("REPAIRED", "/repaired"),
    Column::made("WHY", why),
];

/// Have runners read their lanes and their disks again, and put right what is not as it should be
#[derive(Args, Debug)]
#[command(after_help = "\
Runners do this by themselves: at once when something changes, and every minute. This is for who
does not want to wait, as after making room on a disk. Exit code 1 where a runner did not answer,
is offline, or is not as it should be.

Examples:
  coordinator script sync
  coordinator script sync deploy --runner web-1
  coordinator script sync -o json | jq '.runners[] | select(.behind > 0)'")]
pub struct SyncArgs {
    /// Scripts to look at; without any, all
    scripts: Vec<String>,

    /// Only these runners: ids, prefixes of ids, or host names
    #[arg(long = "runner", value_name = "RUNNER")]
    runners: Vec<String>,

    /// How long to wait for answers
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = when::parse_duration)]
    timeout: Duration,

    /// Do not wait for answers
    #[arg(short, long)]
    detach: bool,
}

pub async fn run(context: &Context, args: &SyncArgs) -> Result<(), Failure> {
    let mut runners = Vec::new();
    for typed in &args.runners {
        runners.push(runner_id::resolve(&context.client, typed).await?);
    }
    let body = json!({"scripts": args.scripts, "runners": runners});
    let path = ["scripts", "sync", "trigger"];
    let answer = context
        .client
        .send(Method::POST, &path, &[], Body::Json(&body));
    let mut sync = answer
        .await
        .map_err(|failure| failure.doing("cannot have scripts re-checked"))?
        .body;
    let began = Instant::now();
    while !args.detach && sync["done"] != true && began.elapsed() < args.timeout {
        sync = answers(
            context,
            &text(&sync["sync_id"]),
            args.timeout - began.elapsed(),
        )
        .await?;
    }
    let lines = sync["runners"].as_array().map_or(&[][..], Vec::as_slice);
    if lines.is_empty() {
        context.remark("no runner holds any of this, or should");
    }
    context.output.list(&sync, lines, "runner_id", COLUMNS)?;
    let well = |line: &Value| line["state"] == "answered" && line["behind"] == 0;
    match args.detach || lines.iter().all(well) {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Refused)),
    }
}

async fn answers(context: &Context, id: &str, left: Duration) -> Result<Value, Failure> {
    let wait = match left.as_secs() {
        seconds @ ..30 => format!("{}s", seconds.max(1)),
        _ => WAIT.to_owned(),
    };
    let path = ["scripts", "sync", "trigger", id];
    context.client.get(&path, &[("wait", &wait)]).await
}

/// The first script that is not in place, and why.
fn why(line: &Value) -> String {
    let none = Map::new();
    let scripts = line["scripts"].as_object().unwrap_or(&none);
    let mut errors = scripts.iter().filter_map(|(name, script)| {
        Some(format!("{name}: {}", script["error"]["message"].as_str()?))
    });
    errors.next().unwrap_or_default()
}
