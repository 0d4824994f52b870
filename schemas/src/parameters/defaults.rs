//! Fills in what a schema says should be there when nothing was given. Checks nothing: what it fills in
//! is checked with the rest.

use serde_json::{Map, Value};

use super::bounds::{MAX_PARAMETERS_BYTES, ParametersRefused, entry_size, size};
use super::properties::Part;

/// The parameters with the schema's defaults for properties that are absent, also inside objects that
/// were given. A `null` was given. A default is taken as it is: nothing is filled into it in turn.
///
/// # Errors
/// When the parameters become too large by it.
pub fn with_defaults(
    schema: Option<&Value>,
    mut parameters: Map<String, Value>,
) -> Result<Map<String, Value>, ParametersRefused> {
    if let Some(schema) = schema {
        let mut left = MAX_PARAMETERS_BYTES.saturating_sub(size(&parameters));
        fill(Part::whole(schema), &mut parameters, &mut left)?;
    }
    Ok(parameters)
}

fn fill(
    schema: Part<'_>,
    fields: &mut Map<String, Value>,
    left: &mut usize,
) -> Result<(), ParametersRefused> {
    for (name, property) in schema.properties() {
        if let Some(Value::Object(inner)) = fields.get_mut(name) {
            fill(property, inner, left)?;
        } else if !fields.contains_key(name)
            && let Some(default) = property.keyword("default")
        {
            let added = entry_size(name, default);
            *left = left.checked_sub(added).ok_or(ParametersRefused::TooLarge)?;
            fields.insert(name.to_owned(), default.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(schema: &Value, parameters: Value) -> Value {
        let Value::Object(parameters) = parameters else {
            panic!("an object")
        };
        Value::Object(with_defaults(Some(schema), parameters).unwrap())
    }

    #[test]
    fn fills_in_what_is_absent() {
        let schema = json!({ "properties": {
            "priority": { "enum": ["low", "normal"], "default": "normal" },
            "retry": { "properties": { "times": { "default": 3 }, "wait": {} } },
            "plan": { "$ref": "#/$defs/plan" },
            "off": { "default": true },
        }, "$defs": { "plan": { "default": { "a": 1 } } } });
        let given = json!({ "retry": {}, "off": null });
        let expected = json!({
            "retry": { "times": 3 }, "off": null, "priority": "normal", "plan": { "a": 1 },
        });
        assert_eq!(filled(&schema, given), expected);
        assert_eq!(filled(&schema, json!({ "retry": 1 }))["retry"], 1);
    }

    #[test]
    fn defaults_that_lead_into_themselves_come_to_an_end() {
        let schema = json!({ "properties": { "a": { "$ref": "#", "default": {} } } });
        assert_eq!(filled(&schema, json!({})), json!({ "a": {} }));
        assert_eq!(
            filled(&schema, json!({ "a": {} })),
            json!({ "a": { "a": {} } })
        );
    }

    #[test]
    fn defaults_cannot_multiply_without_bound() {
        let schema = json!({ "properties": {
            "a": { "$ref": "#" }, "big": { "default": "x".repeat(60_000) },
        } });
        let deep = (0..60).fold(json!({}), |inner, _| json!({ "a": inner }));
        let Value::Object(deep) = deep else {
            panic!("an object")
        };
        assert_eq!(
            with_defaults(Some(&schema), deep),
            Err(ParametersRefused::TooLarge)
        );
    }
}
