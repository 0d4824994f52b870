//! `coordinator audit timeline`: what happened to something, or through somebody, newest first.

use clap::Args;
use serde_json::Value;

use super::audit::{Lines, Span, lines};
use super::audit_who_ran::{RECORD, ended, unfinished};
use super::failure::Failure;
use super::global::Context;
use super::output::{Column, text};
use super::{run_id, runner_id};

const COLUMNS: &[Column] = &[
    Column::time("WHEN", "/at"),
    Column::made("WHAT", what),
    Column::made("ON", on),
    Column::text("WHO", "/actor/name"),
    Column::made("THROUGH", through),
    Column::made("DETAIL", detail),
    Column::text("STREAM", "/stream").wide(),
    Column::text("SEQ", "/seq").wide(),
    Column::text("DIGEST", "/digest").wide(),
];

/// Show what happened to a script, an agent, a capability, a run or a runner, or through an actor
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit timeline script/deploy
  coordinator audit timeline actor/alice --since 1d --type script_changed,script_deleted
  coordinator audit timeline runner/web-1 --until 2026-11-20T09:00:00Z
  coordinator audit timeline run/run_3f -o wide")]
pub struct TimelineArgs {
    /// script/NAME, agent/NAME, capability/NAME, run/ID, runner/ID or actor/NAME
    #[arg(value_name = "KIND/NAME")]
    of: String,

    #[command(flatten)]
    span: Span,

    /// Only what is of this type: an event's type, run_completed, run_failed, run_stopped, or run_ended for all
    /// three; several with commas
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,

    /// Only what this actor did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

pub async fn run(context: &Context, args: &TimelineArgs) -> Result<(), Failure> {
    let (kind, name) = args.of.split_once('/').ok_or_else(|| {
        Failure::usage(format!("`{}` has no timeline", args.of))
            .hint("coordinator audit timeline script/NAME, agent/NAME, capability/NAME, run/ID, runner/ID or actor/NAME")
    })?;
    let name = match kind {
        "run" => run_id::resolve(&context.client, name).await?,
        "runner" => runner_id::resolve(&context.client, name).await?,
        _ => name.to_owned(),
    };
    let filters = [
        ("type", args.kind.as_deref()),
        ("actor", args.actor.as_deref()),
    ];
    let path = ["audit", "timeline", kind, &name];
    let Lines { body, lines } = lines(context, &path, "entries", &args.span, &filters).await?;
    if body["steps_gone"] == true && context.output.is_for_people() {
        context.remark("its steps are gone, as old ones of RUNS are; this is its summary");
        return context.output.show(&body["summary"], "run_id", RECORD);
    }
    unfinished(context, &body)?;
    if lines.is_empty() {
        context.remark(&format!("nothing that fits is noted of {}", args.of));
    }
    context.output.list(&body, &lines, "seq", COLUMNS)
}

fn what(entry: &Value) -> String {
    text(&entry["type"]).replace('_', " ")
}

fn on(entry: &Value) -> String {
    let run = &entry["run"];
    match (run.is_null(), entry["version"].as_u64()) {
        (false, _) => text(&run["run_id"]),
        (true, Some(version)) => format!(
            "{}/{} v{version}",
            text(&entry["kind"]),
            text(&entry["name"])
        ),
        (true, None) => format!("{}/{}", text(&entry["kind"]), text(&entry["name"])),
    }
}

fn through(entry: &Value) -> String {
    match entry["run"]["through"].as_str() {
        Some(through) => through.to_owned(),
        None => text(&entry["actor"]["via"]),
    }
}

/// Of a run: what ran where, and how it ended.
fn detail(entry: &Value) -> String {
    let run = &entry["run"];
    if run.is_null() {
        return text(&entry["note"]);
    }
    let program = match run["script"].as_str() {
        Some(script) => format!("{script} v{}", text(&run["script_version"])),
        None => format!("agent {}", text(&run["agent_name"])),
    };
    match run["runner_id"].as_str() {
        Some(runner) => format!("{program} on {runner}: {}", ended(run)),
        None => format!("{program}: {}", ended(run)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_says_what_happened_to_what() {
        let change = json!({"type": "script_changed", "kind": "script", "name": "deploy", "version": 3,
            "actor": {"via": "cli"}, "note": "as version 1 was"});
        let told = [
            what(&change),
            on(&change),
            through(&change),
            detail(&change),
        ];
        assert_eq!(
            told,
            [
                "script changed",
                "script/deploy v3",
                "cli",
                "as version 1 was"
            ]
        );
        let run = json!({"type": "run_failed", "run": {"run_id": "run_1", "through": "cli, retry of run_0",
            "script": "deploy", "script_version": 3, "runner_id": "web-1", "status": "failed",
            "reason": "exit_code", "exit_code": 3}});
        let told = [on(&run), through(&run), detail(&run)];
        let expected = [
            "run_1",
            "cli, retry of run_0",
            "deploy v3 on web-1: failed (exit_code 3)",
        ];
        assert_eq!(told, expected);
    }
}
