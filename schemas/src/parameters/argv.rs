//! Turns parameters into the arguments a script is started with, so that no value can become an option
//! and nothing is quoted, split or lost on the way. Starts nothing; no shell is ever involved.

use serde_json::{Map, Value};

use super::properties::Part;
use crate::check::push_key;
use crate::text::shown;

/// What Linux takes for one argument, its closing NUL included (`MAX_ARG_STRLEN`).
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024;

/// A parameter that cannot be handed over as an argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {path} cannot become an argument: {fault}")]
pub struct ArgumentRefused {
    /// Where it stands, as `$.files[2]`.
    pub path: String,
    /// Why not.
    pub fault: ArgumentFault,
}

/// Why a parameter cannot become an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentFault {
    /// Its key would be read as something else.
    #[error(
        "a key must not be empty, begin with -, or contain =, white space or control characters"
    )]
    Key,
    /// Arguments end at a NUL.
    #[error("it contains a NUL character, and arguments end there")]
    Nul,
    /// A list item that would be read as two.
    #[error(
        "items are joined by commas and this one contains a comma; \
         set \"x-explode\": true in the schema to repeat the flag for each item"
    )]
    Comma,
    /// Too long for the system.
    #[error("it is longer than {MAX_ARGUMENT_BYTES} bytes; read it from the file in PARAMS_FILE")]
    TooLong,
}

/// The arguments for these parameters, schema defaults filled in already.
///
/// `--key value`, or `--key=value` when the value begins with `-`; `true` is `--key`; `false`, `null` and
/// an empty list are nothing. A list's items are joined by commas, or with `"x-explode": true` in the
/// schema the flag is repeated. Objects, and lists within lists, are JSON. First the schema's properties
/// in their order, then the rest by name.
///
/// # Errors
/// The first parameter that cannot be handed over.
pub fn argv(
    schema: Option<&Value>,
    parameters: &Map<String, Value>,
) -> Result<Vec<String>, ArgumentRefused> {
    let schema = schema.map(Part::whole);
    let mut arguments = Vec::new();
    for (key, value) in in_order(schema, parameters) {
        let mut path = String::from("$");
        push_key(&mut path, key);
        if !is_flag_name(key) {
            let path = format!("$[{}]", shown(key));
            return Err(ArgumentRefused {
                path,
                fault: ArgumentFault::Key,
            });
        }
        let property = schema.and_then(|schema| schema.property(key));
        let explode = property.and_then(|property| property.keyword("x-explode"));
        let list = match explode {
            Some(Value::Bool(true)) => List::Repeated,
            _ => List::Joined,
        };
        push_parameter(&mut arguments, key, value, &path, list)?;
    }
    Ok(arguments)
}

/// How a list becomes arguments.
#[derive(Clone, Copy)]
enum List {
    Joined,
    Repeated,
}

fn in_order<'a>(
    schema: Option<Part<'a>>,
    parameters: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let known = schema.into_iter().flat_map(Part::properties);
    let known: Vec<&str> = known
        .map(|(name, _)| name)
        .filter(|name| parameters.contains_key(*name))
        .collect();
    let is_known = |name: &str| schema.is_some_and(|schema| schema.property(name).is_some());
    let mut rest: Vec<&str> = parameters
        .keys()
        .map(String::as_str)
        .filter(|name| !is_known(name))
        .collect();
    rest.sort_unstable();
    known
        .into_iter()
        .chain(rest)
        .map(|name| (name, &parameters[name]))
}

fn is_flag_name(key: &str) -> bool {
    let odd = |c: char| c == '=' || c.is_whitespace() || c.is_control();
    !key.is_empty() && !key.starts_with('-') && !key.contains(odd)
}

fn push_parameter(
    arguments: &mut Vec<String>,
    key: &str,
    value: &Value,
    path: &str,
    list: List,
) -> Result<(), ArgumentRefused> {
    match (value, list) {
        (Value::Null | Value::Bool(false), _) => Ok(()),
        (Value::Bool(true), _) => {
            arguments.push(format!("--{key}"));
            Ok(())
        }
        (Value::Array(items), List::Repeated) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(at, item)| {
                push_option(arguments, key, &text(item), &format!("{path}[{at}]"))
            })
        }
        (Value::Array(items), List::Joined) if items.is_empty() => Ok(()),
        (Value::Array(items), List::Joined) => {
            push_option(arguments, key, &joined(items, path)?, path)
        }
        (single, _) => push_option(arguments, key, &text(single), path),
    }
}

fn joined(items: &[Value], path: &str) -> Result<String, ArgumentRefused> {
    let texts: Vec<String> = items.iter().map(text).collect();
    for (at, text) in texts.iter().enumerate() {
        let path = format!("{path}[{at}]");
        refuse_nul(text, &path)?;
        if text.contains(',') {
            return Err(ArgumentRefused {
                path,
                fault: ArgumentFault::Comma,
            });
        }
    }
    Ok(texts.join(","))
}

/// A text as it is, anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn push_option(
    arguments: &mut Vec<String>,
    key: &str,
    text: &str,
    path: &str,
) -> Result<(), ArgumentRefused> {
    refuse_nul(text, path)?;
    let flag = format!("--{key}");
    if flag.len() + "=".len() + text.len() >= MAX_ARGUMENT_BYTES {
        return Err(ArgumentRefused {
            path: path.to_owned(),
            fault: ArgumentFault::TooLong,
        });
    }
    if text.starts_with('-') {
        arguments.push(format!("{flag}={text}"));
    } else {
        arguments.extend([flag, text.to_owned()]);
    }
    Ok(())
}

fn refuse_nul(text: &str, path: &str) -> Result<(), ArgumentRefused> {
    if text.contains('\0') {
        return Err(ArgumentRefused {
            path: path.to_owned(),
            fault: ArgumentFault::Nul,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn arguments(schema: &Value, parameters: &Value) -> Result<Vec<String>, ArgumentRefused> {
        argv(Some(schema), parameters.as_object().unwrap())
    }

    #[rstest]
    #[case(json!({"a": "x"}), &["--a", "x"])]
    #[case(json!({"a": "x y; $(rm -rf /) \"'\n"}), &["--a", "x y; $(rm -rf /) \"'\n"])]
    #[case(json!({"a": ""}), &["--a", ""])]
    #[case(json!({"a": "-x"}), &["--a=-x"])]
    #[case(json!({"a": "--"}), &["--a=--"])]
    #[case(json!({"a": -5}), &["--a=-5"])]
    #[case(json!({"a": 5}), &["--a", "5"])]
    #[case(json!({"a": 1.0}), &["--a", "1.0"])]
    #[case(json!({"a": 1e100}), &["--a", "1e+100"])]
    #[case(json!({"a": 18_446_744_073_709_551_615_u64}), &["--a", "18446744073709551615"])]
    #[case(json!({"a": true, "b": false, "c": null}), &["--a"])]
    #[case(json!({"a": ["x", 1, true]}), &["--a", "x,1,true"])]
    #[case(json!({"a": ["-x", "y"]}), &["--a=-x,y"])]
    #[case(json!({"a": []}), &[])]
    #[case(json!({"a": [""]}), &["--a", ""])]
    #[case(json!({"a": {"z": 1, "b": "ü"}}), &["--a", r#"{"z":1,"b":"ü"}"#])]
    #[case(json!({"many": ["x,y", "-z", {"a": 1, "b": 2}]}),
        &["--many", "x,y", "--many=-z", "--many", r#"{"a":1,"b":2}"#])]
    #[case(json!({"many": []}), &[])]
    #[case(json!({"many": "x,y"}), &["--many", "x,y"])]
    fn each_value_has_its_form(#[case] parameters: Value, #[case] expected: &[&str]) {
        let schema = json!({
            "properties": { "many": { "$ref": "#/$defs/many" } },
            "$defs": { "many": { "type": "array", "x-explode": true } },
        });
        assert_eq!(arguments(&schema, &parameters).unwrap(), expected);
    }

    #[test]
    fn the_schemas_order_goes_first_and_the_rest_is_by_name() {
        let schema = json!({ "properties": { "z": {}, "missing": {}, "a": {} } });
        let parameters = json!({ "y": 1, "a": 2, "b": 3, "z": 4 });
        let expected = ["--z", "4", "--a", "2", "--b", "3", "--y", "1"];
        assert_eq!(arguments(&schema, &parameters).unwrap(), expected);
        let without = argv(None, parameters.as_object().unwrap()).unwrap();
        assert_eq!(without, ["--a", "2", "--b", "3", "--y", "1", "--z", "4"]);
    }

    #[rstest]
    #[case(json!({"a": "x\u{0}y"}), "$.a", ArgumentFault::Nul)]
    #[case(json!({"a": ["x", "\u{0}"]}), "$.a[1]", ArgumentFault::Nul)]
    #[case(json!({"a": ["x", "y,z"]}), "$.a[1]", ArgumentFault::Comma)]
    #[case(json!({"a": [{"b": 1, "c": 2}]}), "$.a[0]", ArgumentFault::Comma)]
    #[case(json!({"a": "x".repeat(MAX_ARGUMENT_BYTES - 4)}), "$.a", ArgumentFault::TooLong)]
    #[case(json!({"": 1}), r#"$[""]"#, ArgumentFault::Key)]
    #[case(json!({"-rf": 1}), r#"$["-rf"]"#, ArgumentFault::Key)]
    #[case(json!({"a=b": 1}), r#"$["a=b"]"#, ArgumentFault::Key)]
    #[case(json!({"a b": 1}), r#"$["a b"]"#, ArgumentFault::Key)]
    #[case(json!({"a\u{0}": null}), r#"$["a\u{0}"]"#, ArgumentFault::Key)]
    fn refuses_by_path(#[case] value: Value, #[case] path: &str, #[case] fault: ArgumentFault) {
        let refused = arguments(&json!({}), &value).unwrap_err();
        assert_eq!((refused.path.as_str(), refused.fault), (path, fault));
    }

    #[test]
    fn the_longest_argument_is_taken() {
        let longest = "x".repeat(MAX_ARGUMENT_BYTES - 5);
        assert!(arguments(&json!({}), &json!({ "a": longest })).is_ok());
    }

    proptest! {
        /// Reads the arguments back as any option parser does.
        #[test]
        fn texts_arrive_as_they_are_and_never_as_options(
            given in prop::collection::btree_map("[a-z][a-z_-]{0,8}", "[^\0]{0,20}", 0..6)
        ) {
            let parameters = given.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
            let mut arguments = argv(None, &parameters).unwrap().into_iter();
            for (key, text) in given {
                let flag = arguments.next().unwrap();
                let arrived = match flag.split_once('=') {
                    Some((name, inline)) => {
                        prop_assert_eq!(name, format!("--{key}"));
                        inline.to_owned()
                    }
                    None => {
                        prop_assert_eq!(flag, format!("--{key}"));
                        let next = arguments.next().unwrap();
                        prop_assert!(!next.starts_with('-'));
                        next
                    }
                };
                prop_assert_eq!(arrived, text);
            }
            prop_assert_eq!(arguments.next(), None);
        }
    }
}
