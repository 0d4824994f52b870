//! The schemas of what is taken and given. What is given stands once, among the components; what is
//! taken stands where it is taken, because the same type may allow more there than it ever says.

use super::doc::Shape;
use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

const COMPONENTS: &str = "#/components/schemas/";
/// How our types that are shown end.
const VIEW: &str = "View";

pub struct Shapes {
    given: SchemaGenerator,
    taken: SchemaGenerator,
}

impl Shapes {
    pub fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = COMPONENTS.trim_start_matches('#').into();
                settings.meta_schema = None;
            })
        };
        let taken = settings().with(|settings| {
            settings.inline_subschemas = true;
            settings.contract = Contract::Deserialize;
        });
        let given = settings().with(|settings| settings.contract = Contract::Serialize);
        Self {
            given: given.into_generator(),
            taken: taken.into_generator(),
        }
    }

    /// Of an answer.
    pub fn given(&mut self, shape: Shape) -> Value {
        named_plainly(shape(&mut self.given).to_value())
    }

    /// Of a part of a request.
    pub fn taken(&mut self, shape: Shape) -> Value {
        shape(&mut self.taken).to_value()
    }

    /// Of a body whose name may stand in the path alone.
    pub fn named(&mut self, shape: Shape) -> Value {
        let mut schema = self.taken(shape);
        if let Some(required) = schema["required"].as_array_mut() {
            required.retain(|field| field != "name");
        }
        schema
    }

    /// Of a body with any of the fields.
    pub fn patch(&mut self, shape: Shape) -> Value {
        let mut schema = self.taken(shape);
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("required");
        }
        let fields = schema["properties"].as_object_mut();
        for field in fields.into_iter().flat_map(Map::values_mut) {
            *field = json!({"anyOf": [field.take(), {"type": "null"}]});
        }
        schema
    }

    /// The fields of a type as parameters.
    pub fn query(&mut self, shape: Shape) -> Vec<Value> {
        let mut schema = self.taken(shape);
        let required = schema["required"].take();
        let is_required = |name: &str| {
            required
                .as_array()
                .is_some_and(|all| all.contains(&name.into()))
        };
        let fields = schema["properties"].as_object_mut().map(std::mem::take);
        let fields = fields.into_iter().flatten();
        fields
            .map(|(name, mut schema)| {
                without_null(&mut schema);
                let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
                let mut parameter = json!({"name": name, "in": "query", "required": is_required(&name), "schema": schema});
                if let Some(about) = about {
                    parameter["description"] = about;
                }
                parameter
            })
            .collect()
    }

    pub fn into_components(mut self) -> Map<String, Value> {
        let mut components = Map::new();
        for (name, schema) in self.given.take_definitions(true) {
            let before = components.insert(plain(&name).to_owned(), named_plainly(schema));
            debug_assert!(before.is_none(), "two types are shown as {}", plain(&name));
        }
        components
    }
}

/// The shape that all refusals have.
pub fn error() -> Value {
    let text = json!({"type": "string"});
    let named = json!({
        "type": "object",
        "required": ["error", "message"],
        "properties": {"error": text, "message": text},
        "description": "What further fields there are depends on `error`.",
    });
    let misfits = json!({
        "type": "array",
        "description": "What does not fit, and where.",
        "items": {
            "type": "object",
            "required": ["type", "loc", "msg", "input"],
            "properties": {
                "type": text,
                "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                "msg": text,
                "input": true,
            },
        },
    });
    json!({
        "type": "object",
        "required": ["detail", "code", "request_id"],
        "properties": {
            "detail": {"anyOf": [text, named, misfits]},
            "code": {"type": "string", "description": "For programs; it does not change."},
            "hint": {"type": "string", "description": "What to try."},
            "request_id": {"type": "string", "description": "Stands in the coordinator's log, and in X-Request-Id."},
        },
    })
}

/// A parameter that is not there is not sent as `null`.
fn without_null(schema: &mut Value) {
    let types = schema["type"].as_array_mut();
    if let Some(types) = types {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let ways = schema["anyOf"].as_array_mut();
    if let Some(ways) = ways {
        ways.retain(|way| way["type"] != "null");
        if let [only] = ways.as_mut_slice() {
            let only = only.take();
            let about = schema["description"].take();
            *schema = only;
            if schema.get("description").is_none() && !about.is_null() {
                schema["description"] = about;
            }
        }
    }
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.retain(|name, value| name != "default" && !value.is_null());
    if let Some(values) = fields.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
}

/// Clients need not know that a type is how we show another.
fn plain(name: &str) -> &str {
    name.strip_suffix(VIEW).unwrap_or(name)
}

fn named_plainly(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => *text = plain(text).to_owned(),
                    value => *value = named_plainly(value.take()),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = named_plainly(item.take());
            }
        }
        _ => {}
    }
    schema
}
