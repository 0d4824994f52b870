//! JSON Schemas that people wrote, and values against them. A schema is judged before it is compiled, and
//! a value is checked under a deadline: a hostile schema costs half a second and never the process.
//!
//! Fetches nothing: a reference that leaves the schema is refused. Does not fill in defaults.

mod cost;
mod deadline;
mod rejected;
mod shape;
mod steps;
mod violation;

use std::sync::Arc;
use std::time::Duration;

use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, Validator};
use serde_json::Value;

pub use cost::MAX_BRANCHES;
pub use deadline::Unanswered;
pub use rejected::{SchemaRejected, SchemaRule};
pub use shape::{
    MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, MAX_SUBSCHEMAS,
};
pub use violation::Violation;
pub(crate) use violation::push_key;

use deadline::{stop_if_given_up, within};
use shape::Shape;
use violation::shortened;

/// What a check of a value may take, and the compilation of a schema.
pub const CHECK_DEADLINE: Duration = Duration::from_millis(500);

/// The largest compiled pattern. One text of 256 KiB against a pattern of this size takes seconds at
/// worst, and nothing can interrupt it.
const MAX_COMPILED_PATTERN_BYTES: usize = 128 * 1024;

/// Subschemas that are looked at to say why a value does not fit. Each may leave an error of some hundred
/// bytes behind before the first one can be read.
const MAX_STEPS_TO_EXPLAIN: u32 = 100_000;

/// Is put into every subschema, so that a check that was given up ends soon.
const FUSE: &str = "x-coordinator-fuse";

/// A JSON Schema that was accepted, ready to check values. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CompiledSchema {
    validator: Arc<Validator>,
}

impl CompiledSchema {
    /// Judges and compiles a schema of draft 2020-12 (also without `$schema`) or draft-07.
    ///
    /// Formats are asserted; `path`, a format of our own, means a text that can name a file.
    ///
    /// # Errors
    /// The first rule it breaks, and where.
    pub fn compile(schema: &Value) -> Result<Self, SchemaRejected> {
        let shape = Shape::of(schema)?;
        let draft = draft_of(schema)?;
        cost::bound(&shape)?;
        let pointers: Vec<String> = shape
            .subschemas
            .into_iter()
            .map(|subschema| subschema.pointer)
            .collect();
        let schema = schema.clone();
        let compiled = within(CHECK_DEADLINE, move || build(schema, draft, &pointers));
        compiled.map_err(|why| SchemaRejected::new("", SchemaRule::Time, why.to_string()))?
    }

    /// Checks a value on this thread, however long it takes. For schemas of our own.
    ///
    /// Empty when the value fits; at most `limit` violations otherwise.
    pub fn validate(&self, value: &Value, limit: usize) -> Vec<Violation> {
        // Most values fit, and saying so is cheaper than looking for what does not.
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let explained = steps::bounded(MAX_STEPS_TO_EXPLAIN, || {
            let errors = self.validator.iter_errors(value);
            errors
                .take(limit.max(1))
                .map(|error| Violation::of(&error))
                .collect()
        });
        explained.unwrap_or_else(|| vec![Violation::too_many()])
    }

    /// Checks a value on a thread of its own and waits no longer than the deadline, [`CHECK_DEADLINE`]
    /// where nothing else is known. It blocks: in async code, call it where blocking is allowed.
    ///
    /// A check that is late is told to stop and ends at the next subschema it meets; when eight have been
    /// told and still run, further ones are refused.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub fn validate_within(
        &self,
        value: &Value,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<Violation>, Unanswered> {
        let (schema, value) = (self.clone(), value.clone());
        within(deadline, move || schema.validate(&value, limit))
    }
}

fn draft_of(schema: &Value) -> Result<Draft, SchemaRejected> {
    let Some(named) = schema.get("$schema") else {
        return Ok(Draft::Draft202012);
    };
    match named.as_str().map(|uri| uri.trim_end_matches('#')) {
        Some("https://json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("http://json-schema.org/draft-07/schema") => Ok(Draft::Draft7),
        _ => {
            let message = format!(
                "{} is not supported; leave $schema out for 2020-12, or give \
                 http://json-schema.org/draft-07/schema#",
                shortened(&named.to_string())
            );
            Err(SchemaRejected::new("/$schema", SchemaRule::Draft, message))
        }
    }
}

fn build(
    mut schema: Value,
    draft: Draft,
    pointers: &[String],
) -> Result<CompiledSchema, SchemaRejected> {
    refuse_invalid(&schema, draft)?;
    for pointer in pointers {
        if let Some(Value::Object(fields)) = schema.pointer_mut(pointer) {
            fields.insert(FUSE.to_owned(), Value::Bool(true));
        }
    }
    // Every reference is a fragment, so it means the same without a base, and no well-known name can
    // be taken.
    if let Some(fields) = schema.as_object_mut() {
        fields.shift_remove("$id");
    }
    let options = jsonschema::options()
        .with_draft(draft)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_COMPILED_PATTERN_BYTES))
        .with_format("path", |text: &str| {
            !text.is_empty() && !text.contains('\0')
        })
        .with_keyword(FUSE, |_, _, _| Ok(Box::new(Fuse)));
    let validator = options.build(&schema).map_err(|error| refused(&error))?;
    Ok(CompiledSchema {
        validator: Arc::new(validator),
    })
}

fn refuse_invalid(schema: &Value, draft: Draft) -> Result<(), SchemaRejected> {
    let checked = match draft {
        Draft::Draft7 => jsonschema::draft7::meta::validate(schema),
        _ => jsonschema::draft202012::meta::validate(schema),
    };
    checked.map_err(|error| refused(&error))
}

fn refused(error: &ValidationError<'_>) -> SchemaRejected {
    let pointer = error.instance_path().as_str();
    let mut from_end = pointer.rsplit('/');
    let (last, parent) = (from_end.next(), from_end.next());
    if last == Some("pattern") || parent == Some("patternProperties") {
        let message = "a pattern is no regular expression we take: look-around and back-references \
                       are not, and compiled it may have 128 KiB (large {n,m} over Unicode classes grow)";
        return SchemaRejected::new(pointer, SchemaRule::Pattern, message);
    }
    SchemaRejected::new(pointer, SchemaRule::Valid, shortened(&error.to_string()))
}

/// Accepts everything; ends a check that nobody waits for any more.
struct Fuse;

impl<'i> Keyword<'i> for Fuse {
    fn validate(&self, _: &'i Value) -> Result<(), ValidationError<'i>> {
        burn();
        Ok(())
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        burn();
        true
    }
}

fn burn() {
    stop_if_given_up();
    steps::count();
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Map, json};

    use super::*;

    /// Never reached where a test expects an answer; what is slow is shown with [`CHECK_DEADLINE`].
    const PATIENCE: Duration = Duration::from_secs(60);

    fn rejected(schema: &Value) -> SchemaRejected {
        CompiledSchema::compile(schema).unwrap_err()
    }

    fn violations(schema: &Value, value: &Value) -> Vec<Violation> {
        CompiledSchema::compile(schema)
            .unwrap()
            .validate_within(value, 10, PATIENCE)
            .unwrap()
    }

    /// `{"$defs": {"d0": link("#/$defs/d1"), …}, "$ref": "#/$defs/d0"}`, the last one being `end`.
    fn chain(links: usize, link: impl Fn(Value) -> Value, end: Value) -> Value {
        let next = |n: usize| link(json!({ "$ref": format!("#/$defs/d{}", n + 1) }));
        let mut defs: Map<String, Value> = (0..links).map(|n| (format!("d{n}"), next(n))).collect();
        defs.insert(format!("d{links}"), end);
        json!({ "$defs": defs, "$ref": "#/$defs/d0" })
    }

    fn nested(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
        (0..depth).fold(json!({}), |inner, _| wrap(inner))
    }

    #[test]
    fn says_where_a_value_does_not_fit() {
        let schema = json!({
            "type": "object",
            "required": ["channel"],
            "properties": { "a b": { "items": { "properties": { "n": { "type": "integer" } } } } },
        });
        let found = violations(&schema, &json!({ "a b": [{}, { "n": "x" }] }));
        let paths: Vec<_> = found
            .iter()
            .map(|v| (v.path.as_str(), v.schema_path.as_str()))
            .collect();
        let expected = [
            ("$", "/required"),
            (
                r#"$["a b"][1].n"#,
                "/properties/a b/items/properties/n/type",
            ),
        ];
        assert_eq!(paths, expected);
        assert_eq!(found[0].message, r#""channel" is a required property"#);
        assert!(violations(&schema, &json!({ "channel": 1 })).is_empty());
    }

    #[test]
    fn reports_no_more_than_asked_and_keeps_messages_short() {
        let schema = CompiledSchema::compile(&json!({ "items": { "type": "integer" } })).unwrap();
        let found = schema.validate(&json!(vec!["x".repeat(5_000); 50]), 3);
        assert_eq!(found.len(), 3);
        assert!(found[0].message.chars().count() < 400);
    }

    #[rstest]
    #[case("email", json!("nobody"))]
    #[case("date", json!("2025-13-01"))]
    #[case("ipv4", json!("1.2.3"))]
    #[case("path", json!(""))]
    #[case("path", json!("a\u{0}b"))]
    fn formats_are_asserted(#[case] format: &str, #[case] value: Value) {
        for draft in [
            "https://json-schema.org/draft/2020-12/schema",
            "http://json-schema.org/draft-07/schema#",
        ] {
            let schema = json!({ "$schema": draft, "type": "string", "format": format });
            assert_eq!(violations(&schema, &value).len(), 1, "{draft}");
        }
    }

    #[test]
    fn each_draft_has_its_own_meaning() {
        let tuple = |draft: &str| json!({ "$schema": draft, "items": [{ "type": "integer" }] });
        let draft_07 = tuple("http://json-schema.org/draft-07/schema#");
        assert_eq!(violations(&draft_07, &json!(["x"])).len(), 1);
        let rejection = rejected(&tuple("https://json-schema.org/draft/2020-12/schema"));
        assert_eq!(
            (rejection.rule, rejection.pointer.as_str()),
            (SchemaRule::Valid, "#/items")
        );
    }

    #[rstest]
    #[case(json!(true), SchemaRule::Object, "#")]
    #[case(json!([]), SchemaRule::Object, "#")]
    #[case(json!({"$schema": "http://json-schema.org/draft-04/schema#"}), SchemaRule::Draft, "#/$schema")]
    #[case(json!({"$schema": 7}), SchemaRule::Draft, "#/$schema")]
    #[case(json!({"type": "strin"}), SchemaRule::Valid, "#/type")]
    #[case(json!({"properties": {"a/b": {"required": "x"}}}), SchemaRule::Valid, "#/properties/a~1b/required")]
    #[case(json!({"$ref": "http://localhost/x.json"}), SchemaRule::Reference, "#")]
    #[case(json!({"$ref": "file:///etc/passwd"}), SchemaRule::Reference, "#")]
    #[case(json!({"$ref": "other.json#/a"}), SchemaRule::Reference, "#")]
    #[case(json!({"$id": "http://x/y", "$ref": "http://x/y"}), SchemaRule::Reference, "#")]
    #[case(json!({"items": {"$ref": "#/$defs/gone"}}), SchemaRule::Reference, "#/items")]
    #[case(json!({"items": {"$ref": "#/required"}, "required": ["a"]}), SchemaRule::Reference, "#/items")]
    #[case(json!({"$ref": "#/%zz"}), SchemaRule::Reference, "#")]
    #[case(json!({"$ref": "#"}), SchemaRule::Reference, "#")]
    #[case(json!({"allOf": [{"not": {"$ref": "#"}}]}), SchemaRule::Reference, "#")]
    #[case(json!({"items": {"$id": "http://x/y"}}), SchemaRule::Keyword, "#/items")]
    #[case(json!({"items": {"$schema": "x"}}), SchemaRule::Keyword, "#/items")]
    #[case(json!({"$dynamicRef": "#a"}), SchemaRule::Keyword, "#")]
    #[case(json!({"pattern": "("}), SchemaRule::Pattern, "#/pattern")]
    #[case(json!({"pattern": "(a)\\1"}), SchemaRule::Pattern, "#/pattern")]
    #[case(json!({"pattern": "((((a{9}){9}){9}){9}){9}"}), SchemaRule::Pattern, "#/pattern")]
    #[case(json!({"pattern": "a".repeat(600)}), SchemaRule::Pattern, "#")]
    #[case(json!({"patternProperties": {"(": true}}), SchemaRule::Pattern, "#/patternProperties/(")]
    #[case(json!({"allOf": vec![json!({"pattern": "a"}); 65]}), SchemaRule::Pattern, "#/allOf/64")]
    #[case(json!({"allOf": vec![json!({}); 500]}), SchemaRule::Subschemas, "#/allOf/499")]
    #[case(json!({"description": "x".repeat(70_000)}), SchemaRule::Size, "#")]
    fn refuses_a_schema_and_names_place_and_rule(
        #[case] schema: Value,
        #[case] rule: SchemaRule,
        #[case] pointer: &str,
    ) {
        let rejection = rejected(&schema);
        assert_eq!(
            (rejection.rule, rejection.pointer.as_str()),
            (rule, pointer),
            "{rejection}"
        );
    }

    #[rstest]
    #[case(nested(40, |inner| json!({ "not": inner })), SchemaRule::Depth)]
    #[case(nested(7, |inner| json!({ "anyOf": [inner.clone(), inner] })), SchemaRule::Branches)]
    #[case(nested(14, |inner| json!({ "oneOf": [inner, true] })), SchemaRule::Branches)]
    #[case(
        chain(30, |next| json!({ "allOf": [next.clone(), next] }), json!({})),
        SchemaRule::Branches
    )]
    fn refuses_what_multiplies(#[case] schema: Value, #[case] rule: SchemaRule) {
        assert_eq!(rejected(&schema).rule, rule);
    }

    #[test]
    fn properties_may_be_called_like_keywords() {
        let schema = json!({
            "properties": {
                "$ref": { "type": "string" }, "$id": { "type": "string" }, "pattern": {},
                "enum": { "properties": { "default": { "enum": [{ "$ref": "http://x" }] } } },
            },
            "default": { "$ref": "http://x" },
        });
        assert_eq!(
            violations(&schema, &json!({ "$ref": 1, "enum": { "default": 1 } })).len(),
            2
        );
    }

    #[test]
    fn references_inside_the_schema_are_followed() {
        let schema = json!({
            "$id": "http://json-schema.org/draft-07/schema",
            "$defs": {
                "a b": { "type": "integer" },
                "tree": { "$anchor": "tree", "properties": { "left": { "$ref": "#tree" },
                          "leaf": { "$ref": "#/$defs/a%20b" } } },
            },
            "$ref": "#/$defs/tree",
        });
        let found = violations(&schema, &json!({ "left": { "left": { "leaf": "x" } } }));
        assert_eq!(found[0].path, "$.left.left.leaf");
    }

    #[test]
    fn a_value_that_takes_too_long_is_given_up() {
        // Each level tries the next one twice in each of two branches: 4^64 for 64 levels.
        let again = json!({ "properties": { "a": { "$ref": "#" } }, "required": ["missing"] });
        let schema = json!({ "anyOf": vec![again; 8] });
        let schema = CompiledSchema::compile(&schema).unwrap();
        let value = nested(64, |inner| json!({ "a": inner }));
        let answer = schema.validate_within(&value, 10, CHECK_DEADLINE);
        assert_eq!(answer, Err(Unanswered::TooSlow));
        deadline::wait_until_none_is_given_up();
        assert_eq!(schema.validate_within(&json!(1), 10, PATIENCE), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_in_too_many_ways_is_said_in_one() {
        let schema = json!({ "items": { "anyOf": vec![json!({ "type": "string" }); 400] } });
        let found = violations(&schema, &json!(vec![1; 1_000]));
        assert_eq!(found, [Violation::too_many()]);
    }

    /// The deepest stack there can be: the longest chain against the deepest JSON there is.
    #[rstest]
    #[case(|next| json!({ "allOf": [next] }), 240)]
    #[case(|next| json!({ "then": next, "if": true }), 160)]
    #[case(|next| json!({ "allOf": [next], "unevaluatedProperties": true }), 160)]
    fn the_deepest_check_fits_on_its_stack(
        #[case] link: impl Fn(Value) -> Value,
        #[case] links: usize,
    ) {
        let end = json!({ "required": ["z"], "properties": { "a": { "$ref": "#/$defs/d0" } } });
        let schema = CompiledSchema::compile(&chain(links, link, end)).unwrap();
        let value = nested(127, |inner| json!({ "a": inner }));
        let answer = schema.validate_within(&value, 10, CHECK_DEADLINE);
        assert_ne!(answer, Ok(vec![]));
        assert_ne!(answer, Err(Unanswered::Broken));
    }

    #[test]
    fn is_told_to_clients_as_json() {
        let rejection = rejected(&json!({ "$ref": "#/x" }));
        let expected = json!({
            "pointer": "#", "rule": "reference",
            "message": "$ref \"#/x\" leads to no schema in here",
        });
        assert_eq!(serde_json::to_value(rejection).unwrap(), expected);
    }
}
