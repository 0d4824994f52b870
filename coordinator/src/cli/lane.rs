//! `coordinator lane`: which scripts are held where, by whom, and what waits there.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::at::AtArgs;
use super::failure::Failure;
use super::global::Context;
use super::output::{Column, Format, text};

/// Enough of an id to tell lanes apart at a glance.
const SHORT_ID_CHARS: usize = 8;
/// Enough of a digest to compare it by eye.
const SHORT_DIGEST_CHARS: usize = 19;

const COLUMNS: &[Column] = &[
    Column::made("LANE", short_id),
    Column::made("TAGS", tags),
    Column::made("SCRIPTS", |lane| count(&lane["scripts"])),
    Column::made("RUNNERS", runners),
    Column::text("WAITING", "/waiting"),
    Column::time("WAITING SINCE", "/waiting_since"),
    Column::text("RUNNING", "/running"),
    Column::text("AGENTS", "/agents").wide(),
    Column::text("ID", "/lane").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("LANE", "/lane"),
    Column::made("TAGS", tags),
    Column::text("AGENTS", "/agents"),
    Column::made("RUNNERS", runners),
    Column::text("WAITING", "/waiting"),
    Column::time("WAITING SINCE", "/waiting_since"),
    Column::text("RUNNING", "/running"),
];

const SCRIPTS: &[Column] = &[
    Column::text("SCRIPT", "/name"),
    Column::text("VERSION", "/version"),
    Column::made("DIGEST", digest),
    Column::text("SIZE", "/size").wide(),
];

#[derive(Subcommand, Debug)]
pub enum LaneCommand {
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Show(ShowArgs),
}

/// List the lanes in use
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator lane list
  coordinator lane list -o wide
  coordinator lane list --at 2026-11-17T12:00
  coordinator lane list -o jsonl | jq -r 'select(.runners == []) | .tags'

As of a moment, it says what each lane had to hold, and for which agents; not who was online.")]
pub struct ListArgs {
    #[command(flatten)]
    at: AtArgs,
}

/// Show one lane: the scripts its runners hold, who serves it, what waits
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator lane show 09d49a2f
  coordinator lane show 09d49a2f --at 2h
  coordinator lane show 09d49a2fec45bf89fa092eac8b5af33c -o json")]
pub struct ShowArgs {
    /// Id of the lane, or how it begins
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    at: AtArgs,
}

pub async fn run(context: &Context, command: LaneCommand) -> Result<(), Failure> {
    match command {
        LaneCommand::List(args) => list(context, &args.at).await,
        LaneCommand::Show(args) => show(context, &args).await,
    }
}

async fn list(context: &Context, at: &AtArgs) -> Result<(), Failure> {
    let body = at.get(context, &["lanes"], &[]).await?;
    let lanes = body.as_array().cloned().unwrap_or_default();
    if lanes.is_empty() {
        context.remark("no lane is in use: there is no active agent with a script, and no pin");
    }
    context.output.list(&body, &lanes, "lane", COLUMNS)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let body = args.at.get(context, &["lanes"], &[]).await?;
    let lanes = body.as_array().map_or(&[][..], Vec::as_slice);
    let lane = chosen(lanes, &args.id)?;
    context.output.show(lane, "lane", FIELDS)?;
    if matches!(context.output.format, Format::Table | Format::Wide) {
        let scripts = lane["scripts"].as_array().map_or(&[][..], Vec::as_slice);
        context.output.line("")?;
        context.output.list(lane, scripts, "name", SCRIPTS)?;
    }
    Ok(())
}

/// The one lane whose id begins like this.
fn chosen<'a>(lanes: &'a [Value], id: &str) -> Result<&'a Value, Failure> {
    let begins = |lane: &&Value| text(&lane["lane"]).starts_with(id);
    let fitting: Vec<&Value> = lanes.iter().filter(begins).collect();
    match fitting[..] {
        [lane] => Ok(lane),
        [] => Err(
            Failure::refused(format!("no lane in use has an id that begins with {id}"))
                .hint("coordinator lane list"),
        ),
        _ => Err(
            Failure::refused(format!("{} lanes begin with {id}", fitting.len()))
                .details(
                    fitting
                        .iter()
                        .map(|lane| format!("{} {}", text(&lane["lane"]), tags(lane))),
                )
                .hint("give more of the id"),
        ),
    }
}

fn short_id(lane: &Value) -> String {
    text(&lane["lane"]).chars().take(SHORT_ID_CHARS).collect()
}

/// A lane without tags is open to every runner.
fn tags(lane: &Value) -> String {
    format!("{{{}}}", text(&lane["tags"]).replace(',', ", "))
}

/// `web-1, ai-1 (scripts only)`
fn runners(lane: &Value) -> String {
    let holding_only = lane["holding_only"].as_array();
    let named = |runner: &Value| match holding_only {
        Some(only) if only.contains(runner) => format!("{} (scripts only)", text(runner)),
        _ => text(runner),
    };
    let runners = lane["runners"].as_array().into_iter().flatten();
    runners.map(named).collect::<Vec<_>>().join(", ")
}

fn digest(script: &Value) -> String {
    text(&script["digest"])
        .chars()
        .take(SHORT_DIGEST_CHARS)
        .collect()
}

fn count(items: &Value) -> String {
    items.as_array().map_or(0, Vec::len).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lane_is_chosen_by_how_its_id_begins() {
        let lanes = [
            json!({"lane": "09d4aa", "tags": ["uv"]}),
            json!({"lane": "09d4bb", "tags": ["gpu", "uv"]}),
        ];
        assert_eq!(chosen(&lanes, "09d4b").unwrap()["lane"], "09d4bb");
        let report = chosen(&lanes, "09d4").unwrap_err().report();
        assert!(report.contains("09d4bb {gpu, uv}"), "{report}");
        assert!(
            chosen(&lanes, "ff")
                .unwrap_err()
                .report()
                .contains("lane list")
        );
    }
}
