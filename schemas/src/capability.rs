//! `capability.json`: something that autonomous agents can be given: a script they may start, MCP
//! servers they may use, or a text they are told. Does not know whether its script exists, nor which
//! agents have it: that is the coordinator's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::absent;
use crate::document::{self, DocumentError};
use crate::name::Name;

/// The name of the document inside a capability's folder.
pub const CAPABILITY_JSON: &str = "capability.json";

/// A capability as people write it down. Fields that say nothing are left out when written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written")]
pub struct CapabilityDocument {
    /// Its unique name, the same as its folder's.
    pub name: Name,
    /// What it is good for, for people.
    pub description: String,
    /// What it mainly gives.
    #[serde(rename = "type")]
    pub kind: CapabilityKind,
    /// The script that agents start on their own host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Name>,
    /// What agents are told, beside anything else it gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The MCP servers agents use, by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub mcp_servers: Map<String, Value>,
}

/// `capability.json` before its type is known.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "capability.json")]
struct Written {
    /// Its unique name, the same as its folder's.
    name: Name,
    /// What it is good for, for people.
    description: String,
    /// What it mainly gives; by default a script where one is named, else MCP servers where there are
    /// any, else a text.
    #[serde(rename = "type", default)]
    kind: Option<CapabilityKind>,
    /// The script that agents start on their own host.
    #[serde(default, deserialize_with = "absent::text")]
    script: Option<Name>,
    /// What agents are told, beside anything else it gives.
    #[serde(default, deserialize_with = "absent::text")]
    text: Option<String>,
    /// The MCP servers agents use, by name.
    #[serde(default, deserialize_with = "absent::null_as_default")]
    mcp_servers: Map<String, Value>,
}

/// What a capability mainly gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CapabilityKind {
    /// A script to start.
    Script,
    /// MCP servers to use.
    Mcp,
    /// A text to know.
    Text,
}

/// Why a capability that can be read is refused all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityRejection {
    /// There is nothing in it.
    #[error("a capability gives something: name a script, write a text, or list mcp_servers")]
    Empty,
    /// What its type is about is not there.
    #[error("a capability of type {kind} has {field}: write it, or choose another type", kind = .kind.as_str())]
    Missing {
        /// The type it says it is.
        kind: CapabilityKind,
        /// The field, as it stands in the document.
        field: &'static str,
    },
    /// A field of another type.
    #[error(
        "a capability of type {kind} has no {field}: leave it out, or make a second capability of it",
        kind = .kind.as_str()
    )]
    DoesNotFit {
        /// The type it says it is, or that follows from what is there.
        kind: CapabilityKind,
        /// The field, as it stands in the document.
        field: &'static str,
    },
}

impl CapabilityKind {
    /// As it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Mcp => "mcp",
            Self::Text => "text",
        }
    }
}

impl From<Written> for CapabilityDocument {
    fn from(written: Written) -> Self {
        let by_content = match (&written.script, written.mcp_servers.is_empty()) {
            (Some(_), _) => CapabilityKind::Script,
            (None, false) => CapabilityKind::Mcp,
            (None, true) => CapabilityKind::Text,
        };
        Self {
            name: written.name,
            description: written.description,
            kind: written.kind.unwrap_or(by_content),
            script: written.script,
            text: written.text,
            mcp_servers: written.mcp_servers,
        }
    }
}

impl CapabilityDocument {
    /// Reads `capability.json`.
    ///
    /// # Errors
    /// When it is not JSON, a field is missing or not as it should be, or a key stands twice.
    pub fn from_json(json: &[u8]) -> Result<Self, DocumentError> {
        document::from_json(CAPABILITY_JSON, json)
    }

    /// Takes it from a JSON value, as from a request's body.
    ///
    /// # Errors
    /// When a field is missing or not as it should be.
    pub fn from_value(value: Value) -> Result<Self, DocumentError> {
        document::from_value(CAPABILITY_JSON, value)
    }

    /// Its one canonical spelling: two spaces, fields in the order above, one newline at the end.
    pub fn to_json(&self) -> String {
        document::pretty(self)
    }

    /// The rules that one field alone cannot break. A text may explain whatever else there is.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), CapabilityRejection> {
        let kind = self.kind;
        let fields = [
            (CapabilityKind::Script, "script", self.script.is_some()),
            (
                CapabilityKind::Mcp,
                "mcp_servers",
                !self.mcp_servers.is_empty(),
            ),
            (CapabilityKind::Text, "text", self.text.is_some()),
        ];
        if fields.iter().all(|(_, _, given)| !given) {
            return Err(CapabilityRejection::Empty);
        }
        for (owner, field, given) in fields {
            if owner == kind && !given {
                return Err(CapabilityRejection::Missing { kind, field });
            }
            if owner != kind && given && owner != CapabilityKind::Text {
                return Err(CapabilityRejection::DoesNotFit { kind, field });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn with(fields: &Value) -> Result<CapabilityDocument, DocumentError> {
        let mut document =
            json!({ "name": "json-validation", "description": "Validate JSON files locally" });
        let all = document.as_object_mut().unwrap();
        all.extend(fields.as_object().unwrap().clone());
        CapabilityDocument::from_value(document)
    }

    #[test]
    fn reads_the_seeds_example_and_knows_its_type() {
        let capability = with(&json!({ "script": "json_checker" })).unwrap();
        capability.check().unwrap();
        assert_eq!(
            CapabilityDocument::from_json(capability.to_json().as_bytes()).unwrap(),
            capability
        );
        insta::assert_snapshot!(capability.to_json(), @r#"
        {
          "name": "json-validation",
          "description": "Validate JSON files locally",
          "type": "script",
          "script": "json_checker"
        }
        "#);
    }

    #[rstest]
    #[case(json!({ "script": "a", "text": "b" }), CapabilityKind::Script)]
    #[case(json!({ "mcp_servers": { "a": {} }, "text": "b" }), CapabilityKind::Mcp)]
    #[case(json!({ "text": "b", "script": "", "mcp_servers": {} }), CapabilityKind::Text)]
    #[case(json!({ "text": "b", "script": null, "mcp_servers": null, "type": null }), CapabilityKind::Text)]
    #[case(json!({ "text": "b", "type": "text", "created_at": "now" }), CapabilityKind::Text)]
    fn its_type_follows_from_what_is_there(#[case] fields: Value, #[case] kind: CapabilityKind) {
        let capability = with(&fields).unwrap();
        assert_eq!((capability.kind, capability.check()), (kind, Ok(())));
    }

    #[rstest]
    #[case(json!({}), "a capability gives something")]
    #[case(json!({ "type": "text" }), "a capability gives something")]
    #[case(json!({ "type": "mcp", "text": "b" }), "of type mcp has mcp_servers: write it")]
    #[case(json!({ "type": "text", "script": "a", "text": "b" }), "of type text has no script")]
    #[case(json!({ "script": "a", "mcp_servers": { "a": {} } }), "of type script has no mcp_servers")]
    fn refuses_fields_that_do_not_fit(#[case] fields: Value, #[case] message: &str) {
        let error = with(&fields).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[rstest]
    #[case(json!({ "script": "../x" }), "$.script")]
    #[case(json!({ "mcp_servers": ["a"] }), "$.mcp_servers")]
    #[case(json!({ "type": "skill" }), "$.type")]
    fn says_where_a_field_is_wrong(#[case] fields: Value, #[case] path: &str) {
        assert_eq!(with(&fields).unwrap_err().path, path);
    }
}
