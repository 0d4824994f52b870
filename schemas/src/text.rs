//! How checked texts are made: one macro for newtypes over `String`, the error they share, and how a
//! text somebody gave us is shown back. Knows no single rule: each newtype brings its own `check`.

/// A text that is not what it should be. Its message says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} is not a {what}: {allowed}")]
pub struct InvalidName {
    /// What it should have been: `name`, `tag`, `file path`, `digest`.
    pub what: &'static str,
    /// What was given, escaped and shortened, in quotes.
    pub given: String,
    /// The rule.
    pub allowed: &'static str,
}

/// Enough to recognise a text by, short enough for one line of a log.
const SHOWN_CHARS: usize = 60;

/// A foreign text made safe for messages: in quotes, escaped, cut after 60 characters.
pub fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars();
    for c in chars.by_ref().take(SHOWN_CHARS) {
        if is_printable(c) && c != '"' && c != '\\' || c == ' ' {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out.push_str(if chars.next().is_some() {
        "…\""
    } else {
        "\""
    });
    out
}

/// Whether a character leaves a mark of its own. Control characters, white space, and the invisible
/// ones that reorder or join text (bidirectional marks, zero-width characters, byte order mark,
/// tag characters) do not: with them two texts that differ look alike.
pub(crate) fn is_printable(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    !(c.is_control() || c.is_whitespace() || invisible)
}

/// Gives a `struct X(String)` with a `fn check(&str) -> Result<(), InvalidName>` its conversions.
macro_rules! checked_text {
    ($type:ident) => {
        impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::text::InvalidName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::text::InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> String {
                text.0
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::try_from(text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use checked_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_foreign_text_on_one_short_line() {
        assert_eq!(shown("a b"), r#""a b""#);
        assert_eq!(shown("a\nb\"\u{202e}"), r#""a\nb\"\u{202e}""#);
        assert_eq!(shown(&"x".repeat(61)), format!("\"{}…\"", "x".repeat(60)));
    }
}
