//! How a document says "nothing here": a missing field, `null`, `""`, `{}` and `[]` all mean it, since
//! existing clients send each of them. For `deserialize_with`; holds no rule about any one field.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `null` is the type's default.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `null` and `""` are nothing; any other text must parse.
pub fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String>,
    T::Error: std::fmt::Display,
{
    let text: Option<String> = Option::deserialize(deserializer)?;
    let given = text.filter(|text| !text.is_empty());
    given
        .map(T::try_from)
        .transpose()
        .map_err(serde::de::Error::custom)
}

/// `null`, `""`, `{}` and `[]` are nothing; any other value stays as it is.
pub fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let value: Option<Value> = Option::deserialize(deserializer)?;
    Ok(value.filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }))
}
