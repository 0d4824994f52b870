//! How long something may take, in whole seconds. Holds no clock and no defaults of others.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A week: longer work belongs in a service, and a run must end while its stream still holds it.
pub const MAX_TIMEOUT_SECONDS: u32 = 7 * 24 * 60 * 60;

/// A time limit of 1 second to 7 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Timeout(u32);

/// A time limit that is no number of seconds between 1 and [`MAX_TIMEOUT_SECONDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a timeout: allowed are 1 to {MAX_TIMEOUT_SECONDS} whole seconds")]
pub struct InvalidTimeout(pub u32);

impl Timeout {
    /// A limit that stands in the program; checked when it is compiled if it is a constant.
    pub const fn from_const(seconds: u32) -> Self {
        assert!(1 <= seconds && seconds <= MAX_TIMEOUT_SECONDS);
        Self(seconds)
    }

    /// The limit in seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// The limit as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u32> for Timeout {
    type Error = InvalidTimeout;
    fn try_from(seconds: u32) -> Result<Self, InvalidTimeout> {
        match seconds {
            1..=MAX_TIMEOUT_SECONDS => Ok(Self(seconds)),
            _ => Err(InvalidTimeout(seconds)),
        }
    }
}

impl From<Timeout> for u32 {
    fn from(timeout: Timeout) -> u32 {
        timeout.0
    }
}

impl JsonSchema for Timeout {
    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_SECONDS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_at_least_a_second_and_at_most_a_week() {
        for (seconds, ok) in [(0, false), (1, true), (604_800, true), (604_801, false)] {
            assert_eq!(Timeout::try_from(seconds).is_ok(), ok, "{seconds}");
        }
        assert!(serde_json::from_str::<Timeout>("-1").is_err());
        assert!(serde_json::from_str::<Timeout>("1.5").is_err());
    }
}
