//! Which fields of a document are different from another one's. Says nothing of how.

use serde_json::Value;
use std::collections::BTreeSet;

/// The paths of the fields that differ: `demands.tags`. Lists count as one field; what is absent
/// and what is `null` are the same.
pub fn changed_fields(old: &Value, new: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    walk("", old, new, &mut paths);
    paths
}

fn walk(path: &str, old: &Value, new: &Value, paths: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                let of = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned();
                let (old, new) = (of(old).unwrap_or_default(), of(new).unwrap_or_default());
                walk(&path, &old, &new, paths);
            }
        }
        _ if old != new => paths.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_named_by_their_path() {
        let old = json!({"description": "a", "demands": {"tags": ["uv"]}, "gone": 1});
        let new = json!({"description": "a", "demands": {"tags": ["uv", "x"]}, "new": {"a": 1}});
        assert_eq!(changed_fields(&old, &new), ["demands.tags", "gone", "new"]);
    }
}
