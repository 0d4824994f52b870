//! What was said at the start: which command, which flags, and which variables of the environment. It only
//! looks; whether all of it makes sense is for the parser to say.

use super::keys::is_switch;
use super::{Given, Layer};
use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};

/// The arguments beside the command that they are for.
pub struct CommandLine<'a> {
    root: &'a Command,
    invoked: &'a Command,
    path: Vec<&'a str>,
    arguments: Vec<OsString>,
    flags: Vec<(String, Option<String>)>,
}

impl<'a> CommandLine<'a> {
    /// The program's name is the first of the arguments.
    pub fn read(root: &'a Command, arguments: Vec<OsString>) -> Self {
        let mut line = Self {
            root,
            invoked: root,
            path: Vec::new(),
            arguments: Vec::new(),
            flags: Vec::new(),
        };
        let mut words = arguments.iter().skip(1);
        while let Some(word) = words.next() {
            let word = word.to_string_lossy();
            if word == "--" {
                break;
            }
            match line.flag(&word) {
                Some((argument, value)) => {
                    let key = argument.get_long().unwrap_or_default().to_owned();
                    let value = match value {
                        None if !is_switch(argument) => {
                            words.next().map(|next| next.to_string_lossy().into_owned())
                        }
                        said => said,
                    };
                    line.flags.push((key, value));
                }
                None => line.descend(&word),
            }
        }
        line.arguments = arguments;
        line
    }

    fn descend(&mut self, word: &str) {
        if let Some(deeper) = self.invoked.find_subcommand(word) {
            self.invoked = deeper;
            self.path.push(deeper.get_name());
        }
    }

    /// The flag that a word is, with a value in the same word.
    fn flag(&self, word: &str) -> Option<(&'a Arg, Option<String>)> {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let found = self.arguments_of().find(|a| a.get_long() == Some(name))?;
            return Some((found, value));
        }
        let mut letters = word.strip_prefix('-')?.chars();
        let first = letters.next()?;
        let found = self.arguments_of().find(|a| a.get_short() == Some(first))?;
        let rest = letters.as_str();
        Some((found, (!rest.is_empty()).then(|| rest.to_owned())))
    }

    /// What may be said to the command that was found so far.
    fn arguments_of(&self) -> impl Iterator<Item = &'a Arg> + use<'a> {
        let everywhere = self.root.get_arguments().filter(|a| a.is_global_set());
        self.invoked.get_arguments().chain(everywhere)
    }

    fn argument(&self, key: &str) -> Option<&'a Arg> {
        self.arguments_of().find(|a| a.get_long() == Some(key))
    }

    pub fn invoked(&self) -> &'a Command {
        self.invoked
    }

    /// The names of the commands that lead to it, the program's own left out.
    pub fn invoked_path(&self) -> &[&'a str] {
        &self.path
    }

    /// What a flag says; all of it where it is said several times.
    pub fn flagged(&self, key: &str) -> Option<Given> {
        let said: Vec<_> = self.flags.iter().filter(|(name, _)| name == key).collect();
        let values: Vec<String> = said.iter().filter_map(|(_, value)| value.clone()).collect();
        match (said.is_empty(), values.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Given::Switch(true)),
            (false, false) => Some(Given::Values(values)),
        }
    }

    /// Whether a flag or a variable says it already.
    pub fn says(&self, key: &str) -> bool {
        self.flagged(key).is_some()
            || self
                .argument(key)
                .is_some_and(|argument| variable(argument).is_some())
    }

    /// What a flag says, else the variable for it.
    pub fn value(&self, key: &str) -> Option<String> {
        let flagged = self.flagged(key).map(|given| given.text());
        flagged.or_else(|| {
            let (_, value) = variable(self.argument(key)?)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    /// The arguments with what the layers say as well, the first layer before the next.
    pub fn with(&self, layers: &[Layer]) -> Vec<OsString> {
        let mut arguments = self.arguments.clone();
        let mut told: Vec<&str> = Vec::new();
        for layer in layers {
            for (key, given) in &layer.values {
                if self.argument(key).is_none() || self.outranks(layer, key) {
                    continue;
                }
                if !told.contains(&key.as_str()) {
                    told.push(key);
                    arguments.extend(flags(key, given));
                }
            }
        }
        arguments
    }

    /// Only what every command takes: the flags that were said, and what the layers say of them as well.
    pub fn globals_with(&self, layers: &[Layer]) -> Vec<OsString> {
        let root = self.root.get_arguments();
        let keys: Vec<&str> = root.filter_map(Arg::get_long).collect();
        let mut arguments = Vec::new();
        for key in keys {
            let said = self.flagged(key);
            let mut layers = layers.iter().filter(|layer| !self.outranks(layer, key));
            let told = layers.find_map(|layer| layer.given(key));
            let given = said.as_ref().or(told);
            arguments.extend(given.map(|given| flags(key, given)).unwrap_or_default());
        }
        arguments
    }

    /// Whether what was said at the start goes before what the layer says.
    pub fn outranks(&self, layer: &Layer, key: &str) -> bool {
        match layer.over_environment {
            true => self.flagged(key).is_some(),
            false => self.says(key),
        }
    }
}

fn flags(key: &str, given: &Given) -> Vec<OsString> {
    match given {
        Given::Switch(true) => vec![format!("--{key}").into()],
        Given::Switch(false) => Vec::new(),
        Given::Values(values) => {
            let flags = values.iter().map(|value| format!("--{key}={value}").into());
            flags.collect()
        }
    }
}

/// The variable that says it, with its value. An empty one was never filled in.
pub(super) fn variable(argument: &Arg) -> Option<(&OsStr, OsString)> {
    let name = argument.get_env()?;
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        Command::new("p")
            .arg(flag("url").global(true))
            .arg(flag("output").short('o').global(true))
            .subcommand(
                Command::new("serve")
                    .arg(flag("listen"))
                    .arg(flag("host").action(clap::ArgAction::Append))
                    .arg(flag("proxy").action(clap::ArgAction::SetTrue)),
            )
    }

    fn layer(values: &[(&str, Given)]) -> Layer {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        Layer {
            name: "file".to_owned(),
            over_environment: false,
            values: values.collect(),
        }
    }

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_layer_says_what_nobody_said() {
        let command = command();
        let line = CommandLine::read(&command, words("p -o serve serve --listen a"));
        assert_eq!(line.invoked().get_name(), "serve");
        let values =
            |values: &[&str]| Given::Values(values.iter().map(ToString::to_string).collect());
        let upper = layer(&[("listen", values(&["b"])), ("host", values(&["x", "-y"]))]);
        let lower = layer(&[
            ("host", values(&["z"])),
            ("proxy", Given::Switch(true)),
            ("other", values(&["1"])),
        ]);
        let all = line.with(&[upper, lower]);
        let expected = words("p -o serve serve --listen a --host=x --host=-y --proxy");
        assert_eq!(all, expected);
    }

    #[test]
    fn a_value_is_no_command_and_no_flag() {
        let command = command();
        let line = CommandLine::read(&command, words("p --url serve -ojson"));
        assert_eq!(line.invoked().get_name(), "p");
        assert_eq!(
            line.flagged("url"),
            Some(Given::Values(vec!["serve".into()]))
        );
        assert_eq!(
            line.flagged("output"),
            Some(Given::Values(vec!["json".into()]))
        );
        assert!(!line.says("listen"));
    }
}
