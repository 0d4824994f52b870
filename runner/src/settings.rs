//! Where the settings of `runner start` come from: flags, the environment, the settings file, and the defaults,
//! each before the next. What they mean is `config`'s.

use crate::config::{Cli, ConfigCommand};
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use startup::settings::{CommandLine, File, Keys, Layer, SettingsError, first};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Below the user's and the system's folders for settings.
const FOLDER: &str = "coordinator";
const FILE: &str = "runner.toml";
const SYSTEM: &str = "/etc";
/// A secret, and what chooses the file.
const NEVER: [&str; 2] = ["token", "config"];

/// Parses the command line with what the settings file says. Ends the process where the line itself is wrong.
///
/// # Errors
/// When the file cannot be used.
pub fn parse() -> Result<Cli, SettingsError> {
    let command = Cli::command();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let line = CommandLine::read(&command, arguments);
    let layers = match line.invoked_path().first() {
        Some(&"start" | &"verify") => layers(&command, &line)?,
        _ => Vec::new(),
    };
    let matches = command.clone().get_matches_from(line.with(&layers));
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// What `runner config` prints.
///
/// # Errors
/// When the settings file cannot be used.
pub fn show(what: &ConfigCommand) -> Result<String, SettingsError> {
    let command = Cli::command();
    match what {
        ConfigCommand::Schema => Ok(format!(
            "{:#}",
            keys(&command, &NEVER).schema("Settings of a runner")
        )),
        ConfigCommand::Show { origin, .. } => {
            let line = CommandLine::read(&command, std::env::args_os().collect());
            let layers = layers(&command, &line)?;
            let told = keys(&command, &[]).told(&line, &layers);
            let widths = told.iter().map(|setting| setting.key.len());
            let width = widths.max().unwrap_or_default();
            let lines = told.iter().map(|setting| {
                let value = setting.value.as_deref().unwrap_or("-");
                let from = match origin {
                    true => format!("  ({})", setting.origin),
                    false => String::new(),
                };
                format!("{:width$}  {value}{from}", setting.key)
            });
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn keys(command: &Command, never: &[&str]) -> Keys {
    Keys::of(command.find_subcommand("start"), never)
}

fn layers(command: &Command, line: &CommandLine<'_>) -> Result<Vec<Layer>, SettingsError> {
    let file = match line.value("config") {
        Some(path) => Some(File::read(Path::new(&path))?),
        None => first(&places())?,
    };
    let keys = keys(command, &NEVER);
    let layer = file.map(|file| file.layer(&keys)).transpose()?;
    // An authority is believed for the address that stands beside it.
    let layer = layer.map(|layer| match line.says("coordinator") {
        true => layer.without(&["ca"]),
        false => layer,
    });
    Ok(layer.into_iter().collect())
}

fn places() -> Vec<PathBuf> {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let config = absolute("XDG_CONFIG_HOME");
    let config = config.or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let folders = config.into_iter().chain([PathBuf::from(SYSTEM)]);
    folders
        .map(|folder| folder.join(FOLDER).join(FILE))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_variable() {
        let command = Cli::command();
        let keys = keys(&command, &[]);
        let silent = keys
            .arguments()
            .iter()
            .filter(|key| key.get_env().is_none());
        let silent: Vec<_> = silent.filter_map(|key| key.get_long()).collect();
        assert!(silent.is_empty(), "without a variable: {silent:?}");
    }

    #[test]
    fn the_usual_log_is_what_it_is_by_itself() {
        let command = Cli::command();
        let keys = keys(&command, &[]);
        let log = keys.find("log").unwrap();
        assert_eq!(log.get_default_values(), ["info"]);
    }

    /// The page in the tree is what the program says of itself now; `UPDATE=1` writes it.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let page = startup::reference::page(&Cli::command());
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/runner.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == page,
            "schemas/runner.md is out of date: run this test with UPDATE=1"
        );
    }

    #[test]
    fn every_command_has_an_example() {
        let mut todo = vec![Cli::command()];
        while let Some(command) = todo.pop() {
            let after = command.get_after_help().map(ToString::to_string);
            let is_leaf = !command.has_subcommands() && !command.is_hide_set();
            let shows = after.unwrap_or_default().contains("Examples:");
            assert!(!is_leaf || shows, "{} shows no example", command.get_name());
            todo.extend(command.get_subcommands().cloned());
        }
    }
}
