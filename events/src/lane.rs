//! A lane: one distinct set of demand tags, and the id under which it stands in subjects.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Tag;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The tags that all have to be offered by whoever serves the lane. Sorted, without doubles.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct LaneTags(BTreeSet<Tag>);

impl LaneTags {
    pub fn iter(&self) -> impl Iterator<Item = &Tag> + Clone {
        self.0.iter()
    }

    /// The lane's id: the first 128 bits of SHA-256 over the sorted tags, each ended by a newline.
    /// A tag holds no control characters, so no two sets give the same text.
    pub fn lane(&self) -> Lane {
        let mut hash = Sha256::new();
        for tag in &self.0 {
            hash.update(tag.as_str());
            hash.update(b"\n");
        }
        Lane(hex::encode(&hash.finalize()[..Lane::BYTES]))
    }

    /// Whether a runner that offers `offered` serves this lane. Where it names `one_of`, only a lane
    /// that demands at least one of these.
    pub fn is_served_by(&self, offered: &BTreeSet<Tag>, one_of: &BTreeSet<Tag>) -> bool {
        self.0.is_subset(offered) && (one_of.is_empty() || !self.0.is_disjoint(one_of))
    }

    /// The tags of this lane that `offered` lacks.
    pub fn missing_from<'a>(&'a self, offered: &'a BTreeSet<Tag>) -> impl Iterator<Item = &'a Tag> {
        self.0.difference(offered)
    }
}

impl FromIterator<Tag> for LaneTags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        Self(tags.into_iter().collect())
    }
}

impl fmt::Display for LaneTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<&str> = self.0.iter().map(Tag::as_str).collect();
        write!(f, "{{{}}}", tags.join(", "))
    }
}

/// A lane's id in subjects: 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lane(String);

/// Text that is not a lane's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lane's id is 32 lower-case hex digits")]
pub struct InvalidLane;

impl Lane {
    const BYTES: usize = 16;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The end of the id as a number: evenly spread, as ids are digests.
    pub fn number(&self) -> u64 {
        let end = self.0.len().saturating_sub(16);
        u64::from_str_radix(&self.0[end..], 16).unwrap_or_default()
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Lane {
    fn schema_name() -> Cow<'static, str> {
        "Lane".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^[0-9a-f]{32}$"})
    }
}

impl FromStr for Lane {
    type Err = InvalidLane;
    fn from_str(text: &str) -> Result<Self, InvalidLane> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 2 * Self::BYTES && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidLane)
        }
    }
}

impl TryFrom<String> for Lane {
    type Error = InvalidLane;
    fn try_from(text: String) -> Result<Self, InvalidLane> {
        text.parse()
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> String {
        lane.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags(texts: &[&str]) -> LaneTags {
        texts.iter().map(|t| t.parse::<Tag>().unwrap()).collect()
    }

    #[test]
    fn the_order_in_which_tags_are_given_does_not_matter() {
        assert_eq!(tags(&["uv", "a"]).lane(), tags(&["a", "uv", "a"]).lane());
        assert_ne!(tags(&["uv"]).lane(), tags(&["uv", "a"]).lane());
    }

    #[test]
    fn the_id_of_a_lane_never_changes() {
        let id = tags(&["messaging-team", "type:procedural", "uv"]).lane();
        assert_eq!(id.as_str(), "09d49a2fec45bf89fa092eac8b5af33c");
    }

    #[test]
    fn a_runner_serves_a_lane_when_it_offers_all_of_its_tags() {
        let offered: BTreeSet<Tag> = tags(&["uv", "bash", "x"]).0;
        let serves = |lane: &[&str]| tags(lane).is_served_by(&offered, &BTreeSet::new());
        assert!(serves(&["uv", "bash"]) && serves(&[]) && !serves(&["uv", "gpu"]));
    }

    #[test]
    fn a_runner_may_take_only_lanes_that_demand_what_it_has() {
        let offered: BTreeSet<Tag> = tags(&["uv", "gpu", "team"]).0;
        let one_of: BTreeSet<Tag> = tags(&["gpu", "team"]).0;
        let serves = |lane: &[&str]| tags(lane).is_served_by(&offered, &one_of);
        assert!(serves(&["gpu", "uv"]) && serves(&["team"]));
        assert!(!serves(&["uv"]) && !serves(&[]) && !serves(&["gpu", "x"]));
    }

    proptest! {
        #[test]
        fn different_sets_have_different_lanes(a in sets(), b in sets()) {
            prop_assert_eq!(a == b, a.lane() == b.lane());
        }
    }

    fn sets() -> impl Strategy<Value = LaneTags> {
        proptest::collection::btree_set("[a-c]{1,3}", 0..4)
            .prop_map(|set| set.iter().map(|t| t.parse::<Tag>().unwrap()).collect())
    }
}
