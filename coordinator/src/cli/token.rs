//! `coordinator token`: who may do what here, and for how long.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Body;
use super::failure::Failure;
use super::global::Context;
use super::output::{Column, Format, text};
use super::terminal::plain;

const COLUMNS: &[Column] = &[
    Column::text("TOKEN", "/name"),
    Column::text("ROLE", "/role"),
    Column::made("STATUS", status),
    Column::time("CREATED", "/created_at"),
    Column::time("EXPIRES", "/expires_at"),
    Column::time("LAST USED", "/last_used_at"),
];

#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    Create(CreateArgs),
    /// List tokens: what they open, until when, and when they came last
    #[command(
        visible_alias = "ls",
        after_help = "\
LAST USED is what the coordinator that you ask has seen since its start. The token `admin` is the
file admin.token in its data folder.

Examples:
  coordinator token list
  coordinator token list -o jsonl | jq -r 'select(.status != \"active\") | .name'"
    )]
    List,
    Revoke(RevokeArgs),
}

/// Make a token, and print it: it is shown this once and kept nowhere
#[derive(Args, Debug)]
#[command(after_help = "\
Roles: viewer looks; operator also runs agents, stops runs and drains runners; author also changes
scripts, agents and capabilities; admin also gives out tokens. runner lets one runner join, once; mcp
is for an AI agent's tools: agents and runs, nothing else.

The token is the only line on standard output.

Examples:
  coordinator token create --role operator --name ci --ttl 30d
  coordinator token create --role runner --ttl 10m
  COORDINATOR_TOKEN=$(coordinator token create --role viewer) coordinator run list")]
pub struct CreateArgs {
    /// What its holder may do
    #[arg(long, value_enum)]
    role: Role,

    /// Its name, which stands in the log beside everything done with it [default: one is made up]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// How long it is good, as 10m, 12h or 30d [default: until revoked; 1h for the role runner]
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
}

/// Take tokens back: they open nothing any more, at once and at every coordinator
#[derive(Args, Debug)]
#[command(
    visible_alias = "rm",
    after_help = "\
A runner that has joined with a token stays; see `coordinator runner revoke`.

Examples:
  coordinator token revoke ci"
)]
pub struct RevokeArgs {
    /// Names of tokens
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Viewer,
    Operator,
    Author,
    Admin,
    Runner,
    Mcp,
}

pub async fn run(context: &Context, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(context, &args).await,
        TokenCommand::List => list(context).await,
        TokenCommand::Revoke(args) => revoke(context, &args).await,
    }
}

async fn create(context: &Context, args: &CreateArgs) -> Result<(), Failure> {
    let role = args.role.to_possible_value();
    let role = role.as_ref().map(clap::builder::PossibleValue::get_name);
    let body = json!({"role": role, "name": args.name, "ttl": args.ttl});
    let answer = context
        .client
        .send(Method::POST, &["tokens"], &[], Body::Json(&body))
        .await
        .map_err(|failure| failure.doing("cannot make a token"))?
        .body;
    match context.output.format {
        Format::Json | Format::Jsonl => context.output.json(&answer),
        Format::Table | Format::Wide | Format::Name => {
            context.remark(&made(&answer));
            context.output.line(&plain(&text(&answer["token"])))
        }
    }
}

fn made(token: &Value) -> String {
    let (name, role) = (text(&token["name"]), text(&token["role"]));
    let until = match &token["expires_at"] {
        Value::Null => "until it is revoked".to_owned(),
        end => format!("until {}", text(end)),
    };
    let once = match role.as_str() {
        "runner" => ", for one runner: runner start --token TOKEN",
        _ => "",
    };
    plain(&format!(
        "token/{name} created, role {role}, good {until}{once}; it is not shown again"
    ))
}

async fn list(context: &Context) -> Result<(), Failure> {
    let body = context.client.get(&["tokens"], &[]).await?;
    let tokens = body["tokens"].as_array().cloned().unwrap_or_default();
    context.output.list(&body, &tokens, "name", COLUMNS)
}

async fn revoke(context: &Context, args: &RevokeArgs) -> Result<(), Failure> {
    for name in &args.names {
        let path = ["tokens", name.as_str()];
        context
            .client
            .send(Method::DELETE, &path, &[], Body::Empty)
            .await
            .map_err(|failure| failure.doing(format!("cannot revoke token {name}")))?;
        match context.output.format {
            Format::Table | Format::Wide => {
                context.output.line(&format!("token/{name} revoked"))?;
            }
            Format::Name => context.output.line(name)?,
            Format::Json | Format::Jsonl => context
                .output
                .json(&json!({"kind": "token", "name": name, "revoked": true}))?,
        }
    }
    Ok(())
}

fn status(token: &Value) -> String {
    match (&token["status"], &token["used_by_runner"]) {
        (status, Value::Null) => text(status),
        (_, runner) => format!("used by {}", text(runner)),
    }
}
