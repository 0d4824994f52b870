//! Which settings there are: the long flags of some commands, and their JSON Schema.

use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value, json};
use std::any::TypeId;

/// What may stand in a settings file, in the order of the help.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Arg>);

impl Keys {
    /// The flags of these commands but for those named; one that several have counts once.
    pub fn of<'a>(commands: impl IntoIterator<Item = &'a Command>, never: &[&str]) -> Self {
        let mut keys: Vec<Arg> = Vec::new();
        let arguments = commands.into_iter().flat_map(Command::get_arguments);
        for argument in arguments {
            let Some(key) = argument.get_long().filter(|key| !never.contains(key)) else {
                continue;
            };
            let is_known = keys.iter().any(|known| known.get_long() == Some(key));
            if !is_known && !is_of_clap(argument) {
                keys.push(argument.clone());
            }
        }
        Self(keys)
    }

    pub fn find(&self, key: &str) -> Option<&Arg> {
        self.0.iter().find(|known| known.get_long() == Some(key))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Arg::get_long)
    }

    pub fn arguments(&self) -> &[Arg] {
        &self.0
    }

    /// The name that was most likely meant.
    pub fn nearest(&self, typed: &str) -> Option<&str> {
        let typed = typed.replace('_', "-");
        let scored = self
            .names()
            .map(|name| (strsim::jaro_winkler(&typed, name), name));
        let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
        best.filter(|(score, _)| *score >= ALIKE)
            .map(|(_, name)| name)
    }

    /// A JSON Schema (2020-12) of the file.
    pub fn schema(&self, title: &str) -> Value {
        let properties: Map<String, Value> = self
            .0
            .iter()
            .map(|key| (key.get_long().unwrap_or_default().to_owned(), property(key)))
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

/// What clap itself calls alike, too.
const ALIKE: f64 = 0.7;

fn is_of_clap(argument: &Arg) -> bool {
    let action = argument.get_action();
    matches!(
        action,
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// Whether it is on or off.
pub(super) fn is_switch(argument: &Arg) -> bool {
    matches!(
        argument.get_action(),
        ArgAction::SetTrue | ArgAction::SetFalse
    )
}

pub(super) fn takes_many(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// What holds where nobody says anything: the parser's default, or what the help says of it.
pub(super) fn default(argument: &Arg) -> Option<String> {
    if is_switch(argument) {
        return Some(false.to_string());
    }
    let defaults = argument.get_default_values();
    if !defaults.is_empty() {
        let texts = defaults.iter().map(|value| value.to_string_lossy());
        return Some(texts.collect::<Vec<_>>().join(","));
    }
    let help = argument.get_help()?.to_string();
    let (_, told) = help.rsplit_once("[default: ")?;
    Some(told.split(']').next().unwrap_or(told).to_owned())
}

fn property(argument: &Arg) -> Value {
    let one = if is_switch(argument) {
        json!({"type": "boolean"})
    } else if is_integer(argument) {
        json!({"type": "integer", "minimum": 0})
    } else {
        let choices = argument.get_possible_values();
        match choices.is_empty() {
            true => json!({"type": "string"}),
            false => {
                let names = choices.iter().map(|choice| choice.get_name().to_owned());
                json!({"type": "string", "enum": names.collect::<Vec<_>>()})
            }
        }
    };
    let mut property = match takes_many(argument) {
        true => json!({"type": "array", "items": one}),
        false => one,
    };
    if let Some(help) = argument.get_help() {
        property["description"] = json!(help.to_string());
    }
    if let Some(env) = argument.get_env() {
        property["x-environment"] = json!(env.to_string_lossy());
    }
    if let Some(default) = default(argument) {
        property["x-default"] = json!(default);
    }
    property
}

fn is_integer(argument: &Arg) -> bool {
    let id = argument.get_value_parser().type_id();
    let integers = [
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ];
    // Sizes are numbers with a unit, parsed by functions of their own.
    let plain = argument.get_value_names().is_none_or(|names| {
        let unit = |name: &str| matches!(name, "SIZE" | "TIME" | "BYTES");
        !names.iter().any(|name| unit(name.as_str()))
    });
    plain && integers.iter().any(|integer| id == *integer)
}
