//! `coordinator capability`: what agents can be given. Writing them is `apply`'s.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::at::AtArgs;
use super::client::Body;
use super::failure::Failure;
use super::global::Context;
use super::output::Column;
use super::versions::{self, DiffArgs, HistoryArgs, Noun, RollbackArgs};

const COLUMNS: &[Column] = &[
    Column::text("CAPABILITY", "/name"),
    Column::text("TYPE", "/type"),
    Column::text("VERSION", "/version"),
    Column::text("SCRIPT", "/script_name"),
    Column::text("MCP SERVERS", "/mcp_server_names"),
    Column::made("TEXT", has_text),
    Column::text("DESCRIPTION", "/description"),
    Column::time("CHANGED", "/modified_at").wide(),
    Column::time("CREATED", "/created_at").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("NAME", "/name"),
    Column::text("DESCRIPTION", "/description"),
    Column::text("TYPE", "/type"),
    Column::text("VERSION", "/version"),
    Column::text("MADE BY", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::text("ROLLBACK OF", "/rollback_of"),
    Column::text("SCRIPT", "/script"),
    Column::text("TEXT", "/text"),
    Column::text("MCP SERVERS", "/mcp_servers"),
    Column::time("CREATED", "/created_at"),
    Column::time("CHANGED", "/modified_at"),
];

#[derive(Subcommand, Debug)]
pub enum CapabilityCommand {
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Show(ShowArgs),
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    /// Show the versions of a capability: when, who, through what, and what changed; also of a deleted one
    #[command(after_help = "\
Examples:
  coordinator capability history json-validation
  coordinator capability history json-validation --limit 100 -o wide
  coordinator capability history json-validation -o json | jq '.versions[0].actor'")]
    History(HistoryArgs),
    /// Compare two versions of a capability, or one with the current one
    #[command(after_help = "\
Examples:
  coordinator capability diff json-validation 3
  coordinator capability diff json-validation 2 5

Exit codes: 0 where nothing differs, 1 where something does.")]
    Diff(DiffArgs),
    /// Make an older version of a capability the current one, as a new version
    #[command(after_help = "\
Examples:
  coordinator capability rollback json-validation --to 3
  coordinator capability rollback json-validation --to 3 --recreate   # it was deleted since

It is one event that every host follows. What would not be accepted now is refused.")]
    Rollback(RollbackArgs),
}

/// List capabilities
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator capability list
  coordinator capability list -o wide
  coordinator capability list --at 2026-11-17T12:00")]
pub struct ListArgs {
    #[command(flatten)]
    at: AtArgs,
}

/// Show one capability: its script, its text, its MCP servers
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator capability show json-validation
  coordinator capability show json-validation -o json
  coordinator capability show json-validation --version 3
  coordinator capability show json-validation --at 2h")]
pub struct ShowArgs {
    /// Name of the capability
    name: String,

    /// As it was in this version; also where the capability is deleted
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "at_seq"])]
    version: Option<u32>,

    #[command(flatten)]
    at: AtArgs,
}

/// Delete a capability that no agent has
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator capability delete json-validation")]
pub struct DeleteArgs {
    /// Name of the capability
    name: String,
}

pub async fn run(context: &Context, command: CapabilityCommand) -> Result<(), Failure> {
    match command {
        CapabilityCommand::List(args) => list(context, &args).await,
        CapabilityCommand::Show(args) => show(context, &args).await,
        CapabilityCommand::Delete(args) => delete(context, &args.name).await,
        CapabilityCommand::History(args) => {
            versions::history(context, Noun::Capability, &args).await
        }
        CapabilityCommand::Diff(args) => versions::diff(context, Noun::Capability, &args).await,
        CapabilityCommand::Rollback(args) => {
            versions::rollback(context, Noun::Capability, &args).await
        }
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let body = args.at.get(context, &["capabilities"], &[]).await?;
    let capabilities = body.as_array().cloned().unwrap_or_default();
    if capabilities.is_empty() {
        context.remark(
            "there is no capability; write capabilities/<name>/capability.json and apply it with \
             `coordinator apply -f .`",
        );
    }
    context.output.list(&body, &capabilities, "name", COLUMNS)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let name = args.name.as_str();
    let capability = match args.version {
        Some(version) => versions::find(context, Noun::Capability, name, version).await,
        None => args.at.get(context, &["capabilities", name], &[]).await,
    };
    let capability = capability.map_err(|f| f.or_hint("coordinator capability list"))?;
    context.output.show(&capability, "name", FIELDS)
}

async fn delete(context: &Context, name: &str) -> Result<(), Failure> {
    context
        .client
        .send(Method::DELETE, &["capabilities", name], &[], Body::Empty)
        .await
        .map_err(|failure| {
            failure
                .doing(format!("cannot delete capability {name}"))
                .or_hint("coordinator capability list")
        })?;
    context.output.deleted("capability", name)
}

fn has_text(capability: &Value) -> String {
    match capability["has_text"].as_bool() {
        Some(true) => "yes".to_owned(),
        _ => String::new(),
    }
}
