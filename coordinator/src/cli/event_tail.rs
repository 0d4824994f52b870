//! `coordinator event tail`: events as they are stored, a line each.

use clap::Args;
use serde_json::Value;

use super::audit_export::{Reading, Which};
use super::failure::Failure;
use super::global::Context;
use super::output::{Format, text};
use super::terminal::plain;

/// Show events as they are stored, until Ctrl-C
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator event tail
  coordinator event tail --stream catalog --actor alice
  coordinator event tail -o jsonl | jq -r .type")]
pub struct TailArgs {
    #[command(flatten)]
    which: Which,

    /// Begin after this position, as a line of `-o jsonl` gives it [default: now]
    #[arg(
        long,
        value_name = "POSITION",
        default_value = "now",
        hide_default_value = true
    )]
    resume: String,
}

pub async fn run(context: &Context, args: &TailArgs) -> Result<(), Failure> {
    let reading = Reading {
        query: args.which.query(),
        from_seq: None,
        follow: true,
        position: Some(args.resume.clone()),
    };
    reading.run(context, |lines| shown(context, lines)).await
}

fn shown(context: &Context, lines: &[u8]) -> Result<(), Failure> {
    let output = &context.output;
    if matches!(output.format, Format::Json | Format::Jsonl) {
        return output.raw(lines);
    }
    for line in lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        output.line(&plain(&told(&event)))?;
    }
    Ok(())
}

/// `2026-11-20T09:00:00Z CATALOG 12 script_changed alice (cli) catalog.script.deploy`
fn told(event: &Value) -> String {
    let dropped = &event["dropped"];
    if !dropped.is_null() {
        let (from, to) = (text(&dropped["from"]), text(&dropped["to"]));
        return format!(
            "{} has no events {from} to {to} any more",
            text(&event["stream"])
        );
    }
    let fields = ["at", "stream", "seq", "type"].map(|field| text(&event[field]));
    let actor = &event["actor"];
    let (name, via) = (text(&actor["name"]), text(&actor["via"]));
    format!(
        "{} {name} ({via}) {}",
        fields.join(" "),
        text(&event["subject"])
    )
}
