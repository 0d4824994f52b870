//! Reads JSON as people and clients write it: every object key once, and an error that says where.
//! Knows no document: what a script or an agent must hold stands in their own files.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::text::shown;

/// JSON that is not the document it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is not what a {document} holds there: {message}")]
pub struct DocumentError {
    /// What should have been read, as `script.json`.
    pub document: &'static str,
    /// Where the fault is, as `$.demands.tags[1]`; `$` is the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// Reads a document from JSON text. A key that stands twice in one object is refused: readers do not
/// agree on which one counts.
pub(crate) fn from_json<T: DeserializeOwned>(
    document: &'static str,
    json: &[u8],
) -> Result<T, DocumentError> {
    from_value(document, value_from_json(document, json)?)
}

/// How deep any JSON of ours may be nested. Parsers stop at 128, and an event wraps a document or a
/// result in a few levels of its own: what is accepted must stay readable once it is stored.
pub const MAX_JSON_DEPTH: usize = 100;

/// How many arrays and objects stand inside each other; 0 for a plain value.
pub fn depth(value: &Value) -> usize {
    let inside = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inside.unwrap_or(0)
}

/// Reads a document from JSON that was parsed already.
pub(crate) fn from_value<T: DeserializeOwned>(
    document: &'static str,
    value: Value,
) -> Result<T, DocumentError> {
    if depth(&value) > MAX_JSON_DEPTH {
        return Err(DocumentError {
            document,
            path: "$".to_owned(),
            message: format!("it is nested deeper than the {MAX_JSON_DEPTH} levels allowed"),
        });
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "$".to_owned(),
            inner => format!("$.{inner}"),
        };
        DocumentError {
            document,
            path,
            message: error.into_inner().to_string(),
        }
    })
}

/// The canonical spelling of a document.
pub(crate) fn pretty<T: Serialize>(document: &T) -> String {
    let json = serde_json::to_string_pretty(document);
    json.expect("a document is a struct with text keys, which serialises") + "\n"
}

/// Reads any JSON value whose objects have every key once.
///
/// # Errors
/// When the text is not JSON, is nested deeper than 128, or repeats a key.
pub fn value_from_json(document: &'static str, json: &[u8]) -> Result<Value, DocumentError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = UniqueKeys.deserialize(&mut deserializer);
    value
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| DocumentError {
            document,
            path: "$".to_owned(),
            message: told(&error),
        })
}

/// The parser's words; for half a character also what they mean.
fn told(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let is_half = ["unexpected end of hex escape", "lone leading surrogate"]
        .iter()
        .any(|start| words.starts_with(start));
    match is_half {
        true => format!(
            "{words}: an escape from \\ud800 to \\udfff is half of a surrogate pair and no text; \
             write both halves, or the character itself"
        ),
        false => words,
    }
}

/// Builds a `Value`, refusing an object that has a key twice.
struct UniqueKeys;

impl<'de> DeserializeSeed<'de> for UniqueKeys {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(UniqueKeys)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.contains_key(&key) {
                let message = format!("the key {} stands there twice", shown(&key));
                return Err(serde::de::Error::custom(message));
            }
            fields.insert(key, map.next_value_seed(UniqueKeys)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_a_key_that_stands_twice() {
        let error = value_from_json("x", br#"{"a": [{"b": 1, "b": 2}]}"#).unwrap_err();
        assert!(
            error.message.contains("\"b\" stands there twice"),
            "{error}"
        );
    }

    #[test]
    fn refuses_what_is_not_one_json_value() {
        for text in ["", "{", "{} {}", "NaN", "[1,]"] {
            assert!(value_from_json("x", text.as_bytes()).is_err(), "{text}");
        }
        assert!(value_from_json("x", "[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(numbers in any::<(f64, i64, u64)>(), text in any::<String>()) {
            let json = serde_json::json!([numbers, {text.clone(): text}, null, true]).to_string();
            let expected: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value_from_json("x", json.as_bytes()).unwrap(), expected);
        }
    }
}
