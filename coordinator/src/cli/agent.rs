//! `coordinator agent`: what can be run. Running one is `agent_run`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::agent_run::{self, RunArgs};
use super::at::AtArgs;
use super::client::Body;
use super::failure::Failure;
use super::folder;
use super::global::Context;
use super::input::read_json;
use super::output::{Column, Format, text};
use super::versions::{self, DiffArgs, HistoryArgs, Noun, RollbackArgs};

const COLUMNS: &[Column] = &[
    Column::text("AGENT", "/name"),
    Column::text("TYPE", "/type"),
    Column::text("STATUS", "/status"),
    Column::text("SCRIPT", "/script"),
    Column::made("OWNER", owner),
    Column::text("TAGS", "/tags"),
    Column::text("DESCRIPTION", "/description"),
    Column::text("DEMANDS", "/demands/tags").wide(),
    Column::text("COMMAND", "/command").wide(),
    Column::time("CHANGED", "/modified_at").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("NAME", "/name"),
    Column::text("DESCRIPTION", "/description"),
    Column::text("TYPE", "/type"),
    Column::text("STATUS", "/status"),
    Column::text("VERSION", "/version"),
    Column::text("MADE BY", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::text("ROLLBACK OF", "/rollback_of"),
    Column::text("SCRIPT", "/script"),
    Column::text("COMMAND", "/command"),
    Column::made("OWNER", owner),
    Column::text("TAGS", "/tags"),
    Column::text("CAPABILITIES", "/capabilities"),
    Column::text("DEMANDS", "/demands"),
    Column::text("HOOKS", "/hooks"),
    Column::text("PARAMETERS", "/parameters_schema"),
    Column::text("RESULT", "/output_schema"),
    Column::time("CREATED", "/created_at"),
    Column::time("CHANGED", "/modified_at"),
];

#[derive(Subcommand, Debug)]
pub enum AgentCommand {
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Show(ShowArgs),
    Create(CreateArgs),
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    Run(RunArgs),
    /// Show the versions of an agent: when, who, through what, and what changed; also of a deleted one
    #[command(after_help = "\
Examples:
  coordinator agent history notifier
  coordinator agent history notifier --limit 100 -o wide
  coordinator agent history notifier -o json | jq '.versions[0].actor'")]
    History(HistoryArgs),
    /// Compare two versions of an agent, or one with the current one
    #[command(after_help = "\
Examples:
  coordinator agent diff notifier 3
  coordinator agent diff notifier 2 5

Exit codes: 0 where nothing differs, 1 where something does.")]
    Diff(DiffArgs),
    /// Make an older version of an agent the current one, as a new version
    #[command(after_help = "\
Examples:
  coordinator agent rollback notifier --to 3
  coordinator agent rollback notifier --to 3 --recreate   # it was deleted since

It is one event that every host follows. What would not be accepted now is refused.")]
    Rollback(RollbackArgs),
}

/// List agents
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator agent list
  coordinator agent list --tags internal -o wide
  coordinator agent list --at 2026-11-17T12:00")]
pub struct ListArgs {
    #[command(flatten)]
    at: AtArgs,

    /// Only agents that have all of these tags
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
}

/// Show one agent, with what its script and capabilities add to it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator agent show notifier
  coordinator agent show notifier --raw -o json
  coordinator agent show notifier --version 3
  coordinator agent show notifier --at 2h")]
pub struct ShowArgs {
    /// Name of the agent
    name: String,

    /// As it was written in this version; also where the agent is deleted
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "at_seq"])]
    version: Option<u32>,

    #[command(flatten)]
    at: AtArgs,

    /// As it was written, nothing added
    #[arg(long)]
    raw: bool,
}

/// Store a new agent: a file or folder, or what is said here
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator agent create deployer --script deploy --description 'Deploys on demand'
  coordinator agent create notifier --script send-notification --demand-tags messaging-team
  coordinator agent create -f agents/notifier")]
pub struct CreateArgs {
    /// Name of the agent
    #[arg(required_unless_present = "file")]
    name: Option<String>,

    /// Folder with agent.json, or a JSON file
    #[arg(short, long, value_name = "PATH",
          conflicts_with_all = ["name", "script", "description", "system_prompt", "tags", "capabilities", "demand_tags", "params_schema"])]
    file: Option<PathBuf>,

    /// Script that it runs: makes it procedural
    #[arg(long, value_name = "NAME")]
    script: Option<String>,

    /// What it does, in one sentence
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// System prompt of an autonomous agent
    #[arg(long, value_name = "TEXT", conflicts_with = "script")]
    system_prompt: Option<String>,

    /// Tags to find it by
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,

    /// Capabilities that it has
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    capabilities: Vec<String>,

    /// Tags that a runner must have, beside the script's
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    demand_tags: Vec<String>,

    /// JSON Schema of its parameters: @file, - or JSON
    #[arg(long, value_name = "SCHEMA")]
    params_schema: Option<String>,
}

/// Delete an agent
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator agent delete notifier")]
pub struct DeleteArgs {
    /// Name of the agent
    name: String,
}

pub async fn run(context: &Context, command: AgentCommand) -> Result<(), Failure> {
    match command {
        AgentCommand::List(args) => list(context, &args).await,
        AgentCommand::Show(args) => show(context, &args).await,
        AgentCommand::Create(args) => create(context, &args).await,
        AgentCommand::Delete(args) => delete(context, &args.name).await,
        AgentCommand::Run(args) => agent_run::run(context, &args).await,
        AgentCommand::History(args) => versions::history(context, Noun::Agent, &args).await,
        AgentCommand::Diff(args) => versions::diff(context, Noun::Agent, &args).await,
        AgentCommand::Rollback(args) => versions::rollback(context, Noun::Agent, &args).await,
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let query: Vec<(&str, &str)> = args
        .tags
        .iter()
        .map(|tags| ("tags", tags.as_str()))
        .collect();
    let body = args.at.get(context, &["agents"], &query).await?;
    let agents = body.as_array().cloned().unwrap_or_default();
    context.output.list(&body, &agents, "name", COLUMNS)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let query: &[(&str, &str)] = if args.raw { &[("raw", "true")] } else { &[] };
    let agent = match args.version {
        Some(version) => versions::find(context, Noun::Agent, &args.name, version).await,
        None => args.at.get(context, &["agents", &args.name], query).await,
    };
    let agent = agent.map_err(|failure| failure.or_hint("coordinator agent list"))?;
    context.output.show(&agent, "name", FIELDS)
}

/// The coordinator, or the runner that announced it.
fn owner(agent: &Value) -> String {
    match agent["runner_id"].as_str() {
        Some(runner) => format!("runner {runner}"),
        None => "coordinator".to_owned(),
    }
}

async fn create(context: &Context, args: &CreateArgs) -> Result<(), Failure> {
    let document = match &args.file {
        Some(path) => folder::agent(path)?,
        None => from_flags(args)?,
    };
    let name = text(&document["name"]);
    let agent = context
        .client
        .send(Method::POST, &["agents"], &[], Body::Json(&document))
        .await
        .map_err(|failure| failure.doing(format!("cannot create agent {name}")))?
        .body;
    match context.output.format {
        Format::Table | Format::Wide => context.output.line(&format!("agent/{name} created")),
        _ => context.output.show(&agent, "name", FIELDS),
    }
}

fn from_flags(args: &CreateArgs) -> Result<Value, Failure> {
    let kind = if args.script.is_some() {
        "procedural"
    } else {
        "autonomous"
    };
    let mut document = json!({"name": args.name, "description": args.description, "type": kind});
    if let Some(script) = &args.script {
        document["script"] = json!(script);
    }
    if let Some(prompt) = &args.system_prompt {
        document["system_prompt"] = json!(prompt);
    }
    for (field, list) in [("tags", &args.tags), ("capabilities", &args.capabilities)] {
        if !list.is_empty() {
            document[field] = json!(list);
        }
    }
    if !args.demand_tags.is_empty() {
        document["demands"] = json!({"tags": args.demand_tags});
    }
    if let Some(schema) = &args.params_schema {
        document["parameters_schema"] = read_json("--params-schema", schema)?;
    }
    Ok(document)
}

async fn delete(context: &Context, name: &str) -> Result<(), Failure> {
    context
        .client
        .send(Method::DELETE, &["agents", name], &[], Body::Empty)
        .await
        .map_err(|failure| {
            failure
                .doing(format!("cannot delete agent {name}"))
                .or_hint("coordinator agent list")
        })?;
    context.output.deleted("agent", name)
}
