//! Whether somebody could take a run now, and if not, who comes closest.

use events::{LaneTags, RunnerId};
use schemas::Tag;
use std::collections::BTreeSet;
use std::fmt;

/// No runner that is online offers all of a lane's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRunner {
    pub lane_tags: LaneTags,
    /// The online runner that lacks the fewest of them, and what it lacks.
    pub closest: Option<(RunnerId, Vec<Tag>)>,
}

/// `None` when one of the online runners serves the lane.
pub fn no_runner<'a>(
    lane_tags: &LaneTags,
    online: impl IntoIterator<Item = (&'a RunnerId, &'a BTreeSet<Tag>)>,
) -> Option<NoRunner> {
    let mut lacking: Vec<(&RunnerId, Vec<Tag>)> = online
        .into_iter()
        .map(|(id, offered)| (id, lane_tags.missing_from(offered).cloned().collect()))
        .collect();
    lacking.sort_by_key(|(id, missing)| (missing.len(), *id));
    match lacking.into_iter().next() {
        Some((_, missing)) if missing.is_empty() => None,
        closest => Some(NoRunner {
            lane_tags: lane_tags.clone(),
            closest: closest.map(|(id, missing)| (id.clone(), missing)),
        }),
    }
}

impl fmt::Display for NoRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "No online runner offers all of {}", self.lane_tags)?;
        match &self.closest {
            None => write!(f, "; none is online. Start one with these tags"),
            Some((id, missing)) => {
                let missing: LaneTags = missing.iter().cloned().collect();
                write!(f, "; the closest, {id}, lacks {missing}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(texts: &[&str]) -> BTreeSet<Tag> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn warning(offers: &[(&str, &[&str])]) -> Option<String> {
        let lane: LaneTags = tags(&["gpu", "team", "uv"]).into_iter().collect();
        let online: Vec<(RunnerId, BTreeSet<Tag>)> = offers
            .iter()
            .map(|(id, offered)| (id.parse().unwrap(), tags(offered)))
            .collect();
        let online = online.iter().map(|(id, offered)| (id, offered));
        no_runner(&lane, online).map(|warning| warning.to_string())
    }

    #[test]
    fn names_what_the_closest_runner_lacks() {
        assert_eq!(warning(&[("a", &["gpu", "team", "uv", "more"])]), None);
        assert_eq!(
            warning(&[("a", &["uv"]), ("b", &["uv", "team"])]).unwrap(),
            "No online runner offers all of {gpu, team, uv}; the closest, b, lacks {gpu}"
        );
        assert!(warning(&[]).unwrap().contains("none is online"));
    }
}
