//! The JSON Schemas of the documents, for editors and other tools. Made from the types; the rules that
//! span several fields are not in them, so what they accept may still be refused.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::agent::AgentDocument;
use crate::capability::CapabilityDocument;
use crate::script::ScriptDocument;

/// The JSON Schema (2020-12) of `script.json`.
pub fn script_schema() -> Value {
    schema_of::<ScriptDocument>()
}

/// The JSON Schema (2020-12) of `agent.json`.
pub fn agent_schema() -> Value {
    schema_of::<AgentDocument>()
}

/// The JSON Schema (2020-12) of `capability.json`.
pub fn capability_schema() -> Value {
    schema_of::<CapabilityDocument>()
}

fn schema_of<T: schemars::JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::check::CompiledSchema;

    /// The files beside this crate's `Cargo.toml` are what the types say now; `UPDATE=1` writes them.
    #[rstest]
    #[case("script.schema.json", script_schema())]
    #[case("agent.schema.json", agent_schema())]
    #[case("capability.schema.json", capability_schema())]
    fn the_published_files_are_up_to_date(#[case] file: &str, #[case] schema: Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == generated,
            "{file} is out of date: run this test with UPDATE=1"
        );
    }

    fn violations(schema: &Value, document: &Value) -> Vec<String> {
        let found = CompiledSchema::compile(schema)
            .unwrap()
            .validate(document, 10);
        found.into_iter().map(|violation| violation.path).collect()
    }

    #[test]
    fn the_seeds_script_is_valid() {
        let script = json!({
            "name": "send-notification",
            "description": "Send a notification to a specified channel",
            "script_file": "send-notification.py",
            "parameters_schema": { "type": "object", "required": ["message", "channel"] },
            "demands": { "tags": ["uv"] },
        });
        assert!(violations(&script_schema(), &script).is_empty());
        let wrong = json!({ "name": "a b", "description": 1, "demands": { "tags": [""] } });
        let expected = ["$", "$.name", "$.description", "$.demands.tags[0]"];
        let mut found = violations(&script_schema(), &wrong);
        found.dedup();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_seeds_agent_is_valid() {
        let agent = json!({
            "name": "notifier",
            "type": "procedural",
            "description": "Send notifications to various channels",
            "script": "send-notification",
            "demands": { "tags": ["messaging-team"] },
            "hooks": { "on_run_start": { "type": "agent", "agent_name": "gate" } },
        });
        assert!(violations(&agent_schema(), &agent).is_empty());
        let wrong = json!({ "name": "a", "description": "", "type": "manual" });
        assert_eq!(violations(&agent_schema(), &wrong), ["$.type"]);
    }

    #[test]
    fn the_seeds_capability_is_valid() {
        let capability = json!({
            "name": "json-validation",
            "description": "Validate JSON files locally",
            "script": "json_checker",
        });
        assert!(violations(&capability_schema(), &capability).is_empty());
        let wrong = json!({ "name": "a", "description": "", "type": "skill" });
        assert_eq!(violations(&capability_schema(), &wrong), ["$.type"]);
    }
}
