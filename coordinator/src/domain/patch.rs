//! A partial change of a document: which fields it touches, and how they merge into the document
//! as it stands. Knows no document's rules: the merged whole is read and checked like a new one.

use schemas::DocumentError;
use serde_json::{Map, Value};

/// The fields of a `PATCH` body. Absent fields and `null` keep what is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(Map<String, Value>);

impl Patch {
    /// Takes the body of a request.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn from_value(body: Value) -> Result<Self, DocumentError> {
        match body {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(DocumentError {
                document: "patch",
                path: "$".to_owned(),
                message: "a patch is a JSON object with the fields to change".to_owned(),
            }),
        }
    }

    /// Takes one field out, if it is there and says something.
    pub fn take_text(&mut self, field: &str) -> Option<String> {
        match self.0.shift_remove(field) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// `document` with the fields of the patch that are among `known`. An empty string, `{}` and
    /// `[]` clear a field, except a field of `texts`, which may be an empty text.
    pub fn merged_into(&self, document: Value, known: &[&str], texts: &[&str]) -> Value {
        let Value::Object(mut fields) = document else {
            return document;
        };
        for (field, value) in &self.0 {
            let touched = known.contains(&field.as_str()) && !value.is_null();
            match (touched, is_empty(value) && !texts.contains(&field.as_str())) {
                (false, _) => {}
                (true, true) => drop(fields.shift_remove(field)),
                (true, false) => drop(fields.insert(field.clone(), value.clone())),
            }
        }
        Value::Object(fields)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
