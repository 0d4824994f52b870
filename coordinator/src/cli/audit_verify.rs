//! `coordinator audit verify` and `checkpoint`: whether the log is what was written.

use std::path::Path;

use clap::Args;
use futures::StreamExt;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::{Format, text};
use super::refusal;
use super::sse::{Event, Parser};
use super::terminal::{note, plain};

/// Check that nothing in the catalogue's history was changed, removed or put there afterwards
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit verify
  coordinator audit verify --checkpoint checkpoint.txt
  coordinator audit verify --rebuild -o json | jq .rebuild.differences

Each event carries the hash of the one before it. The chain is walked from the first event to the last;
the first break is named, with what it means. A log whose end was cut off, or that was written anew as
a whole, is a chain too: only a checkpoint that was kept elsewhere shows it.

Exit codes: 0 where all is as it was written, 1 where something is not.")]
pub struct VerifyArgs {
    /// A checkpoint to compare with: the line that `audit checkpoint` printed, or a file with it
    #[arg(long, value_name = "LINE|FILE")]
    checkpoint: Option<String>,

    /// Also build what the coordinator shows anew from the log, and compare it byte for byte
    #[arg(long)]
    rebuild: bool,
}

/// Print the last event's sequence, hash and time, to keep elsewhere and to check later
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator audit checkpoint
  coordinator audit checkpoint > checkpoint.txt
  coordinator audit verify --checkpoint checkpoint.txt")]
pub struct CheckpointArgs {}

/// A checkpoint has a line of some hundred characters.
const FILE_MAX_BYTES: u64 = 64 * 1024;

pub async fn checkpoint(context: &Context) -> Result<(), Failure> {
    let checkpoint = context.client.get(&["audit", "checkpoint"], &[]).await?;
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.json(&checkpoint),
        Format::Table | Format::Wide | Format::Name => {
            context.output.line(&text(&checkpoint["line"]))
        }
    }
}

pub async fn verify(context: &Context, args: &VerifyArgs) -> Result<(), Failure> {
    let checkpoint = args.checkpoint.as_deref().map(given).transpose()?;
    let mut query = Vec::new();
    query.extend(checkpoint.as_deref().map(|line| ("checkpoint", line)));
    query.extend(args.rebuild.then_some(("rebuild", "true")));
    let proof = result(context, &query).await?;
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.json(&proof)?,
        Format::Name => {}
        Format::Table | Format::Wide => tell(context, &proof)?,
    }
    match proof["ok"] == true {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Refused)),
    }
}

/// What was typed, or what stands in the file of that name.
fn given(typed: &str) -> Result<String, Failure> {
    let path = Path::new(typed);
    let Ok(file) = path.metadata() else {
        // The server says what a checkpoint looks like.
        return match typed.contains(char::is_whitespace) {
            true => Ok(typed.to_owned()),
            false => Err(Failure::usage(format!("there is no file {typed}"))
                .hint("--checkpoint \"$(cat FILE)\", or the path of a file that `coordinator audit checkpoint` wrote")),
        };
    };
    let cannot = || Failure::refused(format!("cannot read a checkpoint from {typed}"));
    if file.len() > FILE_MAX_BYTES {
        return Err(cannot().because("the file is too large to be one"));
    }
    let content = std::fs::read_to_string(path).map_err(|error| cannot().because(error))?;
    Ok(content.trim().to_owned())
}

/// Follows the verification to its end; on a terminal, says how far it has come.
async fn result(context: &Context, query: &[(&str, &str)]) -> Result<Value, Failure> {
    let response = context.client.watch(&["audit", "verify"], query).await?;
    let mut line = Line::new(context);
    let mut parser = Parser::default();
    let mut body = response.bytes_stream();
    while let Some(Ok(bytes)) = body.next().await {
        let events = parser
            .push(&bytes)
            .map_err(|error| Failure::refused("cannot read the result").because(error))?;
        for event in events {
            let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
                continue;
            };
            match event.name.as_str() {
                "progress" => line.draw(&data),
                "result" => return Ok(data),
                "error" => return Err(failed(&event, &data)),
                _ => {}
            }
        }
    }
    Err(Failure::new(
        Exit::Unreachable,
        "the connection to the coordinator ended before the verification did",
    )
    .hint("coordinator audit verify"))
}

fn failed(event: &Event, body: &Value) -> Failure {
    // The broker is what a verification cannot do without.
    let status = match body["code"].as_str() {
        Some("broker_unavailable") => reqwest::StatusCode::SERVICE_UNAVAILABLE,
        _ => reqwest::StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal::refusal(status, body).doing(format!("cannot verify ({})", event.name))
}

fn tell(context: &Context, proof: &Value) -> Result<(), Failure> {
    let output = &context.output;
    let stream = text(&proof["stream"]);
    let findings = proof["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let line = match (findings.is_empty(), proof["head"]["line"].as_str()) {
        (true, Some(head)) => format!(
            "{stream}: {} events, one chain. The last one: {head}",
            text(&proof["events"])
        ),
        (true, None) => format!("{stream}: no events yet"),
        (false, _) => format!(
            "{stream}: NOT as it was written ({} events read)",
            text(&proof["events"])
        ),
    };
    output.line(&plain(&line))?;
    for finding in findings {
        let meaning = format!(
            "  {}: {}",
            text(&finding["kind"]),
            text(&finding["meaning"])
        );
        output.line(&plain(&meaning))?;
        for (field, said) in [("expected", "had to be"), ("found", "is")] {
            if let Some(digest) = finding[field].as_str() {
                output.line(&format!("    at {} {said} {digest}", finding["sequence"]))?;
            }
        }
    }
    if let Some(breaks) = proof["breaks"].as_u64().filter(|breaks| *breaks > 1) {
        output.line(&format!("  {breaks} breaks in all; the first is told"))?;
    }
    if let (true, Some(checkpoint)) = (findings.is_empty(), proof["checkpoint"]["line"].as_str()) {
        output.line(&format!("checkpoint: holds ({checkpoint})"))?;
    }
    rebuilt(context, &proof["rebuild"])
}

fn rebuilt(context: &Context, rebuild: &Value) -> Result<(), Failure> {
    if rebuild.is_null() {
        return Ok(());
    }
    let (output, rows) = (&context.output, text(&rebuild["rows"]));
    let differences = rebuild["differences"].as_array();
    let differences = differences.map_or(&[][..], Vec::as_slice);
    if differences.is_empty() {
        return output.line(&format!(
            "projection: {rows} rows, the same as rebuilt from the log"
        ));
    }
    output.line(&format!(
        "projection: NOT the same as rebuilt from the log ({rows} rows compared)"
    ))?;
    for difference in differences {
        output.line(&plain(&format!("  {}", text(&difference["key"]))))?;
        for side in ["live", "rebuilt"] {
            let row = difference[side].as_str().unwrap_or("(no such row)");
            output.line(&plain(&format!("    {side}: {row}")))?;
        }
    }
    if let Some(more) = rebuild["more"].as_u64().filter(|more| *more > 0) {
        output.line(&format!("  and {more} more"))?;
    }
    note(
        "  try: stop the coordinator, delete `projection` in its data folder, and start it: it reads the log anew",
    );
    Ok(())
}

/// One line on a terminal that says how far it has come, and is gone in the end.
struct Line {
    shown: bool,
    drawn: bool,
}

impl Line {
    fn new(context: &Context) -> Self {
        Self {
            shown: context.output.terminal.stderr && !context.quiet,
            drawn: false,
        }
    }

    fn draw(&mut self, news: &Value) {
        if self.shown {
            let (stream, done, of) = (text(&news["stream"]), &news["done"], &news["of"]);
            eprint!("\r\u{1b}[K{stream} {done} of {of}");
            self.drawn = true;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.drawn {
            eprint!("\r\u{1b}[K");
        }
    }
}
