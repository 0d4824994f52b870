//! `coordinator diff`: what `apply` would change, as a text diff on standard output. Changes nothing.

use std::path::PathBuf;

use clap::Args;

use super::apply_report::{Outcome, Report};
use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::Format;
use super::plan::{self, Step};

/// Compare a folder with what the server has
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator diff -f automations
  coordinator diff -f automations --prune && echo in step
  coordinator diff -f scripts/deploy -o jsonl

Exit codes: 0 where nothing differs, 1 where something does or cannot be compared.")]
pub struct DiffArgs {
    /// Folder with scripts/, capabilities/ and agents/, or the folder of one of these
    #[arg(short, long, value_name = "DIR")]
    file: PathBuf,

    /// Also name what the server has and the folder has not
    #[arg(long)]
    prune: bool,
}

pub async fn run(context: &Context, args: &DiffArgs) -> Result<(), Failure> {
    let output = &context.output;
    let color = output.terminal.color_stdout();
    let plan = plan::folder(&context.client, &args.file, args.prune, color).await?;
    let mut report = Report::new(context, false);
    let same = plan.items.iter().all(|item| item.step == Step::Keep);
    let same = same && plan.surplus.is_empty();
    for (label, failure) in plan.failed {
        report.add(Outcome::failed(label, failure))?;
    }
    for item in &plan.items {
        report.add(Outcome::planned(item))?;
        if let (Step::Change { diff, .. }, Format::Table | Format::Wide) =
            (&item.step, output.format)
        {
            output.raw(diff.as_bytes())?;
        }
    }
    for surplus in &plan.surplus {
        report.add(Outcome::surplus(surplus, "delete", "is not in the folder"))?;
    }
    report.finish()?;
    match same {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Refused)),
    }
}
