//! Identifiers as types: what is not well formed does not get past the edge.
//!
//! Nothing here draws random numbers: the caller passes the bits in.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Text that is not an identifier of the expected kind; says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {kind}; allowed is {allowed}")]
pub struct InvalidId {
    kind: &'static str,
    given: String,
    allowed: &'static str,
}

/// The longest part of refused text that an error repeats, in characters.
const SHOWN: usize = 80;

fn invalid(kind: &'static str, given: &str, allowed: &'static str) -> InvalidId {
    let given = given.chars().take(SHOWN).collect();
    InvalidId {
        kind,
        given,
        allowed,
    }
}

/// A string newtype whose only way in is its `FromStr`.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

text_id! {
    /// One execution: `run_` and 16 lower-case hex digits.
    RunId r"^run_[0-9a-f]{16}$"
}

text_id! {
    /// The session a run belongs to: 1 to 128 letters, digits, `.`, `_`, `:` and `-`. Clients may
    /// bring their own; ours are `ses_` and 16 hex digits.
    SessionId r"^[A-Za-z0-9._:-]{1,128}$"
}

text_id! {
    /// A runner: 1 to 60 letters, digits, `_` and `-`, beginning with a letter or digit. It stands
    /// in subjects, hence the narrow alphabet.
    RunnerId r"^[A-Za-z0-9][A-Za-z0-9_-]{0,59}$"
}

impl RunId {
    pub fn from_bits(bits: u64) -> Self {
        Self(format!("run_{bits:016x}"))
    }

    /// As [`from_bits`](Self::from_bits) took them.
    pub fn bits(&self) -> u64 {
        let hex = self.0.trim_start_matches("run_");
        u64::from_str_radix(hex, 16).unwrap_or_default()
    }
}

impl FromStr for RunId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = text.strip_prefix("run_").unwrap_or_default();
        let well_formed = hex.len() == 16 && hex.bytes().all(is_lower_hex);
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid("run id", text, "run_ and 16 lower-case hex digits"))
        }
    }
}

impl SessionId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 128;

    pub fn from_bits(bits: u64) -> Self {
        Self(format!("ses_{bits:016x}"))
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        if (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            let allowed = "1 to 128 letters, digits, '.', '_', ':' and '-'";
            Err(invalid("session id", text, allowed))
        }
    }
}

impl RunnerId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 60;

    /// Of a runner that does not reach the broker: coordinators serve it over HTTP, and act in its
    /// name. `hash` is of what it is known by; no other runner has such an id.
    pub fn over_http(hash: u64) -> Self {
        Self(format!("{OVER_HTTP}{hash:016x}"))
    }

    pub fn is_over_http(&self) -> bool {
        self.0.starts_with(OVER_HTTP)
    }
}

/// How the ids of runners begin that coordinators serve over HTTP.
const OVER_HTTP: &str = "http-";

impl FromStr for RunnerId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= Self::MAX_LEN && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            let allowed = "1 to 60 letters, digits, '_' and '-', beginning with a letter or digit";
            Err(invalid("runner id", text, allowed))
        }
    }
}

/// An event's id: a UUID, version 7, so that ids sort roughly by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(uuid::Uuid);

impl EventId {
    /// A fresh id. The one place in this crate that reads clock and randomness; folds and rules
    /// never call it.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    pub fn from_bits(bits: u128) -> Self {
        Self(uuid::Uuid::from_u128(bits))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parsed = uuid::Uuid::parse_str(text);
        parsed
            .map(Self)
            .map_err(|_| invalid("event id", text, "a UUID"))
    }
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("run_0123456789abcdef", true)]
    #[case("run_0123456789ABCDEF", false)]
    #[case("run_0123456789abcde", false)]
    #[case("0123456789abcdef", false)]
    #[case("run_0123456789abcde.", false)]
    fn run_ids(#[case] text: &str, #[case] accepted: bool) {
        assert_eq!(text.parse::<RunId>().is_ok(), accepted);
    }

    #[rstest]
    #[case("web-1", true)]
    #[case("", false)]
    #[case("-web", false)]
    #[case("a.b", false)]
    #[case("a*", false)]
    #[case("coordinator", true)]
    fn runner_ids(#[case] text: &str, #[case] accepted: bool) {
        assert_eq!(text.parse::<RunnerId>().is_ok(), accepted);
    }

    #[test]
    fn runners_over_http_are_known_by_their_ids() {
        let id = RunnerId::over_http(7);
        assert_eq!(id.as_str().parse::<RunnerId>().unwrap(), id);
        assert!(id.is_over_http() && !"rnr-1".parse::<RunnerId>().unwrap().is_over_http());
    }

    #[test]
    fn a_refused_id_says_what_is_allowed() {
        let refusal = "x".parse::<RunId>().unwrap_err().to_string();
        assert_eq!(
            refusal,
            "\"x\" is not a run id; allowed is run_ and 16 lower-case hex digits"
        );
    }
}
