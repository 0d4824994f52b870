//! `coordinator capability`: what agents can be given. Writing them is `apply`'s.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::client::Body;
use super::failure::Failure;
use super::global::Context;
use super::output::Column;

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
    Column::text("SCRIPT", "/script"),
    Column::text("TEXT", "/text"),
    Column::text("MCP SERVERS", "/mcp_servers"),
    Column::time("CREATED", "/created_at"),
    Column::time("CHANGED", "/modified_at"),
];

#[derive(Subcommand, Debug)]
pub enum CapabilityCommand {
    /// List capabilities
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  coordinator capability list
  coordinator capability list -o wide"
    )]
    List,
    Show(ShowArgs),
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

/// Show one capability: its script, its text, its MCP servers
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator capability show json-validation
  coordinator capability show json-validation -o json")]
pub struct ShowArgs {
    /// Name of the capability
    name: String,
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
        CapabilityCommand::List => list(context).await,
        CapabilityCommand::Show(args) => show(context, &args.name).await,
        CapabilityCommand::Delete(args) => delete(context, &args.name).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let body = context.client.get(&["capabilities"], &[]).await?;
    let capabilities = body.as_array().cloned().unwrap_or_default();
    if capabilities.is_empty() {
        context.remark(
            "there is no capability; write capabilities/<name>/capability.json and apply it with \
             `coordinator apply -f .`",
        );
    }
    context.output.list(&body, &capabilities, "name", COLUMNS)
}

async fn show(context: &Context, name: &str) -> Result<(), Failure> {
    let capability = context
        .client
        .get(&["capabilities", name], &[])
        .await
        .map_err(|failure| failure.or_hint("coordinator capability list"))?;
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
