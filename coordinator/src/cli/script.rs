//! `coordinator script`: what the central store holds. Loading many at once is `apply`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::at::AtArgs;
use super::client::Body;
use super::failure::Failure;
use super::folder;
use super::global::Context;
use super::input::{read_json, read_text};
use super::output::{Column, Format, text};
use super::script_check::{self, CheckArgs};
use super::script_edit::{self, EditArgs};
use super::script_new::{self, NewArgs};
use super::script_pin::{self, PinArgs, PinsArgs, UnpinArgs};
use super::script_rollout::{self, RolloutArgs};
use super::script_sync::{self, SyncArgs};
use super::versions::{self, DiffArgs, HistoryArgs, Noun, RollbackArgs};

const COLUMNS: &[Column] = &[
    Column::text("SCRIPT", "/name"),
    Column::text("VERSION", "/version"),
    Column::text("FILE", "/script_file"),
    Column::text("TAGS", "/demand_tags"),
    Column::time("CHANGED", "/modified_at"),
    Column::text("DESCRIPTION", "/description"),
    Column::text("DIGEST", "/digest").wide(),
    Column::time("CREATED", "/created_at").wide(),
];

const FIELDS: &[Column] = &[
    Column::text("NAME", "/name"),
    Column::text("DESCRIPTION", "/description"),
    Column::text("VERSION", "/version"),
    Column::text("MADE BY", "/actor/name"),
    Column::text("VIA", "/actor/via"),
    Column::text("ROLLBACK OF", "/rollback_of"),
    Column::text("DIGEST", "/digest"),
    Column::text("SCRIPT FILE", "/script_file"),
    Column::made("FILES", files),
    Column::text("DEMANDS", "/demands"),
    Column::text("PARAMETERS", "/parameters_schema"),
    Column::text("RESULT", "/output_schema"),
    Column::time("CREATED", "/created_at"),
    Column::time("CHANGED", "/modified_at"),
];

#[derive(Subcommand, Debug)]
pub enum ScriptCommand {
    #[command(visible_alias = "ls")]
    List(ListArgs),
    Show(ShowArgs),
    New(NewArgs),
    Check(CheckArgs),
    Create(CreateArgs),
    Edit(EditArgs),
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    Pin(PinArgs),
    Unpin(UnpinArgs),
    Pins(PinsArgs),
    Rollout(RolloutArgs),
    Sync(SyncArgs),
    /// Show the versions of a script: when, who, through what, and what changed; also of a deleted one
    #[command(after_help = "\
Examples:
  coordinator script history deploy
  coordinator script history deploy --limit 100 -o wide
  coordinator script history deploy -o json | jq '.versions[0].actor'")]
    History(HistoryArgs),
    /// Compare two versions of a script, or one with the current one
    #[command(after_help = "\
Examples:
  coordinator script diff deploy 3
  coordinator script diff deploy 2 5

Exit codes: 0 where nothing differs, 1 where something does.")]
    Diff(DiffArgs),
    /// Make an older version of a script the current one, as a new version
    #[command(after_help = "\
Examples:
  coordinator script rollback deploy --to 3
  coordinator script rollback deploy --to 3 --recreate   # it was deleted since

It is one event that every host follows. What would not be accepted now is refused.")]
    Rollback(RollbackArgs),
}

/// List scripts
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator script list
  coordinator script list -o wide
  coordinator script list -q
  coordinator script list --at 2026-11-17T12:00")]
pub struct ListArgs {
    #[command(flatten)]
    at: AtArgs,
}

/// Show one script: its files, what it takes, what it demands
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator script show deploy
  coordinator script show deploy --content > deploy.sh
  coordinator script show deploy --version 3
  coordinator script show deploy --at 2h
  coordinator script show deploy -o json | jq .parameters_schema")]
pub struct ShowArgs {
    /// Name of the script
    name: String,

    /// As it was in this version; also where the script is deleted
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "at_seq"])]
    version: Option<u32>,

    #[command(flatten)]
    at: AtArgs,

    /// Only the script file's text
    #[arg(long)]
    content: bool,
}

/// Store a new script: a folder, or one file and what is said about it here
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator script create -f scripts/deploy
  coordinator script create --file deploy.sh --description 'Deploys a service' --tags bash
  coordinator script create --file notify.py --name send-notification --params-schema @notify.schema.json")]
pub struct CreateArgs {
    /// Folder with script.json and the script's files
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["file", "name", "description", "tags", "params_schema"])]
    folder: Option<PathBuf>,

    /// A script that is one file
    #[arg(long, value_name = "FILE", required_unless_present = "folder")]
    file: Option<PathBuf>,

    /// Name of the script [default: the file's, without its extension]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What it does, in one sentence
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// Tags that a runner must have, e.g. uv or bash
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,

    /// JSON Schema of its parameters: @file, - or JSON
    #[arg(long, value_name = "SCHEMA")]
    params_schema: Option<String>,
}

/// Delete a script that nothing refers to
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator script delete deploy")]
pub struct DeleteArgs {
    /// Name of the script
    name: String,
}

pub async fn run(context: &Context, command: ScriptCommand) -> Result<(), Failure> {
    match command {
        ScriptCommand::List(args) => list(context, &args).await,
        ScriptCommand::Show(args) => show(context, &args).await,
        ScriptCommand::New(args) => script_new::run(&context.output, context.quiet, &args),
        ScriptCommand::Check(args) => script_check::run(context, &args).await,
        ScriptCommand::Edit(args) => script_edit::run(context, &args).await,
        ScriptCommand::Create(args) => create(context, &args).await,
        ScriptCommand::Delete(args) => delete(context, &args.name).await,
        ScriptCommand::Pin(args) => script_pin::pin(context, &args).await,
        ScriptCommand::Unpin(args) => script_pin::unpin(context, &args).await,
        ScriptCommand::Pins(args) => script_pin::list(context, &args).await,
        ScriptCommand::Rollout(args) => script_rollout::run(context, &args).await,
        ScriptCommand::Sync(args) => script_sync::run(context, &args).await,
        ScriptCommand::History(args) => versions::history(context, Noun::Script, &args).await,
        ScriptCommand::Diff(args) => versions::diff(context, Noun::Script, &args).await,
        ScriptCommand::Rollback(args) => versions::rollback(context, Noun::Script, &args).await,
    }
}

async fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let body = args.at.get(context, &["scripts"], &[]).await?;
    let scripts = body.as_array().cloned().unwrap_or_default();
    context.output.list(&body, &scripts, "name", COLUMNS)
}

async fn show(context: &Context, args: &ShowArgs) -> Result<(), Failure> {
    let script = match args.version {
        Some(version) => versions::find(context, Noun::Script, &args.name, version).await,
        None => args.at.get(context, &["scripts", &args.name], &[]).await,
    };
    let script = script.map_err(|failure| failure.or_hint("coordinator script list"))?;
    if args.content {
        return context
            .output
            .raw(text(&script["script_content"]).as_bytes());
    }
    context.output.show(&script, "name", FIELDS)
}

async fn create(context: &Context, args: &CreateArgs) -> Result<(), Failure> {
    let (name, answer) = match (&args.folder, &args.file) {
        (Some(dir), _) => {
            let packed = folder::pack(dir)?;
            let body = Body::Zstd(packed.bytes);
            (
                packed.name,
                context
                    .client
                    .send(Method::POST, &["scripts"], &[], body)
                    .await,
            )
        }
        (None, Some(file)) => {
            let document = one_file(args, file)?;
            let body = Body::Json(&document);
            (
                text(&document["name"]),
                context
                    .client
                    .send(Method::POST, &["scripts"], &[], body)
                    .await,
            )
        }
        (None, None) => return Err(Failure::usage("give --folder or --file")),
    };
    let script = answer
        .map_err(|failure| failure.doing(format!("cannot create script {name}")))?
        .body;
    match context.output.format {
        Format::Table | Format::Wide => context.output.line(&format!(
            "script/{name} created (v{})",
            text(&script["version"])
        )),
        _ => context.output.show(&script, "name", FIELDS),
    }
}

fn one_file(args: &CreateArgs, file: &Path) -> Result<Value, Failure> {
    let part =
        |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
    let (Some(script_file), Some(stem)) = (part(file.file_name()), part(file.file_stem())) else {
        return Err(Failure::usage(format!(
            "{} has no file name that a script can have",
            file.display()
        )));
    };
    let mut document = json!({
        "name": args.name.clone().unwrap_or(stem),
        "description": args.description,
        "script_file": script_file,
        "script_content": read_text(file)?,
    });
    if !args.tags.is_empty() {
        document["demands"] = json!({"tags": args.tags});
    }
    if let Some(schema) = &args.params_schema {
        document["parameters_schema"] = read_json("--params-schema", schema)?;
    }
    Ok(document)
}

async fn delete(context: &Context, name: &str) -> Result<(), Failure> {
    context
        .client
        .send(Method::DELETE, &["scripts", name], &[], Body::Empty)
        .await
        .map_err(|failure| {
            failure
                .doing(format!("cannot delete script {name}"))
                .or_hint("coordinator script list")
        })?;
    context.output.deleted("script", name)
}

fn files(script: &Value) -> String {
    let files = script["files"].as_array().map_or(&[][..], Vec::as_slice);
    files
        .iter()
        .map(|file| format!("{} ({} B)", text(&file["path"]), text(&file["size"])))
        .collect::<Vec<_>>()
        .join(", ")
}
