//! `coordinator apply`: makes the server's scripts, capabilities and agents what a folder says. One
//! line per item, nothing half hidden. What is not in the folder is left alone, unless `--prune`
//! asks for it to be deleted.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use tokio::time::timeout;

use super::apply_report::{Outcome, Report};
use super::client::Body;
use super::failure::{Exit, Failure};
use super::global::Context;
use super::plan::{self, Content, Item, Plan, Step};
use super::prune;
use super::terminal::{agreed, note};
use super::watch::Changes;

/// How long `--watch` waits before it tries to reach the coordinator again.
const RETRY: Duration = Duration::from_secs(5);

/// Create and update scripts, capabilities and agents from a folder
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator apply -f .
  coordinator apply -f automations --dry-run
  coordinator apply -f automations --prune
  coordinator apply -f automations --watch
  coordinator apply -f scripts/deploy -y

The folder holds scripts/<name>/script.json, capabilities/<name>/capability.json and
agents/<name>/agent.json (or capabilities/<name>.json, agents/<name>.json), or is one of
these folders itself. Nothing is deleted without --prune, which deletes what the server
has and the folder has not; of a kind that has no folder here, nothing.")]
pub struct ApplyArgs {
    /// Folder with scripts/, capabilities/ and agents/, or the folder of one of these
    #[arg(short, long, value_name = "DIR")]
    file: PathBuf,

    /// Show what would change, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete what is not in the folder; asks first, and needs -y where nobody can be asked
    #[arg(long)]
    prune: bool,

    /// Stay, and apply again whenever a file changes
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,

    /// Do not ask before changing or deleting what exists
    #[arg(short, long)]
    yes: bool,
}

pub async fn run(context: &Context, args: &ApplyArgs) -> Result<(), Failure> {
    if !args.watch {
        return once(context, args, Report::new(context, true)).await;
    }
    let mut changes = Changes::of(&args.file)?;
    tell(once(context, args, Report::new(context, true)).await);
    context.remark(&format!("watching {}; Ctrl-C ends it", args.file.display()));
    let mut away = false;
    loop {
        if away {
            // Whatever comes first.
            let _ = timeout(RETRY, changes.next()).await;
        } else {
            changes.next().await;
        }
        let done = once(context, args, Report::new(context, false)).await;
        away = matches!(&done, Err(failure) if failure.exit() == Exit::Unreachable);
        tell(done);
    }
}

async fn once(context: &Context, args: &ApplyArgs, mut report: Report<'_>) -> Result<(), Failure> {
    let color = context.output.terminal.color_stderr();
    let plan = plan::folder(&context.client, &args.file, args.prune, color).await?;
    show_differences(context, &plan.items);
    if !args.dry_run && !args.yes {
        confirm(context, &plan)?;
    }
    for (label, failure) in plan.failed {
        report.add(Outcome::failed(label, failure))?;
    }
    for item in plan.items {
        let outcome = if args.dry_run {
            Outcome::planned(&item)
        } else {
            carry_out(context, item).await
        };
        report.add(outcome)?;
    }
    if args.dry_run {
        for surplus in &plan.surplus {
            report.add(Outcome::surplus(surplus, "delete", "would be deleted"))?;
        }
    } else if report.has_failures() && !plan.surplus.is_empty() {
        note("nothing was deleted, because not everything in the folder could be applied");
    } else {
        prune::delete(&context.client, plan.surplus, &mut report).await?;
    }
    report.finish()
}

async fn carry_out(context: &Context, item: Item) -> Outcome {
    let label = item.label();
    if item.step == Step::Keep {
        return Outcome::planned(&item);
    }
    let body = match &item.content {
        Content::Script(packed) => Body::Zstd(packed.bytes.clone()),
        Content::Capability(document) | Content::Agent(document) => Body::Json(document),
    };
    let path = [item.kind.plural(), &item.name];
    match context.client.send(Method::PUT, &path, &[], body).await {
        Ok(answer) => Outcome::done(&item, answer.status, answer.body["version"].as_u64()),
        Err(failure) => Outcome::failed(label, failure),
    }
}

/// While watching, a failure is told and the next change is waited for.
fn tell(done: Result<(), Failure>) {
    if let Err(failure) = done {
        let report = failure.report();
        if !report.is_empty() {
            note(report.trim_end());
        }
    }
}

/// Text diffs are for eyes: on a terminal only, and never among the data.
fn show_differences(context: &Context, items: &[Item]) {
    if !context.output.terminal.stderr || context.quiet {
        return;
    }
    for item in items {
        if let Step::Change { diff, .. } = &item.step {
            note(&format!("{}\n{}", item.label(), diff.trim_end()));
        }
    }
}

/// Changes go through where nobody can be asked; deletions do not.
fn confirm(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let is_change = |item: &&Item| matches!(item.step, Step::Change { .. });
    let changes = plan.items.iter().filter(is_change).count();
    let names: Vec<String> = plan.surplus.iter().map(prune::Surplus::label).collect();
    if changes + names.len() == 0 {
        return Ok(());
    }
    let refused = || Failure::refused("nothing was changed");
    if !context.output.terminal.can_ask() {
        return match names.is_empty() {
            true => Ok(()),
            false => Err(refused()
                .details([format!("it would delete {}", names.join(", "))])
                .hint("-y to delete without being asked, --dry-run to see all of it")),
        };
    }
    let question = match names.is_empty() {
        true => format!("{changes} existing item(s) will change."),
        false => format!(
            "{changes} existing item(s) will change, {} will be deleted: {}.",
            names.len(),
            names.join(", ")
        ),
    };
    match agreed(&question) {
        true => Ok(()),
        false => Err(refused().hint("answer y, or pass -y")),
    }
}
