//! `coordinator agent run`: starts a run and stays with it. The script's output is a remark
//! (stderr); its result is the data (stdout), so that it pipes.

use std::time::Duration;

use clap::Args;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::follow::{Route, Screen, epitaph, exit_of, follow};
use super::global::{Context, traceparent};
use super::input::{Pair, parameters, parse_pair, read_json};
use super::output::{Format, text};
use super::terminal::{note, plain};
use super::when::parse_duration;

/// Run an agent, follow its output, print its result
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator agent run notifier -p message='Deployed' -p channel=ops
  coordinator agent run deployer --params @deploy.json --timeout 10m
  coordinator agent run checker -p file=a.json | jq .errors
  coordinator agent run nightly -d

Exit codes:
  0 completed, 10 failed, 11 timed out, 12 stopped, 13 no runner satisfies the demands,
  130 detached by Ctrl-C: the run goes on")]
pub struct RunArgs {
    /// Name of the agent
    name: String,

    /// One parameter; JSON where it is JSON and the agent does not want a string; may be repeated
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = parse_pair)]
    params_pairs: Vec<Pair>,

    /// All parameters as a JSON object: @file, - or JSON
    #[arg(long, value_name = "PARAMETERS")]
    params: Option<String>,

    /// Stop it after this time: 30s, 5m, 1h [default: the agent's or the script's]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Fail when no runner could take it for this time [default: the coordinator's, 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    schedule_timeout: Option<Duration>,

    /// Refuse it at once where no runner that is online could take it
    #[arg(long)]
    fail_fast: bool,

    /// Further tags that the runner must have
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,

    /// Working directory on the runner's host
    #[arg(long, value_name = "DIR")]
    project_dir: Option<String>,

    /// Two requests with the same key are one run
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Do not follow: print the run's id and leave
    #[arg(short, long)]
    detach: bool,
}

pub async fn run(context: &Context, args: &RunArgs) -> Result<(), Failure> {
    let request = request(context, args).await?;
    let accepted = tokio::select! {
        accepted = start(context, args, &request) => accepted?,
        _ = tokio::signal::ctrl_c() => return Err(unanswered(&args.name)),
    };
    stay(context, &Accepted(accepted), args.detach).await
}

/// The answer to a request that is stored.
pub struct Accepted(pub Value);

/// Shows the warnings, then follows the run to its end, or leaves.
pub async fn stay(context: &Context, accepted: &Accepted, detach: bool) -> Result<(), Failure> {
    let Accepted(accepted) = accepted;
    for warning in accepted["warnings"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        note(&format!("warning: {}", plain(&said(warning))));
    }
    let run_id = text(&accepted["run_id"]);
    if detach {
        return match context.output.format {
            Format::Json | Format::Jsonl => context.output.json(accepted),
            _ => context.output.line(&run_id),
        };
    }
    context.remark(&format!("{run_id} {}", text(&accepted["status"])));
    let mut screen = Screen::new(&context.output, Route::Remarks);
    let ended = follow(&context.client, &run_id, &mut screen).await?;
    drop(screen);
    finish(context, &ended)
}

/// The result on stdout, how it ended on stderr and in the exit code.
fn finish(context: &Context, run: &Value) -> Result<(), Failure> {
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.json(run)?,
        Format::Name => context.output.line(&text(&run["run_id"]))?,
        Format::Table | Format::Wide if run["result_data"].is_null() => {}
        Format::Table | Format::Wide => context.output.json(&run["result_data"])?,
    }
    let exit = exit_of(run);
    if exit == Exit::Ok {
        context.remark(&epitaph(run));
        return Ok(());
    }
    note(&epitaph(run));
    match exit {
        Exit::NoMatch => note(&format!(
            "  try: coordinator run explain {}",
            text(&run["run_id"])
        )),
        _ => note(&format!(
            "  try: coordinator run show {}",
            text(&run["run_id"])
        )),
    }
    Err(Failure::silent(exit))
}

async fn request(context: &Context, args: &RunArgs) -> Result<Value, Failure> {
    let base = args
        .params
        .as_deref()
        .map(|params| read_json("--params", params))
        .transpose()?;
    let schema = if args.params_pairs.is_empty() {
        Value::Null
    } else {
        schema(context, &args.name).await?
    };
    let mut request = json!({
        "type": "start_session",
        "agent_name": args.name,
        "parameters": parameters(base, &args.params_pairs, &schema)?,
        "execution_mode": "async_poll",
    });
    if !args.tags.is_empty() {
        request["additional_demands"] = json!({"tags": args.tags});
    }
    // The API counts whole seconds; half of one is not none.
    let seconds = |time: Duration| json!(time.as_secs_f64().ceil() as u64);
    if let Some(timeout) = args.timeout {
        request["timeout_seconds"] = seconds(timeout);
    }
    if let Some(timeout) = args.schedule_timeout {
        request["schedule_timeout_seconds"] = seconds(timeout);
    }
    if args.fail_fast {
        request["fail_fast"] = json!(true);
    }
    if let Some(dir) = &args.project_dir {
        request["project_dir"] = json!(dir);
    }
    Ok(request)
}

/// What the agent declares its parameters to be; the resolved agent shows its script's.
async fn schema(context: &Context, agent: &str) -> Result<Value, Failure> {
    let mut agent = context
        .client
        .get(&["agents", agent], &[])
        .await
        .map_err(|failure| {
            failure
                .doing(format!("cannot run {agent}"))
                .or_hint("coordinator agent list")
        })?;
    Ok(agent["parameters_schema"].take())
}

async fn start(context: &Context, args: &RunArgs, request: &Value) -> Result<Value, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(parent) = traceparent() {
        headers.insert("traceparent", parent);
    }
    if let Some(key) = &args.idempotency_key {
        let key = HeaderValue::try_from(key).map_err(|_| {
            Failure::usage("--idempotency-key holds characters that a header cannot")
        })?;
        headers.insert("idempotency-key", key);
    }
    let answer = context
        .client
        .send_with_headers(&["runs"], &[], headers, request)
        .await;
    let name = &args.name;
    Ok(answer
        .map_err(|failure| {
            let nobody = failure.server_code() == Some("no_runner");
            let failure = failure
                .doing(format!("cannot run {name}"))
                .or_hint(format!("coordinator agent show {name}"));
            match nobody {
                true => failure.with_exit(Exit::NoMatch),
                false => failure,
            }
        })?
        .body)
}

fn said(warning: &Value) -> String {
    warning["message"]
        .as_str()
        .map_or_else(|| text(warning), str::to_owned)
}

fn unanswered(agent: &str) -> Failure {
    note(&format!(
        "\nleft before the coordinator answered; look whether it runs: coordinator run list --agent {agent}"
    ));
    Failure::silent(Exit::Interrupted)
}
