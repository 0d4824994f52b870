//! Where the command line's settings come from: flags, the environment, a context, the settings file, and the
//! defaults, each before the next. What they mean is the commands'.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _, FromArgMatches as _};
use startup::settings::{CommandLine, File, Given, Keys, Layer, first};

use super::Cli;
use super::context_file::{Contexts, Named};
use super::failure::Failure;
use super::terminal::note;

/// Below the user's and the system's folders for settings.
const FOLDER: &str = "coordinator";
const FILE: &str = "coordinator.toml";
const SYSTEM: &str = "/etc";

/// What a file may not say: secrets, and what chooses the file or the context.
const NEVER: [&str; 4] = ["token", "context", "config", "quiet"];
/// What belongs to one address: another one is not shown our token, and not believed on our word.
const OF_ADDRESS: [&str; 2] = ["token", "ca"];
/// Commands that look at contexts instead of asking one.
const WITHOUT_CONTEXT: &str = "context";

/// Everything that may be said beside flags and environment, the strongest first.
pub struct Sources {
    pub layers: Vec<Layer>,
    /// The settings file that is read, if any.
    pub file: Option<PathBuf>,
}

/// Parses the command line with all that is said elsewhere. What cannot be is told, with the exit code.
pub fn parse() -> Result<Cli, ExitCode> {
    let command = Cli::command();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let line = CommandLine::read(&command, arguments.clone());
    let sources = match sources(&command, &line) {
        Ok(sources) => sources,
        // Who asks for help, or for the settings there are, may be about to repair it.
        Err(_) if asks_for_help(&arguments) || line.invoked_path().first() == Some(&"config") => {
            Sources {
                layers: Vec::new(),
                file: None,
            }
        }
        Err(failure) => {
            note(failure.report().trim_end());
            return Err(failure.exit().into());
        }
    };
    let all = line.with(&sources.layers);
    let matches = command.clone().get_matches_from(all);
    Cli::from_arg_matches(&matches).map_err(|error| error.exit())
}

/// What may stand in the settings file.
pub fn keys(command: &Command) -> Keys {
    let serve = command.find_subcommand("serve");
    Keys::of([Some(command), serve].into_iter().flatten(), &NEVER)
}

/// What is shown to who asks: those, and what a file may not say.
pub fn shown_keys(command: &Command) -> Keys {
    let serve = command.find_subcommand("serve");
    Keys::of([Some(command), serve].into_iter().flatten(), &["quiet"])
}

/// What the context and the file say. An address that was said before takes no token of theirs with it.
pub fn sources(command: &Command, line: &CommandLine<'_>) -> Result<Sources, Failure> {
    let file = file(line)?;
    let context = match line.invoked_path().first() {
        Some(&WITHOUT_CONTEXT) => None,
        _ => context(line)?,
    };
    let mut layers = Vec::new();
    let mut addressed = false;
    if let Some(layer) = context {
        addressed = line.outranks(&layer, "url");
        layers.push(match addressed {
            true => layer.without(&OF_ADDRESS),
            false => layer,
        });
        addressed = true;
    }
    if let Some(file) = &file {
        let layer = file.layer(&keys(command)).map_err(|error| {
            Failure::usage(error.to_string()).hint("coordinator config schema lists all settings")
        })?;
        let taken = addressed || line.says("url");
        layers.push(match taken {
            true => layer.without(&OF_ADDRESS),
            false => layer,
        });
    }
    Ok(Sources {
        layers,
        file: file.map(|file| file.path),
    })
}

/// The user's folder for our settings; none without a home.
pub fn user_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let config = absolute("XDG_CONFIG_HOME");
    let config = config.or_else(|| absolute("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join(FOLDER))
}

fn file(line: &CommandLine<'_>) -> Result<Option<File>, Failure> {
    let refused = |error: startup::settings::SettingsError| {
        Failure::usage("the settings cannot be used").because(error)
    };
    if let Some(path) = line.value("config") {
        return File::read(Path::new(&path)).map(Some).map_err(refused);
    }
    let folders = user_folder().into_iter();
    let folders = folders.chain([Path::new(SYSTEM).join(FOLDER)]);
    let places: Vec<PathBuf> = folders.map(|folder| folder.join(FILE)).collect();
    first(&places).map_err(refused)
}

/// The context that is asked for, or the current one. Asked for by a flag it goes before the environment.
fn context(line: &CommandLine<'_>) -> Result<Option<Layer>, Failure> {
    let Some(folder) = user_folder() else {
        return Ok(None);
    };
    let asked = line.value("context");
    let contexts = Contexts::load(&folder)?;
    let Some(name) = asked.or_else(|| contexts.current.clone()) else {
        return Ok(None);
    };
    let over_environment = line.flagged("context").is_some();
    layer(&name, contexts.find(&name)?, over_environment).map(Some)
}

fn layer(name: &str, context: &Named, over_environment: bool) -> Result<Layer, Failure> {
    let mut values = vec![("url".to_owned(), one(context.url.clone()))];
    if let Some(path) = &context.token_file {
        let token = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "cannot read the token of context `{name}` in {}",
                path.display()
            ))
            .because(error)
            .hint(format!(
                "coordinator context add {name} {} --replace --token …",
                context.url
            ))
        })?;
        values.push(("token".to_owned(), one(token.trim().to_owned())));
    }
    if let Some(ca) = &context.ca {
        values.push(("ca".to_owned(), one(ca.display().to_string())));
    }
    Ok(Layer {
        name: format!("context {name}"),
        over_environment,
        values,
    })
}

fn one(text: String) -> Given {
    Given::Values(vec![text])
}

fn asks_for_help(arguments: &[OsString]) -> bool {
    let helps = ["-h", "--help", "help", "-V", "--version"];
    arguments
        .iter()
        .any(|word| helps.iter().any(|help| word == help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_variable() {
        let command = Cli::command();
        let keys = keys(&command);
        // How a terminal looks is asked anew each time; NO_COLOR is everybody's.
        let silent = keys
            .arguments()
            .iter()
            .filter(|key| key.get_env().is_none());
        let silent: Vec<_> = silent.filter_map(|key| key.get_long()).collect();
        assert_eq!(silent, ["output", "no-color"]);
    }

    #[test]
    fn a_file_may_say_what_serve_takes_and_no_secret() {
        let command = Cli::command();
        let keys = keys(&command);
        for key in [
            "url",
            "ca",
            "data-dir",
            "listen",
            "runs-kept",
            "nats-url",
            "log-format",
        ] {
            assert!(keys.find(key).is_some(), "{key}");
        }
        for key in ["token", "config", "context", "help", "project-dir"] {
            assert!(keys.find(key).is_none(), "{key}");
        }
    }
}
