//! Which of the given parameters are paths: strings for which the schema says `format: "path"`. Where
//! they may lead is for the runner to judge, which has the file system.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::check::push_key;

/// A parameter that is a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathParameter<'a> {
    /// Where it stands, as `$.files[0]`.
    pub at: String,
    pub text: &'a str,
}

/// Every string for which any part of the schema that may apply to it says `format: "path"`, in
/// whatever branch: a value that one branch takes for a path is treated as one.
#[must_use]
pub fn paths<'a>(schema: &'a Value, parameters: &'a Map<String, Value>) -> Vec<PathParameter<'a>> {
    let mut search = Search {
        root: schema,
        anchors: HashMap::new(),
        pending: Vec::new(),
        seen: HashSet::new(),
        found: Vec::new(),
    };
    search.note_anchors();
    search.members(schema, parameters, "$");
    search.go_on(schema, None, "$", Some(parameters));
    while let Some((schema, value, at)) = search.pending.pop() {
        search.look(schema, value, &at);
    }
    search.found.sort_by(|a, b| a.at.cmp(&b.at));
    search.found.dedup();
    search.found
}

/// A schema, the value it applies to, and where that stands.
type Step<'a> = (&'a Value, &'a Value, String);

struct Search<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, &'a Value>,
    pending: Vec<Step<'a>>,
    /// Pairs of schema and value by their addresses: each is looked at once, so circles end.
    seen: HashSet<(usize, usize)>,
    found: Vec<PathParameter<'a>>,
}

impl<'a> Search<'a> {
    fn note_anchors(&mut self) {
        let mut pending = vec![self.root];
        while let Some(part) = pending.pop() {
            if let Some(anchor) = part.get("$anchor").and_then(Value::as_str) {
                self.anchors.insert(anchor, part);
            }
            match part {
                Value::Object(fields) => pending.extend(fields.values()),
                Value::Array(items) => pending.extend(items),
                _ => {}
            }
        }
    }

    fn look(&mut self, schema: &'a Value, value: &'a Value, at: &str) {
        match value {
            Value::String(text) if schema.get("format").is_some_and(|f| f == "path") => {
                let at = at.to_owned();
                self.found.push(PathParameter { at, text });
            }
            Value::Object(fields) => self.members(schema, fields, at),
            Value::Array(items) => self.items(schema, items, at),
            _ => {}
        }
        self.go_on(schema, Some(value), at, None);
    }

    /// What else applies to the same value. The parameters as a whole are a map and no `Value`.
    fn go_on(
        &mut self,
        schema: &'a Value,
        value: Option<&'a Value>,
        at: &str,
        whole: Option<&'a Map<String, Value>>,
    ) {
        let mut parts: Vec<&Value> = Vec::new();
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let branches = schema.get(keyword).and_then(Value::as_array);
            parts.extend(branches.into_iter().flatten());
        }
        for keyword in ["if", "then", "else"] {
            parts.extend(schema.get(keyword));
        }
        for keyword in ["dependentSchemas", "dependencies"] {
            let dependent = schema.get(keyword).and_then(Value::as_object);
            parts.extend(dependent.into_iter().flat_map(Map::values));
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        parts.extend(reference.and_then(|reference| self.referred(reference)));
        for part in parts {
            match (value, whole) {
                (Some(value), _) => self.push(part, value, at.to_owned()),
                (None, Some(whole)) if self.seen.insert((address(part), 0)) => {
                    self.members(part, whole, at);
                    self.go_on(part, None, at, Some(whole));
                }
                _ => {}
            }
        }
    }

    fn members(&mut self, schema: &'a Value, fields: &'a Map<String, Value>, at: &str) {
        for (name, value) in fields {
            let mut path = at.to_owned();
            push_key(&mut path, name);
            let named = schema.get("properties").and_then(|all| all.get(name));
            if let Some(part) = named {
                self.push(part, value, path.clone());
            }
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            for part in patterns.into_iter().flat_map(Map::values) {
                self.push(part, value, path.clone());
            }
            for keyword in ["additionalProperties", "unevaluatedProperties"] {
                if let (None, Some(part)) = (named, schema.get(keyword)) {
                    self.push(part, value, path.clone());
                }
            }
        }
    }

    fn items(&mut self, schema: &'a Value, items: &'a [Value], at: &str) {
        for (index, value) in items.iter().enumerate() {
            let path = format!("{at}[{index}]");
            let of_all = ["items", "additionalItems", "unevaluatedItems", "contains"];
            let parts = of_all.into_iter().filter_map(|keyword| schema.get(keyword));
            // In draft-07 `items` may be a list itself.
            let listed = ["prefixItems", "items"].into_iter();
            let listed = listed.filter_map(|keyword| schema.get(keyword)?.get(index));
            for part in parts.chain(listed) {
                self.push(part, value, path.clone());
            }
        }
    }

    fn push(&mut self, schema: &'a Value, value: &'a Value, at: String) {
        if schema.is_object() && self.seen.insert((address(schema), address(value))) {
            self.pending.push((schema, value, at));
        }
    }

    fn referred(&self, reference: &str) -> Option<&'a Value> {
        let fragment = decoded(reference.strip_prefix('#')?);
        let anchor = self.anchors.get(fragment.as_str()).copied();
        anchor.or_else(|| self.root.pointer(&fragment))
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// A fragment without its `%41`s. One that is no text refers to nothing.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = fragment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(coded) => {
                bytes.push(coded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::named(json!({"properties": {"a": {"format": "path"}}}), &["$.a=x"])]
    #[case::nested(
        json!({"properties": {"o": {"properties": {"p": {"format": "path"}}}}}),
        &["$.o.p=y"]
    )]
    #[case::in_arrays(json!({"properties": {"l": {"items": {"format": "path"}}}}), &["$.l[0]=1", "$.l[1]=2"])]
    #[case::first_of_an_array(
        json!({"properties": {"l": {"prefixItems": [{"format": "path"}]}}}),
        &["$.l[0]=1"]
    )]
    #[case::all_others(json!({"properties": {"l": {}}, "additionalProperties": {"format": "path"}}), &["$.a=x"])]
    #[case::by_reference(
        json!({"properties": {"a": {"$ref": "#/$defs/a%20b"}}, "$defs": {"a b": {"format": "path"}}}),
        &["$.a=x"]
    )]
    #[case::by_anchor(
        json!({"properties": {"a": {"$ref": "#here"}}, "$defs": {"h": {"$anchor": "here", "format": "path"}}}),
        &["$.a=x"]
    )]
    #[case::in_a_branch(
        json!({"properties": {"a": {"anyOf": [{"const": "-"}, {"format": "path"}]}}}),
        &["$.a=x"]
    )]
    #[case::around_all(
        json!({"allOf": [{"properties": {"a": {"format": "path"}}}], "properties": {"a": {"format": "path"}}}),
        &["$.a=x"]
    )]
    #[case::in_a_circle(
        json!({"properties": {"o": {"$ref": "#"}, "p": {"format": "path"}, "a": {"$ref": "#"}}}),
        &["$.o.p=y"]
    )]
    #[case::another_format(json!({"properties": {"a": {"format": "uri"}}}), &[])]
    #[case::none(json!({}), &[])]
    fn paths_are_found_wherever_they_stand(#[case] schema: Value, #[case] expected: &[&str]) {
        let given = json!({"a": "x", "o": {"p": "y"}, "l": ["1", "2"]});
        let found = paths(&schema, given.as_object().unwrap());
        let found: Vec<String> = found
            .iter()
            .map(|path| format!("{}={}", path.at, path.text))
            .collect();
        assert_eq!(found, expected);
    }
}
