//! Why a schema is refused, as clients are told. Raises nothing itself.

use std::fmt;

use serde::Serialize;

/// A JSON Schema that is refused, and where in it the reason stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct SchemaRejected {
    /// The place as a JSON pointer into the schema, as `#/properties/channel`; `#` is the whole.
    pub pointer: String,
    /// The rule that is broken.
    pub rule: SchemaRule,
    /// What is wrong there and what to do.
    pub message: String,
}

/// The rules a schema must keep, beyond being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaRule {
    /// It is a JSON object.
    Object,
    /// It is small enough when written.
    Size,
    /// It is not nested too deep.
    Depth,
    /// It has few enough subschemas.
    Subschemas,
    /// Checking one value takes few enough steps.
    Branches,
    /// Its `$schema` is one we know.
    Draft,
    /// It keeps the rules of its draft.
    Valid,
    /// Its references stay inside it, lead to a schema, and come to an end.
    Reference,
    /// It uses no keyword that would let it change what its references mean.
    Keyword,
    /// Its patterns are few, short and small.
    Pattern,
    /// It is compiled in time.
    Time,
}

impl SchemaRejected {
    pub(super) fn new(pointer: &str, rule: SchemaRule, message: impl Into<String>) -> Self {
        Self {
            pointer: format!("#{pointer}"),
            rule,
            message: message.into(),
        }
    }
}

impl fmt::Display for SchemaRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the schema is refused at {}: {}",
            self.pointer, self.message
        )
    }
}
