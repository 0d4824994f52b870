//! `coordinator context`: named coordinators, so that addresses and tokens are given once. It writes the
//! user's file of them and asks no coordinator.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::{Value, json};

use super::context_file::{Contexts, Named, forget_token, keep_token};
use super::failure::Failure;
use super::global::{GlobalArgs, parse_url};
use super::output::{Column, Format, Output};
use super::settings;
use super::terminal::{agreed, note};

const COLUMNS: &[Column] = &[
    Column::text("CURRENT", "/mark"),
    Column::text("CONTEXT", "/name"),
    Column::text("URL", "/url"),
    Column::text("TOKEN FILE", "/token_file"),
    Column::text("CA", "/ca"),
];

#[derive(Subcommand, Debug)]
pub enum ContextCommand {
    /// List the contexts that were added; the current one is marked
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  coordinator context list
  coordinator context list -o json"
    )]
    List,
    Show(ShowArgs),
    Add(AddArgs),
    Use(UseArgs),
    Remove(RemoveArgs),
}

/// Show one context: its address, where its token is, whom it trusts
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator context show
  coordinator context show staging -o json")]
pub struct ShowArgs {
    /// Name of the context [default: the current one]
    name: Option<String>,
}

/// Add a coordinator by a name; the first one becomes the current one
#[derive(Args, Debug)]
#[command(after_help = "\
A token given with --token is kept beside the contexts, in a file that only you can read.

Examples:
  coordinator context add ops https://ops.example.org:8765 --token cor_… --ca ops-ca.pem
  coordinator context add staging http://10.0.0.7:8765 --token-file ~/staging.token --use
  coordinator context add ops https://ops.example.org --token cor_… --replace")]
pub struct AddArgs {
    /// Name of the context: letters, digits, - and _
    name: String,

    /// Where the coordinator listens
    #[arg(value_name = "URL", value_parser = parse_url)]
    address: Url,

    /// A file with the token, which stays where it is
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,

    /// Make it the current one
    #[arg(long = "use")]
    make_current: bool,

    /// Put it in the place of one of the same name
    #[arg(long)]
    replace: bool,
}

/// Ask this coordinator from now on, unless a flag or the environment says otherwise
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator context use staging
  coordinator context use --none      # the coordinator on this host, as without contexts
  coordinator --context ops run list  # for one command")]
pub struct UseArgs {
    /// Name of the context
    #[arg(required_unless_present = "none")]
    name: Option<String>,

    /// No context is the current one any more
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

/// Remove a context, and the token that was kept for it
#[derive(Args, Debug)]
#[command(
    visible_alias = "rm",
    after_help = "\
Examples:
  coordinator context remove staging
  coordinator context remove staging -y"
)]
pub struct RemoveArgs {
    /// Name of the context
    name: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(global: &GlobalArgs, command: ContextCommand) -> Result<(), Failure> {
    let folder = settings::user_folder().ok_or_else(|| {
        Failure::usage("there is no home folder to keep contexts in: HOME is not set")
            .hint("XDG_CONFIG_HOME=DIR")
    })?;
    let contexts = Contexts::load(&folder)?;
    match command {
        ContextCommand::List => list(&global.output(), &contexts),
        ContextCommand::Show(args) => show(global, &contexts, args),
        ContextCommand::Add(args) => add(global, &folder, contexts, args),
        ContextCommand::Use(args) => choose(global, &folder, contexts, args),
        ContextCommand::Remove(args) => remove(global, &folder, contexts, &args),
    }
}

fn list(output: &Output, contexts: &Contexts) -> Result<(), Failure> {
    let rows: Vec<Value> = contexts
        .named
        .keys()
        .map(|name| row(contexts, name))
        .collect();
    let body = json!({"current": contexts.current, "contexts": rows});
    output.list(&body, &rows, "name", COLUMNS)
}

fn show(global: &GlobalArgs, contexts: &Contexts, args: ShowArgs) -> Result<(), Failure> {
    // `--context NAME` means the same here.
    let asked = args.name.or_else(|| global.context.clone());
    let Some(name) = asked.or_else(|| contexts.current.clone()) else {
        return Err(
            Failure::refused("no context is the current one").hint("coordinator context use NAME")
        );
    };
    contexts.find(&name)?;
    global.output().show(&row(contexts, &name), "name", COLUMNS)
}

fn add(
    global: &GlobalArgs,
    folder: &Path,
    mut contexts: Contexts,
    args: AddArgs,
) -> Result<(), Failure> {
    let name = checked(&args.name)?;
    if contexts.named.contains_key(name) && !args.replace {
        return Err(
            Failure::refused(format!("there is a context `{name}` already"))
                .hint("--replace, or another name"),
        );
    }
    let token = global.token.as_ref().map(super::global::Token::expose);
    let token_file = match (args.token_file, token.filter(|token| !token.is_empty())) {
        (Some(file), _) => Some(readable(&file)?),
        (None, Some(token)) => Some(keep_token(folder, name, token)?),
        (None, None) => None,
    };
    let ca = global.ca.as_deref().map(readable).transpose()?;
    let url = args.address.as_str().trim_end_matches('/').to_owned();
    contexts.named.insert(
        name.to_owned(),
        Named {
            url,
            token_file,
            ca,
        },
    );
    if args.make_current || contexts.named.len() == 1 {
        contexts.current = Some(name.to_owned());
    }
    contexts.save(folder)?;
    done(global, &contexts, name, "added")
}

fn choose(
    global: &GlobalArgs,
    folder: &Path,
    mut contexts: Contexts,
    args: UseArgs,
) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        contexts.find(name)?;
    }
    contexts.current = args.name;
    contexts.save(folder)?;
    match contexts.current.clone() {
        Some(name) => done(global, &contexts, &name, "is the current one"),
        None => {
            if !global.quiet {
                note("no context is the current one");
            }
            Ok(())
        }
    }
}

fn remove(
    global: &GlobalArgs,
    folder: &Path,
    mut contexts: Contexts,
    args: &RemoveArgs,
) -> Result<(), Failure> {
    let name = &args.name;
    let url = contexts.find(name)?.url.clone();
    let question = format!("context {name} ({url}) and the token kept for it will be removed.");
    if !args.yes {
        let asked = global.output().terminal.can_ask() && agreed(&question);
        if !asked {
            return Err(Failure::refused("nothing was removed").hint("answer y, or pass -y"));
        }
    }
    contexts.named.remove(name);
    if contexts.current.as_ref() == Some(name) {
        contexts.current = None;
    }
    contexts.save(folder)?;
    forget_token(folder, name);
    global.output().deleted("context", name)
}

fn done(global: &GlobalArgs, contexts: &Contexts, name: &str, what: &str) -> Result<(), Failure> {
    let output = global.output();
    match output.format {
        Format::Table | Format::Wide => output.line(&format!("context/{name} {what}")),
        _ => output.show(&row(contexts, name), "name", COLUMNS),
    }
}

fn row(contexts: &Contexts, name: &str) -> Value {
    let is_current = contexts.current.as_deref() == Some(name);
    let context = &contexts.named[name];
    json!({
        "name": name,
        "current": is_current,
        "mark": if is_current { "*" } else { "" },
        "url": context.url,
        "token_file": context.token_file,
        "ca": context.ca,
    })
}

/// It becomes a file's name.
fn checked(name: &str) -> Result<&str, Failure> {
    match name.parse::<schemas::Name>() {
        Ok(_) => Ok(name),
        Err(error) => {
            Err(Failure::usage(format!("`{name}` is no name for a context")).because(error))
        }
    }
}

/// As an absolute path, so that it means the same from anywhere.
fn readable(path: &Path) -> Result<PathBuf, Failure> {
    let refused = |error| Failure::usage(format!("cannot read {}", path.display())).because(error);
    std::fs::File::open(path).map_err(refused)?;
    std::path::absolute(path).map_err(refused)
}
