//! `coordinator runner drain|resume|forget`: what a runner is told.

use std::time::Instant;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Body, WAIT};
use super::failure::{Exit, Failure};
use super::global::Context;
use super::output::{Format, text};
use super::runner_id;
use super::terminal::plain;
use super::when;

/// Give a runner no new runs; those it has go on to their end
#[derive(Args, Debug)]
#[command(after_help = "\
It lasts until `runner resume`, whatever is started again meanwhile, and also holds for a runner
that is offline. A drained runner still keeps its scripts up to date.

Examples:
  coordinator runner drain web-1
  coordinator runner drain web-1 --reason 'new disk' --wait && ssh web-1 sudo reboot
  coordinator runner drain web-1 web-2 --wait --timeout 10m")]
pub struct DrainArgs {
    /// Ids, prefixes of ids, or host names
    #[arg(required = true)]
    runners: Vec<String>,

    /// Why, for whoever looks at the runner or at a run that waits for it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Until they have no run left
    #[arg(short, long)]
    wait: bool,

    /// With --wait: give up after this time (exit code 11); they stay drained
    #[arg(long, value_name = "TIME", value_parser = when::parse_duration, requires = "wait")]
    timeout: Option<std::time::Duration>,
}

/// Let a drained runner take runs again
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator runner resume web-1")]
pub struct ResumeArgs {
    /// Ids, prefixes of ids, or host names
    #[arg(required = true)]
    runners: Vec<String>,
}

/// Take a runner that is offline out of all lists
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is taken from its host, and nobody waits for it any more: no rollout counts it. A runner that
comes back registers again and is listed again. One that is online is refused: stop it first.

Examples:
  coordinator runner forget old-host
  coordinator runner list -o jsonl | jq -r 'select(.status == \"stale\") | .runner_id' | xargs coordinator runner forget")]
pub struct ForgetArgs {
    /// Ids, prefixes of ids, or host names
    #[arg(required = true)]
    runners: Vec<String>,
}

/// Take a runner's access away: the broker cuts it off at once, and its key opens nothing any more
#[derive(Args, Debug)]
#[command(after_help = "\
What runs there is lost to us and is settled like the runs of a host that died. The runner ends by
itself; it comes back with a new token of the role runner only (`coordinator token create --role
runner`), and with a new key. For a host that is merely taken out of service, drain it instead.

Examples:
  coordinator runner revoke web-1")]
pub struct RevokeArgs {
    /// Ids, prefixes of ids, or host names
    #[arg(required = true)]
    runners: Vec<String>,
}

pub async fn revoke(context: &Context, args: &RevokeArgs) -> Result<(), Failure> {
    for typed in &args.runners {
        let id = runner_id::resolve(&context.client, typed).await?;
        let path = ["runners", id.as_str(), "revoke"];
        let answer = context.client.send(Method::POST, &path, &[], Body::Empty);
        let answer = answer
            .await
            .map_err(|failure| failure.doing(format!("cannot revoke runner {id}")))?;
        match context.output.format {
            Format::Json | Format::Jsonl => context.output.json(&answer.body)?,
            Format::Name => context.output.line(&id)?,
            Format::Table | Format::Wide => {
                context.output.line(&format!("runner/{id} revoked"))?;
                context.remark(&plain(&text(&answer.body["message"])));
            }
        }
    }
    Ok(())
}

pub async fn drain(context: &Context, args: &DrainArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let body = json!({"reason": args.reason});
    let mut told = Vec::new();
    for typed in &args.runners {
        told.push(order(context, typed, "drain", &body, &[]).await?);
    }
    if args.wait {
        for runner in &mut told {
            *runner = drained(context, args, began, runner, &body).await?;
        }
    }
    told.iter().try_for_each(|runner| show(context, runner))
}

pub async fn resume(context: &Context, args: &ResumeArgs) -> Result<(), Failure> {
    for typed in &args.runners {
        let runner = order(context, typed, "resume", &json!({}), &[]).await?;
        show(context, &runner)?;
    }
    Ok(())
}

pub async fn forget(context: &Context, args: &ForgetArgs) -> Result<(), Failure> {
    for typed in &args.runners {
        let id = runner_id::resolve(&context.client, typed).await?;
        let path = ["runners", id.as_str()];
        let answer = context.client.send(Method::DELETE, &path, &[], Body::Empty);
        let answer = answer
            .await
            .map_err(|failure| failure.doing(format!("cannot forget runner {id}")))?;
        match context.output.format {
            Format::Json | Format::Jsonl => context.output.json(&answer.body)?,
            Format::Name => context.output.line(&id)?,
            Format::Table | Format::Wide => {
                context.output.line(&format!("runner/{id} forgotten"))?;
            }
        }
    }
    Ok(())
}

async fn order(
    context: &Context,
    typed: &str,
    verb: &str,
    body: &Value,
    query: &[(&str, &str)],
) -> Result<Value, Failure> {
    let id = runner_id::resolve(&context.client, typed).await?;
    let path = ["runners", id.as_str(), verb];
    let answer = context
        .client
        .send(Method::POST, &path, query, Body::Json(body));
    let answer = answer
        .await
        .map_err(|failure| failure.doing(format!("cannot {verb} runner {id}")))?;
    Ok(answer.body)
}

/// Asks again until the runner has nothing left, or is not there to have anything.
async fn drained(
    context: &Context,
    args: &DrainArgs,
    began: Instant,
    runner: &Value,
    body: &Value,
) -> Result<Value, Failure> {
    let id = text(&runner["runner_id"]);
    let mut runner = runner.clone();
    let mut said = usize::MAX;
    while runner["drained"]["done"] != true {
        let left = args
            .timeout
            .map(|limit| limit.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Failure::new(
                Exit::RunTimedOut,
                format!("runner {id} still has runs: {}", text(&runner["running"])),
            )
            .hint(format!("coordinator runner drain {id} --wait")));
        }
        let running = runner["running"].as_array().map_or(0, Vec::len);
        if running != said {
            context.remark(&format!("{id}: {running} running"));
            said = running;
        }
        let wait = left.map_or(WAIT.to_owned(), |left| {
            format!("{}s", left.as_secs().clamp(1, 30))
        });
        runner = order(context, &id, "drain", body, &[("wait", &wait)]).await?;
    }
    Ok(runner)
}

fn show(context: &Context, runner: &Value) -> Result<(), Failure> {
    let id = text(&runner["runner_id"]);
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.json(runner),
        Format::Name => context.output.line(&id),
        Format::Table | Format::Wide => {
            let line = format!("runner/{id} {}", standing(runner));
            context.output.line(&plain(&line))
        }
    }
}

/// One word for how a runner stands, and what of its being drained is not done yet.
fn standing(runner: &Value) -> String {
    let running = runner["running"].as_array().map_or(0, Vec::len);
    let (drained, online) = (&runner["drained"], runner["status"] == "online");
    match (drained.is_null(), online) {
        (true, true) => "takes runs".to_owned(),
        (true, false) => "takes runs once it is online".to_owned(),
        (false, false) => "drained (offline; it will know when it comes back)".to_owned(),
        (false, true) if drained["done"] == true => "drained".to_owned(),
        (false, true) if drained["confirmed"] == true => format!("draining ({running} running)"),
        (false, true) => "draining (not heard of yet)".to_owned(),
    }
}
