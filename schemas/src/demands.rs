//! What a script, an agent or a request demands of the runner, and the lane's tags that follow from it.
//! Does not know which runner satisfies them nor how a lane is named.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::absent;
use crate::name::Tag;
use crate::text::{InvalidName, shown};

/// More tags than any lane needs; every runner compares them all.
pub const MAX_DEMAND_TAGS: usize = 32;

/// What the runner must be. Empty fields demand nothing; unknown fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Demands {
    /// The host it must run on.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub hostname: Option<String>,
    /// The project directory it must work in.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub project_dir: Option<String>,
    /// The profile its executor must have.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub executor_profile: Option<String>,
    /// The type its executor must be of, as `procedural`.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub executor_type: Option<String>,
    /// Tags it must carry, all of them, as `uv`. Sorted, each once.
    #[serde(
        default,
        deserialize_with = "sorted_tags",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = MAX_DEMAND_TAGS))]
    pub tags: Vec<Tag>,
}

/// Two demands that no single runner can satisfy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{field} {one} and {field} {other} are demanded at once, and no runner is both; drop one of them"
)]
pub struct ConflictingDemands {
    /// The field that is demanded twice, as `hostname`.
    pub field: &'static str,
    /// One demanded value, escaped, in quotes.
    pub one: String,
    /// The other one.
    pub other: String,
}

impl Demands {
    /// Demands with nothing but these tags.
    pub fn of_tags(tags: impl IntoIterator<Item = Tag>) -> Self {
        Self {
            tags: sorted(tags.into_iter().collect()),
            ..Self::default()
        }
    }

    /// Whether any runner will do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What both demand together.
    ///
    /// # Errors
    /// When they demand two different hosts, directories, profiles or types.
    pub fn merge(&self, other: &Self) -> Result<Self, ConflictingDemands> {
        let tags = [&self.tags[..], &other.tags[..]].concat();
        Ok(Self {
            hostname: one_of("hostname", &self.hostname, &other.hostname, Tag::host)?,
            project_dir: one_of(
                "project_dir",
                &self.project_dir,
                &other.project_dir,
                Tag::dir,
            )?,
            executor_profile: one_of(
                "executor_profile",
                &self.executor_profile,
                &other.executor_profile,
                Tag::profile,
            )?,
            executor_type: one_of(
                "executor_type",
                &self.executor_type,
                &other.executor_type,
                Tag::executor_type,
            )?,
            tags: sorted(tags),
        })
    }

    /// Every tag a runner must carry to serve this lane: the demanded ones, and one implicit tag for
    /// each other field.
    pub fn lane_tags(&self) -> BTreeSet<Tag> {
        let fields = [
            self.hostname.as_deref().map(Tag::host),
            self.project_dir.as_deref().map(Tag::dir),
            self.executor_profile.as_deref().map(Tag::profile),
            self.executor_type.as_deref().map(Tag::executor_type),
        ];
        fields
            .into_iter()
            .flatten()
            .chain(self.tags.iter().cloned())
            .collect()
    }

    /// Refuses demands that people may not write: reserved tags.
    ///
    /// # Errors
    /// When a tag has a reserved prefix.
    pub fn check_user(&self) -> Result<(), InvalidName> {
        self.tags.iter().try_for_each(Tag::refuse_reserved)
    }
}

/// Two values are the same demand when they make the same tag.
fn one_of(
    field: &'static str,
    one: &Option<String>,
    other: &Option<String>,
    tag: fn(&str) -> Tag,
) -> Result<Option<String>, ConflictingDemands> {
    match (one, other) {
        (Some(a), Some(b)) if tag(a) != tag(b) => Err(ConflictingDemands {
            field,
            one: shown(a),
            other: shown(b),
        }),
        _ => Ok(one.as_ref().or(other.as_ref()).cloned()),
    }
}

fn sorted(mut tags: Vec<Tag>) -> Vec<Tag> {
    tags.sort();
    tags.dedup();
    tags
}

fn sorted_tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tag>, D::Error> {
    let tags: Vec<Tag> = sorted(absent::null_as_default(deserializer)?);
    if tags.len() > MAX_DEMAND_TAGS {
        let message = format!(
            "{} tags are too many: at most {MAX_DEMAND_TAGS}",
            tags.len()
        );
        return Err(serde::de::Error::custom(message));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn demands(value: Value) -> Demands {
        serde_json::from_value(value).unwrap()
    }

    fn tags_of(demands: &Demands) -> Vec<String> {
        demands.lane_tags().into_iter().map(String::from).collect()
    }

    #[test]
    fn merges_the_agents_tags_with_the_scripts() {
        let script = demands(json!({"tags": ["uv"]}));
        let agent =
            demands(json!({"tags": ["uv", "messaging-team"], "executor_type": "procedural"}));
        let merged = agent.merge(&script).unwrap();
        assert_eq!(
            tags_of(&merged),
            ["messaging-team", "type:procedural", "uv"]
        );
        assert_eq!(merged, script.merge(&agent).unwrap());
    }

    #[test]
    fn every_place_is_a_tag() {
        let all = demands(json!({
            "hostname": "Web", "project_dir": "/srv/p/", "executor_profile": "fast",
            "executor_type": "procedural", "tags": ["b", "a", "a"],
        }));
        let expected = [
            "a",
            "b",
            "dir:/srv/p",
            "host:web",
            "profile:fast",
            "type:procedural",
        ];
        assert_eq!(tags_of(&all), expected);
    }

    #[test]
    fn names_both_hosts_that_are_demanded_at_once() {
        let a = demands(json!({"hostname": "a"}));
        let error = a
            .merge(&demands(json!({"hostname": "b"})))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("hostname \"a\" and hostname \"b\""),
            "{error}"
        );
        assert!(a.merge(&demands(json!({"hostname": "A"}))).is_ok());
    }

    #[test]
    fn empty_and_unknown_fields_demand_nothing() {
        let empty = json!({"hostname": "", "project_dir": null, "tags": null, "moon": "full"});
        assert!(demands(empty).is_empty());
        assert_eq!(serde_json::to_value(Demands::default()).unwrap(), json!({}));
    }

    #[test]
    fn refuses_bad_reserved_and_too_many_tags() {
        assert!(serde_json::from_value::<Demands>(json!({"tags": ["a b"]})).is_err());
        let many: Vec<String> = (0..=MAX_DEMAND_TAGS).map(|n| n.to_string()).collect();
        assert!(serde_json::from_value::<Demands>(json!({"tags": many})).is_err());
        assert!(demands(json!({"tags": ["host:x"]})).check_user().is_err());
        assert!(demands(json!({"tags": ["host"]})).check_user().is_ok());
    }
}
