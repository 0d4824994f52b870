//! How often a lost run may be begun in all. Holds no default of others.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A script that was lost this often takes its runners with it.
pub const MAX_ATTEMPTS: u32 = 20;

/// From 1 to [`MAX_ATTEMPTS`] attempts, the first one among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Attempts(u32);

/// A number that is none of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a number of attempts: allowed are 1 to {MAX_ATTEMPTS}")]
pub struct InvalidAttempts(pub u32);

impl Attempts {
    pub fn count(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Attempts {
    type Error = InvalidAttempts;
    fn try_from(count: u32) -> Result<Self, InvalidAttempts> {
        match count {
            1..=MAX_ATTEMPTS => Ok(Self(count)),
            _ => Err(InvalidAttempts(count)),
        }
    }
}

impl From<Attempts> for u32 {
    fn from(attempts: Attempts) -> u32 {
        attempts.0
    }
}

impl JsonSchema for Attempts {
    fn schema_name() -> Cow<'static, str> {
        "Attempts".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_at_least_one_and_an_end() {
        for (count, ok) in [(0, false), (1, true), (20, true), (21, false)] {
            assert_eq!(Attempts::try_from(count).is_ok(), ok, "{count}");
        }
    }
}
