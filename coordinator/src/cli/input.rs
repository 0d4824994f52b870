//! JSON that comes from the command line: `@file`, `-`, the JSON itself, and `-p key=value`.
//! Whether it fits a schema is the server's to say.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::failure::Failure;

/// One `-p key=value`, not yet a JSON value: that needs the schema.
#[derive(Clone, Debug)]
pub struct Pair {
    key: String,
    text: String,
}

/// For clap: `key=value`; the value may be empty and may hold further `=`.
pub fn parse_pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Pair {
            key: key.to_owned(),
            text: value.to_owned(),
        }),
        _ => Err("write it as key=value".to_owned()),
    }
}

/// `@file`, `-` for standard input, or the JSON itself.
pub fn read_json(flag: &str, text: &str) -> Result<Value, Failure> {
    let (source, json) = match text.strip_prefix('@') {
        Some(path) => (path.to_owned(), read_text(Path::new(path))?),
        None if text == "-" => ("standard input".to_owned(), read_stdin()?),
        None => (flag.to_owned(), text.to_owned()),
    };
    schemas::value_from_json("document", json.as_bytes()).map_err(|error| {
        Failure::usage(format!("{source} is not JSON"))
            .because(error.message)
            .hint(format!(
                "{flag} @file.json, {flag} -, or {flag} '{{\"key\": \"value\"}}'"
            ))
    })
}

pub fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}", path.display())).because(error))
}

/// The parameters of a run: the object of `--params`, and over it each `-p`.
pub fn parameters(base: Option<Value>, pairs: &[Pair], schema: &Value) -> Result<Value, Failure> {
    let mut parameters = match base {
        None => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => {
            return Err(Failure::usage("parameters are a JSON object")
                .hint("--params '{\"key\": \"value\"}'"));
        }
    };
    for (index, pair) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|earlier| earlier.key == pair.key) {
            return Err(
                Failure::usage(format!("parameter `{}` is given twice", pair.key))
                    .hint(format!("-p {}='[\"a\", \"b\"]' for a list", pair.key)),
            );
        }
        parameters.insert(
            pair.key.clone(),
            value(&pair.text, &schema["properties"][&pair.key]),
        );
    }
    Ok(Value::Object(parameters))
}

/// What is declared a string stays one; else JSON is JSON, and the rest is a string.
fn value(text: &str, declared: &Value) -> Value {
    let string = || Value::String(text.to_owned());
    if is_string(text, declared) {
        return string();
    }
    serde_json::from_str(text).unwrap_or_else(|_| string())
}

fn is_string(text: &str, declared: &Value) -> bool {
    match &declared["type"] {
        Value::String(name) => name == "string",
        Value::Array(names) => names.iter().any(|name| name == "string"),
        _ => {
            declared["const"] == text
                || declared["enum"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one == text))
        }
    }
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage("cannot read standard input").because(error))?;
    Ok(text)
}

/// A stream with less would take hardly a result.
const SIZE_MIN: u64 = 1024 * 1024;

/// `500MiB`, `4GiB`, or bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let of_unit = units.iter().find_map(|(unit, bits)| {
        let count = text.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
        count.checked_mul(1 << bits)
    });
    let size = of_unit.or_else(|| text.parse().ok());
    // The broker counts with a sign.
    let size = size.filter(|size| i64::try_from(*size).is_ok());
    match size.ok_or_else(|| format!("`{text}` is no size; write 500MiB or 4GiB"))? {
        size if size < SIZE_MIN => Err(format!("`{text}` is too small; the least is 1MiB")),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::declared_string(json!({"type": "string"}), "007", json!("007"))]
    #[case::string_or_null(json!({"type": ["string", "null"]}), "null", json!("null"))]
    #[case::integer(json!({"type": "integer"}), "3", json!(3))]
    #[case::left_to_the_server(json!({"type": "integer"}), "three", json!("three"))]
    #[case::boolean(json!({"type": "boolean"}), "true", json!(true))]
    #[case::array(json!({"type": "array"}), "[1,2]", json!([1, 2]))]
    #[case::choice(json!({"enum": ["1", "2"]}), "1", json!("1"))]
    #[case::undeclared_json(json!(null), "{\"a\":1}", json!({"a": 1}))]
    #[case::undeclared_text(json!(null), "hello world", json!("hello world"))]
    #[case::empty(json!(null), "", json!(""))]
    fn values(#[case] declared: Value, #[case] text: &str, #[case] expected: Value) {
        let pair = parse_pair(&format!("k={text}")).unwrap();
        let schema = json!({"properties": {"k": declared}});
        assert_eq!(
            parameters(None, &[pair], &schema).unwrap(),
            json!({"k": expected})
        );
    }

    #[test]
    fn pairs_go_over_the_object() {
        let pairs = [parse_pair("b=x=y").unwrap()];
        let merged = parameters(Some(json!({"a": 1, "b": 2})), &pairs, &Value::Null).unwrap();
        assert_eq!(merged, json!({"a": 1, "b": "x=y"}));
    }

    #[test]
    fn what_is_unclear_is_refused() {
        assert!(parse_pair("novalue").is_err() && parse_pair("=x").is_err());
        assert!(parameters(Some(json!([1])), &[], &Value::Null).is_err());
        let twice = [parse_pair("a=1").unwrap(), parse_pair("a=2").unwrap()];
        assert!(
            parameters(None, &twice, &Value::Null)
                .unwrap_err()
                .report()
                .contains("twice")
        );
        assert!(read_json("--params", "{nope").is_err());
    }

    #[test]
    fn sizes_have_a_unit_or_are_bytes() {
        assert_eq!(parse_size("4GiB"), Ok(4 << 30));
        assert_eq!(parse_size("1048576"), Ok(1 << 20));
        assert!(parse_size("1KiB").unwrap_err().contains("too small"));
        for none in ["4GB", "", "GiB", "-1", "99999999TiB", "9223372036854775808"] {
            assert!(parse_size(none).unwrap_err().contains("500MiB"), "{none}");
        }
    }
}
