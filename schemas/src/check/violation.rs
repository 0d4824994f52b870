//! What does not fit a schema, as clients are told. Reads the validator's errors; decides nothing.

use jsonschema::ValidationError;
use jsonschema::paths::{Location, LocationSegment};
use serde::{Deserialize, Serialize};

/// Enough to say what is wrong; the validator puts whole values into its messages.
const MAX_MESSAGE_CHARS: usize = 300;

/// One place where a value does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Where in the value, as `$.a.b[0]`; `$` is the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
    /// The rule, as a JSON pointer into the schema, as `/properties/a/type`.
    pub schema_path: String,
}

impl Violation {
    pub(super) fn of(error: &ValidationError<'_>) -> Self {
        Self {
            path: json_path(error.instance_path()),
            message: shortened(&error.to_string()),
            schema_path: error.schema_path().to_string(),
        }
    }

    /// For a value whose faults are too many to be collected.
    pub(super) fn too_many() -> Self {
        let message = "it does not fit in so many ways that listing them would take too long; \
                       try a smaller part of it";
        Self {
            path: "$".to_owned(),
            message: message.to_owned(),
            schema_path: String::new(),
        }
    }
}

/// A path as `$.a["b c"][0]`.
fn json_path(location: &Location) -> String {
    let mut path = String::from("$");
    for segment in location {
        match segment {
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
            LocationSegment::Property(name) => push_key(&mut path, &name),
        }
    }
    path
}

/// Appends one key to a JSON path: `.name`, or `["a name"]` where a dot would not do.
pub(crate) fn push_key(path: &mut String, name: &str) {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) {
        path.push('.');
        path.push_str(name);
    } else {
        path.push_str(&format!("[{}]", serde_json::Value::from(name)));
    }
}

pub(super) fn shortened(message: &str) -> String {
    let mut chars = message.chars();
    let mut short: String = chars.by_ref().take(MAX_MESSAGE_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
