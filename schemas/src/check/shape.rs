//! Finds every subschema of a schema and where it applies, within limits, before anything compiles it.
//! Knows keywords only as places where schemas stand; what they mean is the validator's.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::rejected::{SchemaRejected, SchemaRule};
use crate::text::shown;

/// The largest schema when written without spaces.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Deeper nesting costs stack in every reader.
pub const MAX_SCHEMA_DEPTH: usize = 32;
/// More than this is generated, and belongs in the script.
pub const MAX_SUBSCHEMAS: usize = 500;
/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;
/// Each pattern is compiled, and run over every text it applies to.
pub const MAX_PATTERNS: usize = 64;

/// Keywords that hold one schema.
const ONE: [(&str, Applies); 12] = [
    ("not", Applies::Branch),
    ("if", Applies::Branch),
    ("then", Applies::Here),
    ("else", Applies::Here),
    ("items", Applies::Inside),
    ("additionalItems", Applies::Inside),
    ("additionalProperties", Applies::Inside),
    ("contains", Applies::Inside),
    ("contentSchema", Applies::Inside),
    ("propertyNames", Applies::Inside),
    ("unevaluatedItems", Applies::Inside),
    ("unevaluatedProperties", Applies::Inside),
];
/// Keywords that hold a list of schemas.
const LIST: [(&str, Applies); 5] = [
    ("allOf", Applies::Here),
    ("anyOf", Applies::Branch),
    ("oneOf", Applies::Branch),
    ("items", Applies::Inside),
    ("prefixItems", Applies::Inside),
];
/// Keywords that hold schemas by name.
const NAMED: [(&str, Applies); 6] = [
    ("dependencies", Applies::Here),
    ("dependentSchemas", Applies::Here),
    ("patternProperties", Applies::Inside),
    ("properties", Applies::Inside),
    ("$defs", Applies::Nowhere),
    ("definitions", Applies::Nowhere),
];
/// Keywords with which a schema changes what references mean, its own or the validator's.
const REFUSED: [&str; 5] = [
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
];
/// Keywords that only the outermost schema may have.
const OUTERMOST: [&str; 2] = ["$id", "$schema"];

/// To what a subschema applies, seen from the schema that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applies {
    /// To the same value.
    Here,
    /// To the same value, and it may be tried more than once.
    Branch,
    /// To a part of the value.
    Inside,
    /// To nothing, unless something refers to it.
    Nowhere,
}

/// One subschema.
pub(super) struct Subschema<'a> {
    pub pointer: String,
    /// Empty for `true` and `false`.
    pub fields: Option<&'a Map<String, Value>>,
    pub children: Vec<(usize, Applies)>,
}

impl<'a> Subschema<'a> {
    pub fn text(&self, keyword: &str) -> Option<&'a str> {
        self.fields?.get(keyword)?.as_str()
    }
}

/// Every subschema of a schema; the first is the whole.
#[derive(Default)]
pub(super) struct Shape<'a> {
    pub subschemas: Vec<Subschema<'a>>,
    patterns: usize,
}

impl<'a> Shape<'a> {
    /// Finds the subschemas, refusing a schema over the limits.
    pub fn of(schema: &'a Value) -> Result<Self, SchemaRejected> {
        if !schema.is_object() {
            let message = "a JSON Schema is a JSON object here, as {\"type\": \"object\"}";
            return Err(SchemaRejected::new("", SchemaRule::Object, message));
        }
        bound_depth(schema, "", MAX_SCHEMA_DEPTH)?;
        bound_size(schema)?;
        let mut shape = Self::default();
        shape.add(schema, String::new())?;
        Ok(shape)
    }

    /// The subschemas by where they stand.
    pub fn by_pointer(&self) -> HashMap<&str, usize> {
        let pointers = self
            .subschemas
            .iter()
            .map(|subschema| subschema.pointer.as_str());
        pointers.zip(0..).collect()
    }

    fn add(&mut self, schema: &'a Value, pointer: String) -> Result<usize, SchemaRejected> {
        let index = self.subschemas.len();
        if index == MAX_SUBSCHEMAS {
            let message =
                format!("more than {MAX_SUBSCHEMAS} subschemas; leave details to the script");
            return Err(SchemaRejected::new(
                &pointer,
                SchemaRule::Subschemas,
                message,
            ));
        }
        let fields = schema.as_object();
        self.subschemas.push(Subschema {
            pointer,
            fields,
            children: Vec::new(),
        });
        if let Some(fields) = fields {
            self.bound_keywords(index, fields)?;
            self.add_children(index, fields)?;
        }
        Ok(index)
    }

    fn add_children(
        &mut self,
        index: usize,
        fields: &'a Map<String, Value>,
    ) -> Result<(), SchemaRejected> {
        for (keyword, value) in fields {
            match value {
                Value::Array(items) => {
                    for (at, item) in items.iter().enumerate() {
                        self.add_child(index, keyword, Some(&at.to_string()), item, &LIST)?;
                    }
                }
                Value::Object(named) if NAMED.iter().any(|(name, _)| name == keyword) => {
                    for (name, item) in named {
                        self.add_child(index, keyword, Some(name), item, &NAMED)?;
                    }
                }
                single => self.add_child(index, keyword, None, single, &ONE)?,
            }
        }
        Ok(())
    }

    fn add_child(
        &mut self,
        parent: usize,
        keyword: &str,
        name: Option<&str>,
        value: &'a Value,
        keywords: &[(&str, Applies)],
    ) -> Result<(), SchemaRejected> {
        let Some((_, applies)) = keywords.iter().find(|(known, _)| *known == keyword) else {
            return Ok(());
        };
        if !value.is_object() && !value.is_boolean() {
            return Ok(());
        }
        let mut pointer = format!("{}/{}", self.subschemas[parent].pointer, escaped(keyword));
        if let Some(name) = name {
            pointer = format!("{pointer}/{}", escaped(name));
        }
        let child = self.add(value, pointer)?;
        self.subschemas[parent].children.push((child, *applies));
        Ok(())
    }

    fn bound_keywords(
        &mut self,
        index: usize,
        fields: &'a Map<String, Value>,
    ) -> Result<(), SchemaRejected> {
        let pointer = self.subschemas[index].pointer.clone();
        let only_outermost = OUTERMOST.iter().filter(|_| index > 0);
        if let Some(keyword) = REFUSED
            .iter()
            .chain(only_outermost)
            .find(|k| fields.contains_key(**k))
        {
            let message = format!("{keyword} is not supported here; use $ref to a name in $defs");
            return Err(SchemaRejected::new(&pointer, SchemaRule::Keyword, message));
        }
        let named = fields.get("patternProperties").and_then(Value::as_object);
        let names = named.into_iter().flat_map(Map::keys).map(String::as_str);
        for pattern in fields
            .get("pattern")
            .and_then(Value::as_str)
            .into_iter()
            .chain(names)
        {
            self.bound_pattern(&pointer, pattern)?;
        }
        Ok(())
    }

    fn bound_pattern(&mut self, pointer: &str, pattern: &str) -> Result<(), SchemaRejected> {
        self.patterns += 1;
        let message = if pattern.len() > MAX_PATTERN_BYTES {
            format!(
                "the pattern {} is longer than {MAX_PATTERN_BYTES} bytes",
                shown(pattern)
            )
        } else if self.patterns > MAX_PATTERNS {
            format!("more than {MAX_PATTERNS} patterns; leave some to the script")
        } else {
            return Ok(());
        };
        Err(SchemaRejected::new(pointer, SchemaRule::Pattern, message))
    }
}

/// A name as one token of a JSON pointer (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn bound_depth(value: &Value, pointer: &str, left: usize) -> Result<(), SchemaRejected> {
    let inner =
        |name: &str, value| bound_depth(value, &format!("{pointer}/{}", escaped(name)), left - 1);
    match value {
        Value::Array(_) | Value::Object(_) if left == 0 => {
            let message =
                format!("nested deeper than {MAX_SCHEMA_DEPTH}; name inner parts in $defs");
            Err(SchemaRejected::new(pointer, SchemaRule::Depth, message))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| inner(&at.to_string(), item)),
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(name, value)| inner(name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn bound_size(schema: &Value) -> Result<(), SchemaRejected> {
    let size = schema.to_string().len();
    if size <= MAX_SCHEMA_BYTES {
        return Ok(());
    }
    let message =
        format!("{size} bytes are more than {MAX_SCHEMA_BYTES}; leave details to the script");
    Err(SchemaRejected::new("", SchemaRule::Size, message))
}
