//! `script.json`: what a script is called, which file runs, what it takes and returns, what it demands.
//! Holds no content: the folder with its files is `bundle`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::absent;
use crate::attempts::Attempts;
use crate::check::{CompiledSchema, SchemaRejected};
use crate::demands::Demands;
use crate::document::{self, DocumentError};
use crate::file_path::FilePath;
use crate::name::Name;
use crate::text::InvalidName;
use crate::timeout::Timeout;

/// The name of the document inside a script's folder.
pub const SCRIPT_JSON: &str = "script.json";

/// A script as people write it down. Fields that say nothing are left out when written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "script.json")]
pub struct ScriptDocument {
    /// Its unique name, the same as its folder's.
    pub name: Name,
    /// What it does, for people and agents.
    pub description: String,
    /// The file to run, relative to the script's folder, as `send-notification.py`.
    pub script_file: FilePath,
    /// JSON Schema (2020-12 or draft-07) of its parameters, which become its arguments.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema_of_a_schema")]
    pub parameters_schema: Option<Value>,
    /// JSON Schema of what it prints.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema_of_a_schema")]
    pub output_schema: Option<Value>,
    /// What it demands of the runner, as the tag `uv`.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "Demands::is_empty"
    )]
    pub demands: Demands,
    /// How long a run of it may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<Timeout>,
    /// Whether a run that was lost may be started again.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub idempotent: bool,
    /// How often in all a lost run of it is begun, where it is `idempotent`; 3 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<Attempts>,
}

/// Why a script that can be read is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptRejection {
    /// The document itself cannot be what runs.
    #[error("script_file must not be {SCRIPT_JSON}: name the file that is to run")]
    RunsItsOwnDocument,
    /// A schema that is none, or that costs too much to check.
    #[error("{field} is refused")]
    Schema {
        /// The field, as it stands in the document.
        field: &'static str,
        /// Where and why.
        #[source]
        cause: SchemaRejected,
    },
    /// More than one attempt at what must not be repeated.
    #[error(
        "max_attempts is only for scripts that say \"idempotent\": true, since only they may be started again"
    )]
    AttemptsWithoutIdempotent,
    /// A tag that only the system makes.
    #[error("demands.tags are refused")]
    ReservedTag(#[source] InvalidName),
}

impl ScriptDocument {
    /// Reads `script.json`.
    ///
    /// # Errors
    /// When it is not JSON, a field is missing or not as it should be, or a key stands twice.
    pub fn from_json(json: &[u8]) -> Result<Self, DocumentError> {
        document::from_json(SCRIPT_JSON, json)
    }

    /// Takes it from a JSON value, as from a request's body.
    ///
    /// # Errors
    /// When a field is missing or not as it should be.
    pub fn from_value(value: Value) -> Result<Self, DocumentError> {
        document::from_value(SCRIPT_JSON, value)
    }

    /// Its one canonical spelling: two spaces, fields in the order above, one newline at the end.
    pub fn to_json(&self) -> String {
        document::pretty(self)
    }

    /// The rules that one field alone cannot break.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), ScriptRejection> {
        if self.script_file.as_str() == SCRIPT_JSON {
            return Err(ScriptRejection::RunsItsOwnDocument);
        }
        if self.max_attempts.is_some() && !self.idempotent {
            return Err(ScriptRejection::AttemptsWithoutIdempotent);
        }
        check_schema("parameters_schema", self.parameters_schema.as_ref())?;
        check_schema("output_schema", self.output_schema.as_ref())?;
        self.demands
            .check_user()
            .map_err(ScriptRejection::ReservedTag)
    }
}

fn check_schema(field: &'static str, schema: Option<&Value>) -> Result<(), ScriptRejection> {
    match schema.map(CompiledSchema::compile) {
        Some(Err(cause)) => Err(ScriptRejection::Schema { field, cause }),
        Some(Ok(_)) | None => Ok(()),
    }
}

pub(crate) fn schema_of_a_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["object", "null"] })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn send_notification() -> Value {
        json!({
            "name": "send-notification",
            "description": "Send a notification to a specified channel",
            "script_file": "send-notification.py",
            "parameters_schema": {
                "type": "object",
                "required": ["message", "channel"],
                "properties": { "message": { "type": "string" }, "channel": { "type": "string" } },
            },
            "demands": { "tags": ["uv"] },
        })
    }

    #[test]
    fn reads_the_seeds_example_and_writes_it_back() {
        let script = ScriptDocument::from_value(send_notification()).unwrap();
        script.check().unwrap();
        assert!(!script.idempotent);
        assert_eq!(serde_json::to_value(&script).unwrap(), send_notification());
        assert_eq!(
            ScriptDocument::from_json(script.to_json().as_bytes()).unwrap(),
            script
        );
        insta::assert_snapshot!(script.to_json());
    }

    #[rstest]
    #[case("name", json!("a/b"), "$.name")]
    #[case("script_file", json!("../run.sh"), "$.script_file")]
    #[case("demands", json!({"tags": ["ok", "not ok"]}), "$.demands.tags[1]")]
    #[case("timeout_seconds", json!("5m"), "$.timeout_seconds")]
    #[case("idempotent", json!("yes"), "$.idempotent")]
    #[case("max_attempts", json!(0), "$.max_attempts")]
    fn says_where_a_field_is_wrong(#[case] field: &str, #[case] value: Value, #[case] path: &str) {
        let mut document = send_notification();
        document[field] = value;
        assert_eq!(ScriptDocument::from_value(document).unwrap_err().path, path);
    }

    #[rstest]
    #[case("name")]
    #[case("description")]
    #[case("script_file")]
    fn names_a_field_that_is_missing(#[case] field: &str) {
        let mut document = send_notification();
        document.as_object_mut().unwrap().remove(field);
        let error = ScriptDocument::from_value(document)
            .unwrap_err()
            .to_string();
        assert!(error.contains(field), "{error}");
    }

    #[rstest]
    #[case("script_file", json!("script.json"), "script_file")]
    #[case("demands", json!({"tags": ["type:procedural"]}), "demands.tags")]
    #[case("parameters_schema", json!({"type": "objekt"}), "parameters_schema is refused")]
    #[case("output_schema", json!({"$ref": "http://x"}), "output_schema is refused")]
    fn refuses_what_cannot_be(#[case] field: &str, #[case] value: Value, #[case] message: &str) {
        let mut document = send_notification();
        document[field] = value;
        let error = ScriptDocument::from_value(document)
            .unwrap()
            .check()
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn attempts_are_for_what_may_be_repeated() {
        let mut document = send_notification();
        document["max_attempts"] = json!(5);
        let refused = ScriptDocument::from_value(document.clone())
            .unwrap()
            .check();
        assert_eq!(refused, Err(ScriptRejection::AttemptsWithoutIdempotent));
        document["idempotent"] = json!(true);
        let script = ScriptDocument::from_value(document).unwrap();
        assert_eq!(script.check(), Ok(()));
        assert_eq!(script.max_attempts.map(Attempts::count), Some(5));
    }
}
