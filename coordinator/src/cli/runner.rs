//! `coordinator runner`: the hosts that execute.

use clap::Subcommand;
use serde_json::Value;

use super::failure::Failure;
use super::global::Context;
use super::output::{Column, text};

const EXAMPLES: &str = "\
Examples:
  coordinator runner list
  coordinator runner list -o wide
  coordinator runner list -o jsonl | jq -r 'select(.status == \"stale\") | .runner_id'";

const COLUMNS: &[Column] = &[
    Column::text("RUNNER", "/runner_id"),
    Column::text("STATUS", "/status"),
    Column::text("HOST", "/hostname"),
    Column::made("RUNNING", running),
    Column::time("LAST SEEN", "/last_heartbeat"),
    Column::text("TAGS", "/tags"),
    Column::text("PROFILE", "/executor_profile").wide(),
    Column::text("PROJECT", "/project_dir").wide(),
    Column::text("VERSION", "/version").wide(),
    Column::time("REGISTERED", "/registered_at").wide(),
];

#[derive(Subcommand, Debug)]
pub enum RunnerCommand {
    /// List runners: where, with which tags, how busy
    #[command(visible_alias = "ls", after_help = EXAMPLES)]
    List,
}

pub async fn run(context: &Context, command: RunnerCommand) -> Result<(), Failure> {
    match command {
        RunnerCommand::List => list(context).await,
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

fn running(runner: &Value) -> String {
    match (&runner["running"], &runner["max_runs"]) {
        (Value::Null, _) => String::new(),
        // A count, or the runs themselves.
        (Value::Array(runs), max) => format!("{}/{}", runs.len(), text(max)),
        (count, max) => format!("{}/{}", text(count), text(max)),
    }
}
