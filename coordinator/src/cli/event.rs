//! `coordinator event`: single events of the log, as they are stored.

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::global::Context;
use super::output::Column;

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
    Show(ShowArgs),
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
        EventCommand::Show(args) => show(context, &args).await,
    }
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
