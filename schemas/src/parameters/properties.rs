//! Reads the properties of a schema, references inside it followed. Judges nothing: the schema was
//! accepted before, and what it does not say is simply not there.

use serde_json::{Map, Value};

/// References to references; more than this in a row is nobody's intention.
const MAX_HOPS: usize = 8;

/// A schema or a part of one, and the whole its references lead into.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    root: &'a Value,
    part: &'a Value,
}

impl<'a> Part<'a> {
    pub fn whole(schema: &'a Value) -> Self {
        Self {
            root: schema,
            part: schema,
        }
    }

    /// What the part says for a keyword, or what it refers to says.
    pub fn keyword(self, keyword: &str) -> Option<&'a Value> {
        let mut part = self.part;
        for _ in 0..MAX_HOPS {
            if let Some(value) = part.get(keyword) {
                return Some(value);
            }
            let pointer = part.get("$ref")?.as_str()?.strip_prefix('#')?;
            part = self.root.pointer(pointer)?;
        }
        None
    }

    /// Its properties in the order in which they are written.
    pub fn properties(self) -> impl Iterator<Item = (&'a str, Part<'a>)> {
        let named = self.keyword("properties").and_then(Value::as_object);
        let named = named.into_iter().flat_map(Map::iter);
        named.map(move |(name, part)| (name.as_str(), Part { part, ..self }))
    }

    /// One of its properties.
    pub fn property(self, name: &str) -> Option<Part<'a>> {
        let part = self.keyword("properties")?.get(name)?;
        Some(Part { part, ..self })
    }

    /// Whether a property must be given.
    pub fn requires(self, name: &str) -> bool {
        let required = self.keyword("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|required| required == name))
    }
}
