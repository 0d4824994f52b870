//! `coordinator run retry`: one run once more, or all that a filter finds.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::agent_run::{Accepted, stay};
use super::client::Body;
use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::{Format, text};
use super::run::{COLUMNS, Filter, pages};
use super::run_id;
use super::terminal::{agreed, note, plain};

/// Run again exactly what a run executed: same bytes, parameters and demands
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["run", "since", "status", "agent"]),
    after_help = "\
A script that was changed or deleted since is run as it was; --current takes the agent, the script
and their time limits as they are now.

Examples:
  coordinator run retry run_3f
  coordinator run retry run_3f --current -d
  coordinator run retry --since 2h --status failed --agent deploy
  coordinator run retry --since 1d --status failed --dry-run"
)]
pub struct RetryArgs {
    /// Run id, or a prefix that only one run has; without it, all runs that the filters find
    #[arg(conflicts_with_all = ["since", "status", "agent"])]
    run: Option<String>,

    #[command(flatten)]
    filter: Filter,

    /// At most so many; more is refused, and nothing is run
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// With the agent and the script as they are now
    #[arg(long)]
    current: bool,

    /// Refuse it where no runner that is online could take it
    #[arg(long)]
    fail_fast: bool,

    /// Do not follow: print the new run's id and leave; several are never followed
    #[arg(short, long)]
    detach: bool,

    /// Show which runs would be repeated, and leave
    #[arg(long)]
    dry_run: bool,

    /// Do not ask before repeating several (asked on a terminal only)
    #[arg(short, long)]
    yes: bool,
}

pub async fn run(context: &Context, args: &RetryArgs) -> Result<(), Failure> {
    let Some(typed) = &args.run else {
        return several(context, args).await;
    };
    let id = run_id::resolve(&context.client, typed).await?;
    if args.dry_run {
        let run = context.client.get(&["runs", &id], &[]).await?;
        return context.output.list(
            &json!({"runs": [&run]}),
            std::slice::from_ref(&run),
            "run_id",
            COLUMNS,
        );
    }
    let accepted = retry(context, args, &id).await?;
    context.remark(&format!("repeats {id}"));
    stay(context, &Accepted(accepted), args.detach).await
}

async fn several(context: &Context, args: &RetryArgs) -> Result<(), Failure> {
    let (found, next) = pages(context, &args.filter, args.limit).await?;
    let over = |run: &Value| super::follow::has_ended(run);
    let (runs, going): (Vec<Value>, Vec<Value>) = found.into_iter().partition(over);
    if !going.is_empty() {
        context.remark(&format!("{} have not ended and are left out", going.len()));
    }
    if next.is_some() {
        return Err(Failure::refused(format!(
            "the filters find more than {} runs; nothing was run",
            args.limit
        ))
        .hint("a narrower filter, or a higher --limit"));
    }
    if runs.is_empty() {
        context.remark("no run to repeat");
        return Ok(());
    }
    let body = json!({"runs": runs});
    if args.dry_run {
        return context.output.list(&body, &runs, "run_id", COLUMNS);
    }
    if !args.yes {
        confirm(context, &runs)?;
    }
    all(context, args, &runs).await
}

/// Oldest first, as they ran; one that is refused does not hold up the others.
async fn all(context: &Context, args: &RetryArgs, runs: &[Value]) -> Result<(), Failure> {
    let mut refused = 0;
    for run in runs.iter().rev() {
        let id = text(&run["run_id"]);
        match retry(context, args, &id).await {
            Ok(accepted) => told(context, &id, &accepted)?,
            Err(failure) if failure.exit() == Exit::Refused => {
                refused += 1;
                note(&format!("error: {}", plain(&failure.line())));
            }
            Err(failure) => return Err(failure),
        }
    }
    match refused {
        0 => Ok(()),
        refused => Err(Failure::refused(format!(
            "{refused} of {} runs could not be repeated",
            runs.len()
        ))),
    }
}

fn told(context: &Context, id: &str, accepted: &Value) -> Result<(), Failure> {
    let new = text(&accepted["run_id"]);
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.line(&accepted.to_string()),
        Format::Name => context.output.line(&new),
        Format::Table | Format::Wide => context.output.line(&format!("{new} repeats {id}")),
    }
}

async fn retry(context: &Context, args: &RetryArgs, id: &str) -> Result<Value, Failure> {
    let body = json!({"current": args.current, "fail_fast": args.fail_fast});
    let answer = context
        .client
        .send(Method::POST, &["runs", id, "retry"], &[], Body::Json(&body))
        .await;
    Ok(answer
        .map_err(|failure| {
            failure
                .doing(format!("cannot repeat {id}"))
                .or_hint(format!("coordinator run show {id}"))
        })?
        .body)
}

fn confirm(context: &Context, runs: &[Value]) -> Result<(), Failure> {
    if !context.output.terminal.can_ask() {
        return Ok(());
    }
    for run in runs {
        note(&plain(&format!(
            "{} {} {} {}",
            text(&run["run_id"]),
            text(&run["agent_name"]),
            text(&run["status"]),
            text(&run["reason"]),
        )));
    }
    match agreed(&format!("{} run(s) will be repeated.", runs.len())) {
        true => Ok(()),
        false => Err(Failure::refused("nothing was run").hint("answer y, or pass -y")),
    }
}
