//! Each setting with its value and who said it, for people who wonder. Secrets are masked.

use super::Layer;
use super::command_line::{CommandLine, variable};
use super::keys::{Keys, default};
use clap::Arg;
use serde_json::{Value, json};
use std::fmt;

/// One setting as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    /// None where nothing was said and nothing holds by itself.
    pub value: Option<String>,
    pub origin: Origin,
}

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// A variable of the environment, by its name.
    Environment(String),
    /// A context or a file.
    Layer(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Layer(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Settings whose value is nobody else's business.
const SECRETS: [&str; 1] = ["token"];

impl Keys {
    /// What holds for each, in the order of the keys.
    pub fn told(&self, line: &CommandLine<'_>, layers: &[Layer]) -> Vec<Setting> {
        let keys = self.arguments().iter();
        keys.map(|argument| setting(argument, line, layers))
            .collect()
    }
}

impl Setting {
    pub fn is_default(&self) -> bool {
        self.origin == Origin::Default
    }

    pub fn to_json(&self) -> Value {
        json!({"key": self.key, "value": self.value, "origin": self.origin.to_string()})
    }
}

fn setting(argument: &Arg, line: &CommandLine<'_>, layers: &[Layer]) -> Setting {
    let key = argument.get_long().unwrap_or_default().to_owned();
    let (value, origin) = said(argument, &key, line, layers);
    let value = value.map(|value| match SECRETS.contains(&key.as_str()) {
        true => "***".to_owned(),
        false => without_password(&value),
    });
    Setting { key, value, origin }
}

fn said(
    argument: &Arg,
    key: &str,
    line: &CommandLine<'_>,
    layers: &[Layer],
) -> (Option<String>, Origin) {
    if let Some(given) = line.flagged(key) {
        return (Some(given.text()), Origin::Flag);
    }
    let of = |layer: &Layer| {
        let given = layer.given(key)?;
        Some((Some(given.text()), Origin::Layer(layer.name.clone())))
    };
    let mut strongest = layers.iter().filter(|layer| layer.over_environment);
    if let Some(found) = strongest.find_map(of) {
        return found;
    }
    if let Some((name, value)) = variable(argument) {
        let origin = Origin::Environment(name.to_string_lossy().into_owned());
        return (Some(value.to_string_lossy().into_owned()), origin);
    }
    let found = layers.iter().find_map(of);
    found.unwrap_or_else(|| (default(argument), Origin::Default))
}

/// `nats://user:secret@host` without the secret.
fn without_password(text: &str) -> String {
    let masked = |url: &str| -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        let (user, host) = rest.split_once('@')?;
        let (name, _) = user.split_once(':').unwrap_or(("", user));
        Some(format!("{scheme}://{name}:***@{host}"))
    };
    let urls = text
        .split(',')
        .map(|url| masked(url).unwrap_or_else(|| url.to_owned()));
    urls.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::Given;
    use super::*;
    use clap::{ArgAction, Command};

    #[test]
    fn each_says_where_it_came_from_and_secrets_do_not_show() {
        let command = Command::new("p")
            .arg(Arg::new("token").long("token"))
            .arg(Arg::new("url").long("url"))
            .arg(
                Arg::new("kept")
                    .long("kept")
                    .help("How long [default: 30d]"),
            )
            .arg(Arg::new("off").long("off").action(ArgAction::SetTrue));
        let keys = Keys::of([&command], &[]);
        let words = ["p", "--token", "cor_secret"].map(Into::into);
        let line = CommandLine::read(&command, words.into());
        let layer = Layer {
            name: "a.toml".to_owned(),
            over_environment: false,
            values: vec![(
                "url".to_owned(),
                Given::Values(vec!["nats://u:pw@h:1,nats://t@i".to_owned()]),
            )],
        };
        let told = keys.told(&line, &[layer]);
        let lines: Vec<String> = told
            .iter()
            .map(|s| {
                format!(
                    "{} {} {}",
                    s.key,
                    s.value.as_deref().unwrap_or("-"),
                    s.origin
                )
            })
            .collect();
        let expected = [
            "token *** flag",
            "url nats://u:***@h:1,nats://:***@i a.toml",
            "kept 30d default",
            "off false default",
        ];
        assert_eq!(lines, expected);
    }
}
