//! The digest that names content: `sha256:` and 64 hex digits. Hashes bytes; reads no files.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::text::{InvalidName, shown};

const PREFIX: &str = "sha256:";

/// SHA-256 of some content. Two contents with one digest are taken to be the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes a digest that was computed elsewhere, piece by piece.
    pub fn from_raw(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without the prefix, fit for file and object names.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hex digits: for people, never for comparison.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl FromStr for Digest {
    type Err = InvalidName;

    /// Only the one spelling that `Display` writes: lower case, with the prefix.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut raw = [0; 32];
        let lower = |digits: &&str| !digits.bytes().any(|b| b.is_ascii_uppercase());
        text.strip_prefix(PREFIX)
            .filter(lower)
            .and_then(|digits| hex::decode_to_slice(digits, &mut raw).ok())
            .map(|()| Self(raw))
            .ok_or_else(|| InvalidName {
                what: "digest",
                given: shown(text),
                allowed: "sha256: and 64 hex digits in lower case",
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 64];
        // It fits: two digits for each of 32 bytes.
        let written = hex::encode_to_slice(self.0, &mut hex).is_ok();
        let hex = std::str::from_utf8(&hex).ok().filter(|_| written);
        f.write_str(PREFIX)?;
        f.write_str(hex.ok_or(fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn is_written_and_read_back() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), digest);
        assert_eq!(digest.short(), "e3b0c44298fc");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn has_one_spelling() {
        let hex = &EMPTY[PREFIX.len()..];
        for wrong in [
            hex.to_owned(),
            EMPTY.to_uppercase(),
            EMPTY[..70].into(),
            format!("{EMPTY}0"),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
        assert!(
            format!("sha256:{}", hex.to_uppercase())
                .parse::<Digest>()
                .is_err()
        );
    }
}
