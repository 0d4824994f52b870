//! Runners that have joined: the public keys by which the broker knows them. The private halves
//! never leave the runners' hosts.

use crate::{RunnerId, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Name;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The public half of a runner's nkey: `U` and 55 characters of base 32. Whether its checksum is
/// right is for those to see who hand it to the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BrokerKey(String);

/// Text that is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a public key of a NATS user; that is U and 55 upper-case letters and digits from 2 to 7"
)]
pub struct InvalidBrokerKey;

/// In characters.
const KEY_LENGTH: usize = 56;

impl BrokerKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for BrokerKey {
    fn schema_name() -> Cow<'static, str> {
        "BrokerKey".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^U[A-Z2-7]{55}$"})
    }
}

impl FromStr for BrokerKey {
    type Err = InvalidBrokerKey;

    fn from_str(text: &str) -> Result<Self, InvalidBrokerKey> {
        let base32 = |b: u8| matches!(b, b'A'..=b'Z' | b'2'..=b'7');
        let formed = text.len() == KEY_LENGTH && text.starts_with('U') && text.bytes().all(base32);
        formed
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidBrokerKey)
    }
}

impl TryFrom<String> for BrokerKey {
    type Error = InvalidBrokerKey;

    fn try_from(text: String) -> Result<Self, InvalidBrokerKey> {
        text.parse()
    }
}

impl From<BrokerKey> for String {
    fn from(key: BrokerKey) -> Self {
        key.0
    }
}

impl fmt::Display for BrokerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A runner joined, or joined again with another key: what it had before opens nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The runner's id.
    pub runner: Name,
    pub key: BrokerKey,
    /// The token that was good for this once, and is used up by this very event. Absent where an
    /// admin let the runner in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Name>,
}

/// A runner's access as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub key: BrokerKey,
    pub joined_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Member {
    pub fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }
}

/// What a runner signs to show that it holds its key.
pub fn proof_text(id: &RunnerId) -> Vec<u8> {
    format!("coordinator: runner {id} comes back").into_bytes()
}

/// A runner's id as the catalogue names it: both have the same alphabet and length.
pub fn catalog_name(id: &RunnerId) -> Name {
    id.as_str().parse().expect("a runner's id is a name")
}

/// The way back.
pub fn runner_id(name: &Name) -> RunnerId {
    name.as_str().parse().expect("a name is a runner's id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_users_key_is_one() {
        let key = format!("U{}", "A2".repeat(27)) + "B";
        assert_eq!(key.parse::<BrokerKey>().unwrap().as_str(), key);
        for bad in [
            "",
            "U",
            &key[1..],
            &key.to_lowercase(),
            &format!("A{}", &key[1..]),
        ] {
            assert!(bad.parse::<BrokerKey>().is_err(), "{bad}");
        }
        let injected = format!("{}\" }} ]", &key[..51]);
        assert!(injected.parse::<BrokerKey>().is_err());
    }

    #[test]
    fn ids_and_names_are_the_same_words() {
        for text in ["a", "rnr-0123456789abcdef", &"x".repeat(60), "A_b-c"] {
            let id: RunnerId = text.parse().unwrap();
            assert_eq!(runner_id(&catalog_name(&id)), id);
        }
    }
}
