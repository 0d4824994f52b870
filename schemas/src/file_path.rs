//! The path of a file inside a script's folder. Text only: looks at no file system.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::text::{InvalidName, checked_text, shown};

/// Folders within folders, the file's own name included.
pub const MAX_PATH_DEPTH: usize = 8;
/// What common file systems take for one name.
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Leaves room for the project's and the bundle's own path within the system's 4,096 bytes.
pub const MAX_PATH_BYTES: usize = 1024;

/// A relative path of plain components joined by `/`: no `.`, `..` or empty component, none that
/// begins with `-`, no backslash, no control character, at most 8 deep.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

checked_text!(FilePath);

impl FilePath {
    const ALLOWED: &'static str = "a relative path of at most 8 plain names and 1024 bytes, without \
        \"..\", \".\", empty names, a \"-\" in front, backslashes or control characters";

    /// Its components, outermost folder first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Its last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folders it stands in, outermost first: `a`, `a/b` for `a/b/c`.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    fn check(text: &str) -> Result<(), InvalidName> {
        let depth = text.split('/').count();
        if text.len() <= MAX_PATH_BYTES && depth <= MAX_PATH_DEPTH && text.split('/').all(is_plain)
        {
            return Ok(());
        }
        Err(InvalidName {
            what: "file path",
            given: shown(text),
            allowed: Self::ALLOWED,
        })
    }
}

fn is_plain(component: &str) -> bool {
    !matches!(component, "" | "." | "..")
        && component.len() <= MAX_COMPONENT_BYTES
        && !component.starts_with('-')
        && !component.contains(|c: char| c == '\\' || c.is_control())
}

impl JsonSchema for FilePath {
    fn schema_name() -> Cow<'static, str> {
        "FilePath".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": Self::ALLOWED,
            "minLength": 1,
            "maxLength": MAX_PATH_BYTES,
            "pattern": r"^[^/\\-][^\\]*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("send-notification.py")]
    #[case("lib/a b.py")]
    #[case(".hidden")]
    #[case("...")]
    #[case("größe/日本.txt")]
    #[case("1/2/3/4/5/6/7/8")]
    fn takes(#[case] text: &str) {
        assert_eq!(text.parse::<FilePath>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case("")]
    #[case("/etc/passwd")]
    #[case("../x")]
    #[case("a/../b")]
    #[case("a/./b")]
    #[case("a//b")]
    #[case("a/")]
    #[case("-rf")]
    #[case("a/-rf")]
    #[case("a\\b")]
    #[case("a\nb")]
    #[case("a\0b")]
    #[case("a\u{85}")]
    #[case("1/2/3/4/5/6/7/8/9")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<FilePath>().is_err());
    }

    #[test]
    fn bounds_lengths() {
        assert!("x".repeat(255).parse::<FilePath>().is_ok());
        assert!("x".repeat(256).parse::<FilePath>().is_err());
        let long = vec!["x".repeat(204); 5].join("/");
        assert_eq!(long.len(), 1024);
        assert!(long.parse::<FilePath>().is_ok());
        assert!(format!("{long}x").parse::<FilePath>().is_err());
    }

    #[test]
    fn knows_its_folders() {
        let path: FilePath = "a/b/c".parse().unwrap();
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path.file_name(), "c");
    }
}
