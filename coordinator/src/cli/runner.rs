//! `coordinator runner`: the hosts that execute.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::Failure;
use super::global::Context;
use super::output::{Column, Format, text};
use super::runner_id;
use super::runner_orders::{self, DrainArgs, ForgetArgs, ResumeArgs, RevokeArgs};
use super::script_rollout::{holds, why};
use super::terminal::plain;

const EXAMPLES: &str = "\
Examples:
  coordinator runner list
  coordinator runner list -o wide
  coordinator runner list -o jsonl | jq -r 'select(.status == \"stale\") | .runner_id'";

const COLUMNS: &[Column] = &[
    Column::text("RUNNER", "/runner_id"),
    Column::made("STATUS", status),
    Column::text("HOST", "/hostname"),
    Column::made("RUNNING", running),
    Column::time("LAST SEEN", "/last_heartbeat"),
    Column::text("TAGS", "/tags"),
    Column::text("PROFILE", "/executor_profile").wide(),
    Column::text("PROJECT", "/project_dir").wide(),
    Column::text("VERSION", "/version").wide(),
    Column::made("SANDBOX", sandbox).wide(),
    Column::time("REGISTERED", "/registered_at").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("RUNNER", "/runner_id"),
    Column::made("STATUS", status),
    Column::text("DRAINED BY", "/drained/by"),
    Column::time("DRAINED", "/drained/since"),
    Column::text("REASON", "/drained/reason"),
    Column::text("HOST", "/hostname"),
    Column::text("PROJECT", "/project_dir"),
    Column::text("PROFILE", "/executor_profile"),
    Column::text("TAGS", "/tags"),
    Column::made("TAKES ONLY", takes_only),
    Column::made("SLOTS", running),
    Column::text("RUNNING", "/running"),
    Column::time("LAST SEEN", "/last_heartbeat"),
    Column::time("LEFT", "/left_at"),
    Column::time("REGISTERED", "/registered_at"),
    Column::text("VERSION", "/version"),
    Column::made("SERVES", lanes),
    Column::made("AGENTS", agents),
    Column::time("SYNCED", "/synced_at"),
    Column::time("JOINED", "/access/joined_at"),
    Column::text("JOINED BY", "/access/token"),
    Column::time("REVOKED", "/access/revoked_at"),
    Column::made("SANDBOX", sandbox),
];

const SCRIPTS: &[Column] = &[
    Column::text("SCRIPT", "/name"),
    Column::made("STATE", state),
    Column::made("HOLDS", holds),
    Column::made("WANTED", wanted),
    Column::time("SINCE", "/since"),
    Column::made("WHY", why),
    Column::text("DIGEST", "/digest").wide(),
];

#[derive(Subcommand, Debug)]
pub enum RunnerCommand {
    /// List runners: where, with which tags, how busy
    #[command(visible_alias = "ls", after_help = EXAMPLES)]
    List,
    Show(ShowArgs),
    Drain(DrainArgs),
    Resume(ResumeArgs),
    Forget(ForgetArgs),
    Revoke(RevokeArgs),
}

/// Show one runner: what it offers and runs, what it holds, what is wrong
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator runner show web-1
  coordinator runner show web-1 -o json | jq .drained")]
pub struct ShowArgs {
    /// Its id, a prefix of it, or its host name
    runner: String,
}

pub async fn run(context: &Context, command: RunnerCommand) -> Result<(), Failure> {
    match command {
        RunnerCommand::List => list(context).await,
        RunnerCommand::Show(args) => show(context, &args).await,
        RunnerCommand::Drain(args) => runner_orders::drain(context, &args).await,
        RunnerCommand::Resume(args) => runner_orders::resume(context, &args).await,
        RunnerCommand::Forget(args) => runner_orders::forget(context, &args).await,
        RunnerCommand::Revoke(args) => runner_orders::revoke(context, &args).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let body = context.client.get(&["runners"], &[]).await?;
    let runners = body["runners"].as_array().cloned().unwrap_or_default();
    if runners.is_empty() {
        context.remark("no runner has registered; start one with `runner start`");
    }
    context.output.list(&body, &runners, "runner_id", COLUMNS)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let id = runner_id::resolve(&context.client, &args.runner).await?;
    let runner = context.client.get(&["runners", &id], &[]).await?;
    context.output.show(&runner, "runner_id", FIELDS)?;
    if !matches!(context.output.format, Format::Table | Format::Wide) {
        return Ok(());
    }
    let unused = unused_agents(&runner);
    if !unused.is_empty() {
        context.output.line("\nIts agents that cannot be used:")?;
    }
    for why in unused {
        context.output.line(&format!("  {}", plain(&why)))?;
    }
    let scripts = runner["scripts"].as_array().map_or(&[][..], Vec::as_slice);
    if scripts.is_empty() {
        return Ok(());
    }
    context.output.line("")?;
    context.output.list(&runner, scripts, "name", SCRIPTS)
}

/// Those of its own that can be run.
fn agents(runner: &Value) -> String {
    let clashes = runner["agent_clashes"].as_object();
    let names = runner["agents"].as_array().into_iter().flatten();
    let names = names.map(|agent| text(&agent["name"]));
    let usable = names.filter(|name| clashes.is_none_or(|clashes| !clashes.contains_key(name)));
    usable.collect::<Vec<_>>().join(", ")
}

/// Names that others have, and files that are broken; a sentence each.
fn unused_agents(runner: &Value) -> Vec<String> {
    let clashes = runner["agent_clashes"].as_object();
    let clashes = clashes.into_iter().flatten().map(|(_, why)| text(why));
    let faults = runner["agent_faults"].as_array();
    let faults = faults.into_iter().flatten().map(text);
    clashes.chain(faults).collect()
}

fn wanted(script: &Value) -> String {
    match script["wanted_version"].as_u64() {
        Some(version) => format!("v{version}"),
        None => "-".to_owned(),
    }
}

fn state(script: &Value) -> String {
    let state = match (script["current"] == true, script["error"].is_null()) {
        (true, _) => "current",
        (false, false) => "failed",
        (false, true) if script["wanted_version"].is_null() => "leaving",
        (false, true) => "behind",
    };
    state.to_owned()
}

fn lanes(runner: &Value) -> String {
    let lanes = runner["lanes"].as_object();
    let shown = lanes
        .into_iter()
        .flatten()
        .map(|(_, tags)| format!("{{{}}}", text(tags).replace(',', ", ")));
    shown.collect::<Vec<_>>().join(" ")
}

/// Whether it is there, and whether it takes runs.
fn status(runner: &Value) -> String {
    let there = text(&runner["status"]);
    let done = runner["drained"]["done"] == true;
    if !runner["access"]["revoked_at"].is_null() {
        return "revoked".to_owned();
    }
    match (there.as_str(), runner["drained"].is_null()) {
        ("online", true) if runner["draining"] == true => "leaving".to_owned(),
        (_, true) => there,
        ("online", false) if done => "drained".to_owned(),
        ("online", false) => "draining".to_owned(),
        (_, false) => format!("{there}, drained"),
    }
}

fn running(runner: &Value) -> String {
    if runner["max_runs"] == 0 {
        return "holds scripts only".to_owned();
    }
    match (&runner["running"], &runner["max_runs"]) {
        (Value::Null, _) => String::new(),
        // A count, or the runs themselves.
        (Value::Array(runs), max) => format!("{}/{}", runs.len(), text(max)),
        (count, max) => format!("{}/{}", text(count), text(max)),
    }
}

/// What work has to demand one of; what names the runner itself goes without saying.
fn takes_only(runner: &Value) -> String {
    let tags = runner["one_of"].as_array().into_iter().flatten().map(text);
    let own: Vec<String> = tags.filter(|tag| !tag.starts_with("runner:")).collect();
    match own.is_empty() {
        true => String::new(),
        false => format!("what demands {}", own.join(" or ")),
    }
}

/// What keeps scripts from the rest of the host there.
fn sandbox(runner: &Value) -> String {
    let sandbox = &runner["sandbox"];
    match sandbox["type"].as_str() {
        Some("landlock") if sandbox["partial"] == true => {
            format!("Landlock {}, partial", text(&sandbox["abi"]))
        }
        Some("landlock") => format!("Landlock {}", text(&sandbox["abi"])),
        Some("not_enabled") => "none: Landlock is off in the kernel".to_owned(),
        Some("not_supported") => "none: kernel without Landlock".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}
