//! `coordinator event`: single events of the log, as they are stored.

use clap::{Args, Subcommand};

use super::audit::{Lines, Span, lines};
use super::audit_export::Which;
use super::event_tail::{self, TailArgs};
use super::failure::Failure;
use super::global::Context;
use super::output::Column;

const COLUMNS: &[Column] = &[
    Column::text("STREAM", "/stream"),
    Column::text("SEQ", "/seq"),
    Column::time("AT", "/at"),
    Column::text("TYPE", "/type"),
    Column::text("WHO", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::text("SUBJECT", "/subject"),
    Column::text("DIGEST", "/digest").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("STREAM", "/stream"),
    Column::text("SEQ", "/seq"),
    Column::time("AT", "/at"),
    Column::text("TYPE", "/type"),
    Column::text("WHO", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::text("SUBJECT", "/subject"),
    Column::text("DIGEST", "/digest"),
    Column::text("UNREADABLE", "/unreadable"),
];

#[derive(Subcommand, Debug)]
pub enum EventCommand {
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Tail(TailArgs),
    Show(ShowArgs),
}

/// List events, newest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator event list
  coordinator event list --stream catalog --since 1d
  coordinator event list --type run_ended,failed -o jsonl | jq -c .event")]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    span: Span,
}

/// Show one event, with all that is stored of it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator event show 12
  coordinator event show 340 --stream runs -o json")]
pub struct ShowArgs {
    /// Its sequence in the stream
    sequence: u64,

    /// The stream: catalog, runs, history or runners
    #[arg(long, value_name = "NAME", default_value = "catalog")]
    stream: String,
}

pub async fn run(context: &Context, command: EventCommand) -> Result<(), Failure> {
    match command {
        EventCommand::List(args) => list(context, &args).await,
        EventCommand::Tail(args) => event_tail::run(context, &args).await,
        EventCommand::Show(args) => show(context, &args).await,
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let given = args.which.query();
    let filters: Vec<(&str, Option<&str>)> = given
        .iter()
        .map(|(key, value)| (*key, Some(value.as_str())))
        .collect();
    let Lines { body, lines } = lines(context, &["events"], "events", &args.span, &filters).await?;
    context.output.list(&body, &lines, "seq", COLUMNS)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let sequence = args.sequence.to_string();
    let path = ["events", &args.stream, &sequence];
    let event = context.client.get(&path, &[]).await?;
    context.output.show(&event, "seq", FIELDS)?;
    if context.output.is_for_people() {
        context.output.line(&format!("\n{:#}", event["event"]))?;
    }
    Ok(())
}
