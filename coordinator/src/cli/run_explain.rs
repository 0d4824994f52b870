//! `coordinator run explain`: why a run is where it is. The first line is the cause.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::global::Context;
use super::output::{Column, Format, text};
use super::run_id;
use super::terminal::plain;

const FIELDS: &[Column] = &[
    Column::text("RUN", "/run_id"),
    Column::text("AGENT", "/agent_name"),
    Column::made("STATUS", status),
    Column::time("SINCE", "/since"),
    Column::text("WAITS FOR", "/waits_for"),
    Column::made("POSITION", position),
    Column::made("GIVES UP", gives_up),
    Column::text("DEMANDS", "/lane_tags"),
    Column::text("TRY", "/hint"),
];

const RUNNERS: &[Column] = &[
    Column::text("RUNNER", "/runner_id"),
    Column::text("HOST", "/hostname"),
    Column::made("STATE", state),
    Column::made("BUSY", slots),
    Column::text("LACKS", "/missing"),
    Column::time("SINCE", "/since"),
];

/// Say why a run waits, or how it ended: the cause first, then each runner and what keeps it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator run explain run_3f
  coordinator run explain run_3f | head -1
  coordinator run explain run_3f -o json | jq -r .cause")]
pub struct ExplainArgs {
    /// Run id, or a prefix that only one run has
    run: String,
}

pub async fn run(context: &Context, args: &ExplainArgs) -> Result<(), Failure> {
    let id = run_id::resolve(&context.client, &args.run).await?;
    let explained = context.client.get(&["runs", &id, "explain"], &[]).await;
    let explained = explained.map_err(|failure| {
        failure
            .doing(format!("cannot explain {id}"))
            .or_hint("coordinator run list")
    })?;
    let output = &context.output;
    if !matches!(output.format, Format::Table | Format::Wide) {
        return output.show(&explained, "run_id", FIELDS);
    }
    output.line(&plain(&text(&explained["summary"])))?;
    output.line("")?;
    output.show(&explained, "run_id", FIELDS)?;
    let runners = explained["runners"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if !runners.is_empty() {
        output.line("")?;
        output.list(&explained, runners, "runner_id", RUNNERS)?;
    }
    match explained["more_runners"].as_u64() {
        Some(more) if more > 0 => output.line(&format!("and {more} more that lack tags")),
        _ => Ok(()),
    }
}

fn status(explained: &Value) -> String {
    let status = match explained["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", text(&explained["status"])),
        None => text(&explained["status"]),
    };
    match (explained["attempt"].as_u64(), &explained["max_attempts"]) {
        (Some(attempt), all) if attempt > 1 => {
            format!("{status}, attempt {attempt} of {}", text(all))
        }
        _ => status,
    }
}

fn position(explained: &Value) -> String {
    let at = |field| explained["position"][field].as_u64();
    match (at("ahead"), at("waiting")) {
        (Some(ahead), Some(waiting)) => format!("{} of {waiting} in its lane", ahead + 1),
        _ => String::new(),
    }
}

fn gives_up(explained: &Value) -> String {
    match explained["schedule_timeout_seconds"].as_u64() {
        Some(seconds) => format!("when nobody could take it for {seconds} s"),
        None => String::new(),
    }
}

fn state(runner: &Value) -> String {
    let state = text(&runner["state"]);
    match (state.as_str(), runner["online"].as_bool()) {
        ("lacks_tags", Some(false)) => "lacks tags, offline".to_owned(),
        ("own_tags_only", _) => "takes only its tags".to_owned(),
        ("holds_only", _) => "holds scripts only".to_owned(),
        _ => state.replace('_', " "),
    }
}

fn slots(runner: &Value) -> String {
    match runner["slots"].as_u64() {
        Some(0) => String::new(),
        _ => format!("{}/{}", text(&runner["running"]), text(&runner["slots"])),
    }
}
