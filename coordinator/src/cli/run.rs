//! `coordinator run`: what ran, what it said, and ending it. Starting one is `agent run`;
//! why it waits is `run_explain`, once more is `run_retry`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::at::AtArgs;
use super::client::Body;
use super::failure::Failure;
use super::follow::{Route, Screen, epitaph, follow};
use super::global::Context;
use super::output::{Column, Format, text};
use super::run_explain::{self, ExplainArgs};
use super::run_id;
use super::run_retry::{self, RetryArgs};

/// Runs asked for at once; the server may give fewer.
const PAGE: usize = 200;

pub const COLUMNS: &[Column] = &[
    Column::text("RUN", "/run_id"),
    Column::text("AGENT", "/agent_name"),
    Column::made("STATUS", status),
    Column::text("RUNNER", "/runner_id"),
    Column::time("CREATED", "/created_at"),
    Column::time("ENDED", "/completed_at"),
    Column::text("SCRIPT", "/script").wide(),
    Column::text("VERSION", "/script_version").wide(),
    Column::text("ATTEMPT", "/attempt").wide(),
    Column::text("EXIT", "/exit_code").wide(),
    Column::text("ERROR", "/error").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("RUN", "/run_id"),
    Column::text("SESSION", "/session_id"),
    Column::text("AGENT", "/agent_name"),
    Column::text("AGENT VERSION", "/agent_version"),
    Column::text("REQUESTED BY", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::made("THROUGH", through),
    Column::made("STATUS", status),
    Column::text("STOPPED BY", "/stopped_by/name"),
    Column::text("ERROR", "/error"),
    Column::made("HOOKS", hooks),
    Column::made("HOOK OF", hook_of),
    Column::made("CALLBACK", callback),
    Column::text("CALLBACK OF", "/callback_of"),
    Column::text("EXIT CODE", "/exit_code"),
    Column::text("SCRIPT", "/script"),
    Column::text("VERSION", "/script_version"),
    Column::text("DIGEST", "/digest"),
    Column::text("RUNNER", "/runner_id"),
    Column::text("HOST", "/hostname"),
    Column::text("DEMANDS", "/demands/tags"),
    Column::text("ATTEMPT", "/attempt"),
    Column::text("REPEATS", "/retry_of"),
    Column::time("CREATED", "/created_at"),
    Column::time("CLAIMED", "/claimed_at"),
    Column::time("STARTED", "/started_at"),
    Column::time("ENDED", "/completed_at"),
    Column::text("PARAMETERS", "/parameters"),
    Column::text("ASKED FOR", "/given_parameters"),
    Column::text("RESULT", "/result_data"),
    Column::text("NOTE", "/note"),
];

#[derive(Subcommand, Debug)]
pub enum RunCommand {
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Show(ShowArgs),
    #[command(visible_alias = "cancel")]
    Stop(StopArgs),
    Logs(LogsArgs),
    Explain(ExplainArgs),
    Retry(RetryArgs),
}

/// List runs, newest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator run list --status running
  coordinator run list --agent notifier --limit 5 -o wide
  coordinator run list --since 2h --status failed -q")]
pub struct ListArgs {
    #[command(flatten)]
    filter: Filter,

    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Which runs.
#[derive(Args, Debug)]
pub struct Filter {
    /// Only runs requested since then: 30m, 2h, 1d, or a time as 2026-11-20T09:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only runs in this status: pending, claimed, running, stopping, completed, failed, stopped
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,

    /// Only runs of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

/// Show one run: what it executed, where, and its result
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator run show run_3f
  coordinator run show run_3f --at 2026-11-20T09:00:02Z
  coordinator run show run_3f -o json | jq .result_data")]
pub struct ShowArgs {
    /// Run id, or a prefix that only one run has
    run: String,

    #[command(flatten)]
    at: AtArgs,
}

/// Stop a run; harmless where it has ended already
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator run stop run_3f
  coordinator run list --status running -q | xargs -n1 coordinator run stop")]
pub struct StopArgs {
    /// Run id, or a prefix that only one run has
    run: String,
}

/// Show what a run's script wrote: its stdout to stdout, its stderr to stderr
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator run logs run_3f
  coordinator run logs -f run_3f
  coordinator run logs run_3f 2>/dev/null >stdout.txt")]
pub struct LogsArgs {
    /// Run id, or a prefix that only one run has
    run: String,

    /// Go on until the run ends; Ctrl-C lets it go on without us
    #[arg(short, long)]
    follow: bool,

    /// The bytes as the script wrote them, on a terminal too, where otherwise only text and colours pass
    #[arg(long)]
    raw: bool,
}

pub async fn run(context: &Context, command: RunCommand) -> Result<(), Failure> {
    match command {
        RunCommand::List(args) => list(context, &args).await,
        RunCommand::Show(args) => show(context, &args).await,
        RunCommand::Stop(args) => stop(context, &args.run).await,
        RunCommand::Logs(args) => logs(context, &args).await,
        RunCommand::Explain(args) => run_explain::run(context, &args).await,
        RunCommand::Retry(args) => run_retry::run(context, &args).await,
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let (runs, next) = pages(context, &args.filter, args.limit).await?;
    let mut body = json!({"runs": runs});
    if let Some(next) = next {
        context.remark(&format!(
            "there are more: --limit {}",
            args.limit.saturating_mul(2)
        ));
        body["next_cursor"] = Value::String(next);
    }
    context.output.list(&body, &runs, "run_id", COLUMNS)
}

/// Up to `limit` runs, newest first, and where more begin.
pub async fn pages(
    context: &Context,
    filter: &Filter,
    limit: u32,
) -> Result<(Vec<Value>, Option<String>), Failure> {
    let wanted = limit as usize;
    let mut runs = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let limit = (wanted - runs.len()).min(PAGE).to_string();
        let filters = [
            ("since", filter.since.as_deref()),
            ("status", filter.status.as_deref()),
            ("agent", filter.agent.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let mut query: Vec<(&str, &str)> = filters
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        query.push(("limit", &limit));
        let mut body = context.client.get(&["runs"], &query).await?;
        let Value::Array(page) = body["runs"].take() else {
            return Ok((runs, None));
        };
        let page_was_empty = page.is_empty();
        runs.extend(page);
        cursor = body["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || page_was_empty || runs.len() >= wanted {
            return Ok((runs, cursor));
        }
    }
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let run = find(context, &args.run, &args.at).await?;
    context.output.show(&run, "run_id", FIELDS)
}

async fn stop(context: &Context, typed: &str) -> Result<(), Failure> {
    let id = run_id::resolve(&context.client, typed).await?;
    let answer = context
        .client
        .send(Method::POST, &["runs", &id, "stop"], &[], Body::Empty)
        .await
        .map_err(|failure| {
            failure
                .doing(format!("cannot stop {id}"))
                .or_hint("coordinator run list")
        })?;
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.json(&answer.body),
        Format::Name => context.output.line(&id),
        Format::Table | Format::Wide => {
            if let Some(message) = answer.body["message"].as_str() {
                context.remark(message);
            }
            context
                .output
                .line(&format!("{id} {}", text(&answer.body["status"])))
        }
    }
}

async fn logs(context: &Context, args: &LogsArgs) -> Result<(), Failure> {
    let run = find(context, &args.run, &AtArgs::default()).await?;
    let id = text(&run["run_id"]);
    let mut screen = Screen::new(&context.output, Route::Apart);
    if args.raw {
        screen = screen.raw();
    }
    if args.follow {
        let ended = follow(&context.client, &id, &mut screen).await?;
        context.remark(&epitaph(&ended));
        return Ok(());
    }
    let body = context.client.get(&["runs", &id, "logs"], &[]).await?;
    if context.output.format == Format::Json {
        return context.output.json(&body);
    }
    for chunk in body["chunks"].as_array().map_or(&[][..], Vec::as_slice) {
        screen.show(chunk)?;
    }
    if body["complete"] == Value::Bool(false) {
        context.remark(&format!(
            "[{id} is not over; follow it with: coordinator run logs -f {id}]"
        ));
    }
    Ok(())
}

async fn find(context: &Context, typed: &str, at: &AtArgs) -> Result<Value, Failure> {
    let id = run_id::resolve(&context.client, typed).await?;
    let run = at.get(context, &["runs", &id], &[]).await;
    run.map_err(|failure| {
        failure
            .doing(format!("cannot show {id}"))
            .or_hint("coordinator run list")
    })
}

/// `on_run_start gate run_5c…; on_run_finish report: Agent not found: report`
fn hooks(run: &Value) -> String {
    let hooks = run["hooks"].as_array().map_or(&[][..], Vec::as_slice);
    let told = hooks.iter().map(|hook| {
        let (point, agent) = (text(&hook["point"]), text(&hook["agent_name"]));
        match hook["error"].as_str() {
            Some(error) => format!("{point} {agent}: {error}"),
            None => format!("{point} {agent} {}", text(&hook["run_id"])),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What it followed from, where that says more than its door.
fn through(run: &Value) -> String {
    let through = text(&run["through"]);
    match run["actor"]["via"] == through {
        true => String::new(),
        false => through,
    }
}

/// Who was told of the end, or why nobody was.
fn callback(run: &Value) -> String {
    let callback = &run["callback"];
    let session = text(&callback["session_id"]);
    match (callback.is_null(), callback["error"].as_str()) {
        (true, _) => String::new(),
        (false, Some(error)) => format!("{session} not resumed: {error}"),
        (false, None) => format!("{session} {}", text(&callback["run_id"])),
    }
}

fn hook_of(run: &Value) -> String {
    match &run["hook_of"] {
        Value::Object(of) => format!("{} {}", text(&of["run_id"]), text(&of["point"])),
        _ => String::new(),
    }
}

fn status(run: &Value) -> String {
    if run["held"] == true {
        return "pending (waits for its hook)".to_owned();
    }
    match run["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", text(&run["status"])),
        None => text(&run["status"]),
    }
}
