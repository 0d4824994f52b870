//! `coordinator script pin|unpin|pins`: sending a script to runners by hand, and taking it back.

use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::{Value, json};

use super::at::AtArgs;
use super::client::Body;
use super::failure::Failure;
use super::global::Context;
use super::output::{Column, Format, text};

const COLUMNS: &[Column] = &[
    Column::text("SCRIPT", "/script"),
    Column::made("PINNED TO", place),
    Column::text("RUNNERS", "/runners"),
    Column::time("PINNED", "/pinned_at"),
    Column::text("LANE", "/lane").wide(),
];

/// Send a script to a runner, or to all that have some tags, although nothing refers to it
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("place").required(true).args(["runner", "tags"]))]
#[command(after_help = "\
Examples:
  coordinator script pin collect-logs --runner web-1
  coordinator script pin collect-logs --tag eu --tag bash

The runners hold it, in its current version, until it is unpinned. Agents and capabilities
bring their scripts along by themselves.")]
pub struct PinArgs {
    /// Name of the script
    name: String,

    /// One runner, by its id
    #[arg(long, value_name = "RUNNER")]
    runner: Option<String>,

    /// A tag that the runners have; given more than once, they have all of them
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
}

/// Take back what was pinned: one place, or all of them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator script unpin collect-logs
  coordinator script unpin collect-logs --runner web-1")]
pub struct UnpinArgs {
    /// Name of the script
    name: String,

    /// Only the pin to this runner
    #[arg(long, value_name = "RUNNER", conflicts_with = "tags")]
    runner: Option<String>,

    /// Only the pin to these tags
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
}

/// List what is pinned, and where
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator script pins
  coordinator script pins collect-logs
  coordinator script pins --at 2h")]
pub struct PinsArgs {
    /// Only the pins of this script
    name: Option<String>,

    #[command(flatten)]
    at: AtArgs,
}

pub async fn pin(context: &Context, args: &PinArgs) -> Result<(), Failure> {
    let body = match &args.runner {
        Some(runner) => json!({"runner": runner}),
        None => json!({"tags": args.tags}),
    };
    let path = ["scripts", args.name.as_str(), "pins"];
    let pin = context
        .client
        .send(Method::POST, &path, &[], Body::Json(&body))
        .await
        .map_err(|failure| failure.doing(format!("cannot pin script {}", args.name)))?
        .body;
    if pin["runners"].as_array().is_some_and(Vec::is_empty) {
        context.remark("no runner that is meant is online now; they get the script when they come");
    }
    match context.output.format {
        Format::Table | Format::Wide => {
            context
                .output
                .line(&format!("script/{} pinned to {}", args.name, place(&pin)))
        }
        _ => context.output.show(&pin, "script", COLUMNS),
    }
}

pub async fn unpin(context: &Context, args: &UnpinArgs) -> Result<(), Failure> {
    let tags = args.tags.join(",");
    let mut query: Vec<(&str, &str)> = Vec::new();
    if let Some(runner) = &args.runner {
        query.push(("runner", runner));
    } else if !tags.is_empty() {
        query.push(("tags", &tags));
    }
    let path = ["scripts", args.name.as_str(), "pins"];
    context
        .client
        .send(Method::DELETE, &path, &query, Body::Empty)
        .await
        .map_err(|failure| {
            failure
                .doing(format!("cannot unpin script {}", args.name))
                .or_hint("coordinator script pins")
        })?;
    match context.output.format {
        Format::Table | Format::Wide => context
            .output
            .line(&format!("script/{} unpinned", args.name)),
        Format::Name => context.output.line(&args.name),
        Format::Json | Format::Jsonl => context
            .output
            .json(&json!({"kind": "script", "name": args.name, "unpinned": true})),
    }
}

pub async fn list(context: &Context, args: &PinsArgs) -> Result<(), Failure> {
    let body = match &args.name {
        Some(name) => {
            let path = ["scripts", name, "pins"];
            args.at.get(context, &path, &[]).await?
        }
        None => args.at.get(context, &["pins"], &[]).await?,
    };
    let pins = body.as_array().cloned().unwrap_or_default();
    if pins.is_empty() {
        context.remark("nothing is pinned");
    }
    context.output.list(&body, &pins, "script", COLUMNS)
}

fn place(pin: &Value) -> String {
    match (&pin["runner"], &pin["tags"]) {
        (Value::Null, tags) => format!("tags {}", text(tags)),
        (runner, _) => format!("runner {}", text(runner)),
    }
}
