//! How large parameters may be. Looks at nothing else in them.

use serde_json::{Map, Value};

/// The largest parameters when written without spaces. They travel in one event.
pub const MAX_PARAMETERS_BYTES: usize = 256 * 1024;
/// Deeper nesting costs stack in every reader, the script's too.
pub const MAX_PARAMETERS_DEPTH: usize = 64;

/// Parameters that are refused before anyone looks at their schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParametersRefused {
    /// Nested too deep.
    #[error("the parameters are nested deeper than {MAX_PARAMETERS_DEPTH}")]
    TooDeep,
    /// Too large.
    #[error(
        "the parameters are larger than {MAX_PARAMETERS_BYTES} bytes, defaults included; \
         put the content into a file and pass its path"
    )]
    TooLarge,
}

/// Refuses parameters over the limits.
///
/// # Errors
/// The limit they exceed.
pub fn bound(parameters: &Map<String, Value>) -> Result<(), ParametersRefused> {
    if parameters
        .values()
        .any(|value| is_deeper_than(value, MAX_PARAMETERS_DEPTH - 1))
    {
        return Err(ParametersRefused::TooDeep);
    }
    if size(parameters) > MAX_PARAMETERS_BYTES {
        return Err(ParametersRefused::TooLarge);
    }
    Ok(())
}

/// The size of parameters when written without spaces.
pub(super) fn size(parameters: &Map<String, Value>) -> usize {
    let entries = parameters.iter().map(|(key, value)| entry_size(key, value));
    "{}".len() + entries.sum::<usize>().saturating_sub(",".len())
}

/// What one more entry adds, its comma included.
pub(super) fn entry_size(key: &str, value: &Value) -> usize {
    Value::from(key).to_string().len() + value.to_string().len() + ":,".len()
}

fn is_deeper_than(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => true,
        Value::Array(items) => items.iter().any(|item| is_deeper_than(item, depth - 1)),
        Value::Object(fields) => fields.values().any(|item| is_deeper_than(item, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn bounds_size_and_depth() {
        let sized = |size: usize| object(&json!({ "a": "x".repeat(size - 8) }));
        assert_eq!(bound(&sized(MAX_PARAMETERS_BYTES)), Ok(()));
        assert_eq!(
            bound(&sized(MAX_PARAMETERS_BYTES + 1)),
            Err(ParametersRefused::TooLarge)
        );
        let deep =
            |depth: usize| object(&(0..depth).fold(json!(1), |inner, _| json!({ "a": inner })));
        assert_eq!(bound(&deep(MAX_PARAMETERS_DEPTH)), Ok(()));
        assert_eq!(
            bound(&deep(MAX_PARAMETERS_DEPTH + 1)),
            Err(ParametersRefused::TooDeep)
        );
    }
}
