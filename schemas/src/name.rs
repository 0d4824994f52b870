//! The names of scripts, agents and capabilities, and the tags that say where work may run.
//! Knows nothing of subjects: how a tag is written into one is `events::subject`'s.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::digest::Digest;
use crate::text::{InvalidName, checked_text, is_printable, shown};

/// The longest name: it is a folder on every runner and a token in subjects.
pub const MAX_NAME_CHARS: usize = 60;
/// The longest tag, as in the tags of other schedulers.
pub const MAX_TAG_CHARS: usize = 63;
/// Beginnings of tags that the system makes itself; nobody else may write them.
pub const RESERVED_TAG_PREFIXES: [&str; 5] = ["runner:", "host:", "profile:", "type:", "dir:"];

/// The name of a script, an agent or a capability: `^[a-zA-Z0-9][a-zA-Z0-9_-]{0,59}$`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

checked_text!(Name);

impl Name {
    /// The rule as a regular expression, for schemas and forms.
    pub const PATTERN: &'static str = "^[a-zA-Z0-9][a-zA-Z0-9_-]{0,59}$";

    fn check(text: &str) -> Result<(), InvalidName> {
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if starts && text.len() <= MAX_NAME_CHARS && text.bytes().all(plain) {
            return Ok(());
        }
        Err(InvalidName {
            what: "name",
            given: shown(text),
            allowed: "1 to 60 letters, digits, _ and -, beginning with a letter or digit",
        })
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

/// A demand tag: 1 to 63 printable characters, no white space and nothing invisible.
///
/// Two tags are the same when their characters are: no case folding, no Unicode normalisation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

checked_text!(Tag);

impl Tag {
    const ALLOWED: &'static str =
        "1 to 63 printable characters without spaces or control characters";

    /// Any tag, the reserved ones too: for what the system wrote itself.
    ///
    /// # Errors
    /// When the text is not a tag.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        text.parse()
    }

    /// A tag that a person or a client wrote: the reserved prefixes are refused.
    ///
    /// # Errors
    /// When the text is not a tag or begins like one that the system makes.
    pub fn parse_user(text: &str) -> Result<Self, InvalidName> {
        let tag = Self::parse(text)?;
        tag.refuse_reserved()?;
        Ok(tag)
    }

    /// Refuses a tag that only the system may make.
    ///
    /// # Errors
    /// When the tag has a reserved prefix.
    pub fn refuse_reserved(&self) -> Result<(), InvalidName> {
        if !self.is_reserved() {
            return Ok(());
        }
        Err(InvalidName {
            what: "tag to be given by hand",
            given: shown(&self.0),
            allowed: "runner:, host:, profile:, type: and dir: are made by the system; \
                      demand hostname, executor_profile, executor_type or project_dir instead",
        })
    }

    /// Whether the tag begins with one of [`RESERVED_TAG_PREFIXES`].
    pub fn is_reserved(&self) -> bool {
        RESERVED_TAG_PREFIXES
            .iter()
            .any(|prefix| self.0.starts_with(prefix))
    }

    /// `runner:<id>`: one runner and no other.
    pub fn runner(id: &str) -> Self {
        Self::implicit("runner:", id)
    }

    /// `host:<hostname>`. Host names do not tell upper from lower case: the tag is in lower case.
    pub fn host(hostname: &str) -> Self {
        Self::implicit("host:", &hostname.to_ascii_lowercase())
    }

    /// `profile:<executor profile>`.
    pub fn profile(profile: &str) -> Self {
        Self::implicit("profile:", profile)
    }

    /// `type:<executor type>`, as `type:procedural`.
    pub fn executor_type(executor_type: &str) -> Self {
        Self::implicit("type:", executor_type)
    }

    /// `dir:<project dir>`. Slashes at the end of the path do not count.
    pub fn dir(path: &str) -> Self {
        let trimmed = path.trim_end_matches('/');
        Self::implicit("dir:", if trimmed.is_empty() { path } else { trimmed })
    }

    /// What may not stand in a tag is percent-encoded by its UTF-8 bytes, and so are `%` and a leading
    /// `~`. What is then still too long becomes `~` and the first 40 hex digits of its SHA-256. So two
    /// different values never give one tag.
    fn implicit(prefix: &str, value: &str) -> Self {
        let tag = format!("{prefix}{}", percent_encoded(value));
        if tag.chars().count() <= MAX_TAG_CHARS {
            return Self(tag);
        }
        let digest = Digest::of(value.as_bytes()).hex();
        Self(format!("{prefix}~{}", &digest[..40]))
    }

    fn check(text: &str) -> Result<(), InvalidName> {
        let chars = text.chars().count();
        if (1..=MAX_TAG_CHARS).contains(&chars) && text.chars().all(is_printable) {
            return Ok(());
        }
        Err(InvalidName {
            what: "tag",
            given: shown(text),
            allowed: Self::ALLOWED,
        })
    }
}

fn percent_encoded(value: &str) -> String {
    let mut out = String::new();
    for (at, c) in value.char_indices() {
        if is_printable(c) && c != '%' && !(c == '~' && at == 0) {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

impl JsonSchema for Tag {
    fn schema_name() -> Cow<'static, str> {
        "Tag".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TAG_CHARS,
            "pattern": r"^\S+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a")]
    #[case("send-notification")]
    #[case("json_checker")]
    #[case("9lives")]
    fn takes_names(#[case] text: &str) {
        assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case("")]
    #[case("-a")]
    #[case("_a")]
    #[case("a b")]
    #[case("a/b")]
    #[case("..")]
    #[case("a.b")]
    #[case("ä")]
    #[case("a\n")]
    #[case("a\0")]
    fn refuses_names(#[case] text: &str) {
        let error = text.parse::<Name>().unwrap_err().to_string();
        assert!(error.contains("1 to 60 letters"), "{error}");
    }

    #[test]
    fn a_name_has_sixty_characters_at_most() {
        assert!("x".repeat(60).parse::<Name>().is_ok());
        assert!("x".repeat(61).parse::<Name>().is_err());
    }

    #[rstest]
    #[case("uv", true)]
    #[case("gruppe:größe", true)]
    #[case("日本", true)]
    #[case("a.b>*c", true)]
    #[case("", false)]
    #[case("a b", false)]
    #[case("a\tb", false)]
    #[case("a\u{200b}b", false)]
    #[case("a\u{202e}b", false)]
    #[case("a\u{a0}b", false)]
    fn tells_tags(#[case] text: &str, #[case] ok: bool) {
        assert_eq!(Tag::parse(text).is_ok(), ok);
    }

    #[test]
    fn a_tag_has_sixty_three_characters_however_many_bytes() {
        assert!(Tag::parse(&"ü".repeat(63)).is_ok());
        assert!(Tag::parse(&"ü".repeat(64)).is_err());
    }

    #[test]
    fn people_may_not_write_reserved_tags() {
        for prefix in RESERVED_TAG_PREFIXES {
            assert!(Tag::parse(&format!("{prefix}x")).is_ok());
            let error = Tag::parse_user(&format!("{prefix}x"))
                .unwrap_err()
                .to_string();
            assert!(error.contains("hostname"), "{error}");
        }
        assert!(Tag::parse_user("team:x").is_ok());
    }

    #[rstest]
    #[case(Tag::host("Web-1"), "host:web-1")]
    #[case(Tag::dir("/srv/my project/"), "dir:/srv/my%20project")]
    #[case(Tag::dir("/"), "dir:/")]
    #[case(Tag::dir("~/p%20"), "dir:%7E/p%2520")]
    #[case(Tag::executor_type("procedural"), "type:procedural")]
    #[case(Tag::profile(""), "profile:")]
    fn encodes_implicit_tags(#[case] tag: Tag, #[case] expected: &str) {
        assert_eq!(tag.as_str(), expected);
    }

    proptest! {
        #[test]
        fn every_value_makes_a_tag_of_its_own(a in any::<String>(), b in any::<String>()) {
            let (x, y) = (Tag::profile(&a), Tag::profile(&b));
            prop_assert!(Tag::parse(x.as_str()).is_ok());
            prop_assert_eq!(a == b, x == y);
        }

        #[test]
        fn a_long_path_makes_a_tag(path in "/[a-z ]{70,200}") {
            prop_assert!(Tag::parse(Tag::dir(&path).as_str()).is_ok());
        }
    }
}
