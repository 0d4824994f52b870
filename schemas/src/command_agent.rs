//! An agent that a runner owns: a command on the runner's host instead of a script. Read from a file
//! there, and announced as it stands. Where the program is, and who else has the name, is not known here.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::absent;
use crate::agent::{AGENT_JSON, AgentRejection, check_schema};
use crate::digest::Digest;
use crate::document::{self, DocumentError};
use crate::name::{Name, Tag};
use crate::text::shown;
use crate::timeout::Timeout;

/// What a runner executes by itself, without the coordinator's script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandAgent {
    /// Its name, unique among the agents of all runners and of the coordinator.
    pub name: Name,
    /// What it does, for people and other agents.
    #[serde(default, deserialize_with = "absent::null_as_default")]
    pub description: String,
    /// The program and its first arguments; those made of the parameters follow.
    pub command: CommandLine,
    /// JSON Schema of its parameters.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    pub parameters_schema: Option<Value>,
    /// JSON Schema of its result.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    pub output_schema: Option<Value>,
    /// Tags to find it by; they demand nothing.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tags: Vec<Tag>,
    /// How long a run of it may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<Timeout>,
}

/// What its file may say; `type` can only be `procedural`.
const FIELDS: [&str; 8] = [
    "name",
    "description",
    "type",
    "command",
    "parameters_schema",
    "output_schema",
    "tags",
    "timeout_seconds",
];

impl CommandAgent {
    /// Reads the file. A field that it would not use is refused: nobody would notice that it says
    /// nothing.
    ///
    /// # Errors
    /// When it is not JSON, a field is missing, unknown or not as it should be, or a key stands twice.
    pub fn from_json(json: &[u8]) -> Result<Self, DocumentError> {
        let mut value = document::value_from_json(AGENT_JSON, json)?;
        let wrong = |path: String, message: String| DocumentError {
            document: AGENT_JSON,
            path,
            message,
        };
        if let Value::Object(fields) = &mut value {
            if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
                let message = format!(
                    "an agent of a runner has no such field; it has {}",
                    FIELDS.join(", ")
                );
                return Err(wrong(format!("$.{}", shown(unknown)), message));
            }
            let kind = fields.shift_remove("type");
            if kind.is_some_and(|kind| kind != "procedural" && !kind.is_null()) {
                let message = "a command makes an agent procedural; leave the type out".to_owned();
                return Err(wrong("$.type".to_owned(), message));
            }
        }
        document::from_value(AGENT_JSON, value)
    }

    /// The rules that its fields alone cannot break.
    ///
    /// # Errors
    /// When a schema is none, or costs too much to check.
    pub fn check(&self) -> Result<(), AgentRejection> {
        check_schema("parameters_schema", self.parameters_schema.as_ref())?;
        check_schema("output_schema", self.output_schema.as_ref())
    }

    /// Of the whole definition: what a run pins.
    pub fn digest(&self) -> Digest {
        let json = serde_json::to_vec(self);
        Digest::of(&json.expect("a document is a struct with text keys, which serialises"))
    }
}

/// A program and its arguments; no shell reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CommandLine(Vec<String>);

/// Words that are no command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// There is nothing to start.
    #[error("a command names a program; it is empty")]
    Empty,
    /// No argument of a process can hold it.
    #[error("a command holds no NUL")]
    Nul,
    /// It would be read in one of several ways.
    #[error(
        "a command in one string is split at white space and never reaches a shell; \
         write it as an array, one string per argument"
    )]
    Quoted,
}

/// What a shell would read in a way of its own.
const SHELLS: [char; 12] = ['\'', '"', '\\', '$', '`', '|', '&', ';', '<', '>', '(', ')'];

impl CommandLine {
    /// # Errors
    /// When there is no program, or a word holds what no argument can.
    pub fn new(words: Vec<String>) -> Result<Self, InvalidCommand> {
        if words.first().is_none_or(String::is_empty) {
            return Err(InvalidCommand::Empty);
        }
        match words.iter().any(|word| word.contains('\0')) {
            true => Err(InvalidCommand::Nul),
            false => Ok(Self(words)),
        }
    }

    /// Words in one string, split at white space.
    ///
    /// # Errors
    /// When it holds what a shell would not take as it stands.
    pub fn split(text: &str) -> Result<Self, InvalidCommand> {
        if text.contains(SHELLS) {
            return Err(InvalidCommand::Quoted);
        }
        Self::new(text.split_whitespace().map(str::to_owned).collect())
    }

    pub fn program(&self) -> &str {
        &self.0[0]
    }

    pub fn arguments(&self) -> &[String] {
        &self.0[1..]
    }
}

/// As one would type it.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { " " };
            let odd = word.contains(SHELLS) || word.contains(char::is_whitespace);
            match odd || word.is_empty() {
                false => write!(f, "{before}{word}")?,
                true => write!(f, "{before}'{}'", word.replace('\'', r"'\''"))?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = CommandLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a program with its arguments, as an array of strings or as one string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<CommandLine, E> {
        CommandLine::split(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<CommandLine, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element()? {
            words.push(word);
        }
        CommandLine::new(words).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(document: &Value) -> Result<CommandAgent, DocumentError> {
        CommandAgent::from_json(document.to_string().as_bytes())
    }

    #[test]
    fn a_name_and_a_command_are_enough() {
        let agent = read(&json!({"name": "backup", "command": "./backup.sh --all"})).unwrap();
        agent.check().unwrap();
        assert_eq!(agent.command.program(), "./backup.sh");
        assert_eq!(agent.command.arguments(), ["--all"]);
        let whole =
            json!({"name": "backup", "description": "", "command": ["./backup.sh", "--all"]});
        assert_eq!(serde_json::to_value(&agent).unwrap(), whole);
        assert_eq!(read(&whole).unwrap().digest(), agent.digest());
    }

    #[test]
    fn whatever_decides_how_it_runs_changes_its_digest() {
        let plain = json!({"name": "backup", "command": ["tar"]});
        let changes = [
            ("command", json!(["tar", "-c"])),
            ("parameters_schema", json!({"type": "object"})),
            ("output_schema", json!({"type": "string"})),
            ("timeout_seconds", json!(3)),
        ];
        for (field, value) in changes {
            let mut changed = plain.clone();
            changed[field] = value;
            assert_ne!(
                read(&changed).unwrap().digest(),
                read(&plain).unwrap().digest()
            );
        }
    }

    #[rstest]
    #[case(json!({"command": "tar"}), "$", "name")]
    #[case(json!({"name": "a"}), "$", "command")]
    #[case(json!({"name": "a", "command": ""}), "$.command", "empty")]
    #[case(json!({"name": "a", "command": []}), "$.command", "empty")]
    #[case(json!({"name": "a", "command": [""]}), "$.command", "empty")]
    #[case(json!({"name": "a", "command": ["a\0"]}), "$.command", "NUL")]
    #[case(json!({"name": "a", "command": "echo 'a b'"}), "$.command", "as an array")]
    #[case(json!({"name": "a", "command": "a | b"}), "$.command", "as an array")]
    #[case(json!({"name": "a", "command": 7}), "$.command", "array of strings")]
    #[case(json!({"name": "a", "command": "tar", "script": "b"}), "$.script", "it has name")]
    #[case(json!({"name": "a", "command": "tar", "type": "autonomous"}), "$.type", "procedural")]
    fn says_what_is_wrong(#[case] document: Value, #[case] path: &str, #[case] message: &str) {
        let error = read(&document).unwrap_err();
        assert!(
            error.path.replace('"', "") == path && error.message.contains(message),
            "{error}"
        );
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let agent = json!({"name": "a", "command": "tar", "parameters_schema": {"type": "moon"}});
        let error = read(&agent).unwrap().check().unwrap_err().to_string();
        assert!(error.contains("parameters_schema"), "{error}");
    }

    #[rstest]
    #[case(json!(["tar", "-c", "a b"]), "tar -c 'a b'")]
    #[case(json!(["echo", "it's", ""]), r"echo 'it'\''s' ''")]
    #[case(json!("tar  -c x"), "tar -c x")]
    fn is_shown_as_one_would_type_it(#[case] command: Value, #[case] typed: &str) {
        let command: CommandLine = serde_json::from_value(command).unwrap();
        assert_eq!(command.to_string(), typed);
    }
}
