//! `coordinator config`: which settings hold, and who said so; which there are. It asks no coordinator.

use clap::{Args, CommandFactory as _, Subcommand};
use serde_json::{Value, json};
use startup::settings::{CommandLine, Setting};

use super::Cli;
use super::failure::Failure;
use super::global::GlobalArgs;
use super::output::{Column, Format};
use super::settings;

const VALUES: &[Column] = &[
    Column::text("SETTING", "/key"),
    Column::text("VALUE", "/value"),
];
const ORIGINS: &[Column] = &[
    Column::text("SETTING", "/key"),
    Column::text("VALUE", "/value"),
    Column::text("ORIGIN", "/origin"),
];

#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    Show(ShowArgs),
    /// Print the JSON Schema of the settings file: every setting, what it takes, its variable and its default
    #[command(after_help = "\
The file is TOML, with a setting's flag as its key: runs-kept = \"90d\", behind-proxy = true,
allowed-host = [\"ops.example.org\"]. It is the one of --config, else coordinator.toml in
~/.config/coordinator, else in /etc/coordinator.

Examples:
  coordinator config schema > coordinator.schema.json
  coordinator config schema | jq -r '.properties | keys[]'")]
    Schema,
}

/// Show every setting of `serve` and of the command line with its value; secrets are masked
#[derive(Args, Debug)]
#[command(after_help = "\
A flag goes before the environment, that before the context, that before the settings file, that before
the default.

Examples:
  coordinator config show --origin
  coordinator config show --origin --changed
  coordinator config show -o json | jq '.settings[] | select(.origin != \"default\")'")]
pub struct ShowArgs {
    /// Say where each value came from: flag, env NAME, context NAME, a file, default
    #[arg(long)]
    origin: bool,

    /// Only what is not as it is by itself
    #[arg(long)]
    changed: bool,
}

pub fn run(global: &GlobalArgs, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show(args) => show(global, args),
        ConfigCommand::Schema => {
            let schema = settings::keys(&Cli::command()).schema("Settings of the coordinator");
            global.output().json(&schema)
        }
    }
}

fn show(global: &GlobalArgs, args: &ShowArgs) -> Result<(), Failure> {
    let command = Cli::command();
    let line = CommandLine::read(&command, std::env::args_os().collect());
    let sources = settings::sources(&command, &line)?;
    let told = settings::shown_keys(&command).told(&line, &sources.layers);
    let kept = told
        .iter()
        .filter(|setting| !args.changed || !setting.is_default());
    let rows: Vec<Value> = kept.map(Setting::to_json).collect();
    let body = json!({"file": sources.file, "settings": rows});
    let output = global.output();
    if output.format == Format::Table && !global.quiet {
        super::terminal::note(&match &sources.file {
            Some(path) => format!("settings file: {}", path.display()),
            None => "settings file: none".to_owned(),
        });
    }
    let columns = match args.origin {
        true => ORIGINS,
        false => VALUES,
    };
    output.list(&body, &rows, "key", columns)
}
