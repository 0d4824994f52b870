//! What a lane has to be told, so that it holds what the catalogue wants it to.

use crate::domain::distribution::{DesiredLane, DesiredScript};
use events::LaneTags;
use events::distribution::LaneEvent;
use schemas::Name;
use std::collections::BTreeMap;

/// A lane as its stream has it: the last message per script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedLane {
    pub tags: Option<LaneTags>,
    pub scripts: BTreeMap<Name, LaneEvent>,
    /// Of the whole lane, which the next message has to expect.
    pub last_sequence: u64,
}

impl ObservedLane {
    /// Takes one stored message in.
    pub fn observe(&mut self, sequence: u64, event: LaneEvent) {
        self.last_sequence = self.last_sequence.max(sequence);
        match event {
            // A lane's tags are its first word, also of one that was retired and made again: what
            // stands before them is about to be taken away.
            LaneEvent::Tags { tags } => {
                self.tags = Some(tags);
                self.scripts.clear();
            }
            LaneEvent::Retired => {
                self.tags = None;
                self.scripts.clear();
            }
            LaneEvent::Sync { ref script, .. } | LaneEvent::Remove { ref script, .. } => {
                self.scripts.insert(script.clone(), event);
            }
        }
    }
}

/// The messages that bring a lane from what it is told to what the catalogue wants at
/// `catalog_sequence`. What follows from a newer catalogue than that is left alone.
pub fn differences(
    desired: Option<&DesiredLane>,
    observed: &ObservedLane,
    catalog_sequence: u64,
) -> Vec<LaneEvent> {
    let wanted = desired.into_iter().flat_map(|lane| &lane.scripts);
    let syncs = wanted
        .filter(|(name, script)| !holds(observed.scripts.get(*name), script))
        .map(|(name, script)| sync(name, script, catalog_sequence));
    let wants = |name: &Name| desired.is_some_and(|lane| lane.scripts.contains_key(name));
    let removes = observed
        .scripts
        .iter()
        .filter(|(name, event)| matches!(event, LaneEvent::Sync { .. }) && !wants(name))
        .map(|(name, _)| LaneEvent::Remove {
            script: name.clone(),
            catalog_sequence,
        });
    let newer_than_observed = |event: &LaneEvent| {
        let observed = script_of(event).and_then(|name| observed.scripts.get(name));
        let observed = observed.and_then(LaneEvent::catalog_sequence);
        observed.is_none_or(|observed| observed < catalog_sequence)
    };
    syncs.chain(removes).filter(newer_than_observed).collect()
}

fn holds(observed: Option<&LaneEvent>, desired: &DesiredScript) -> bool {
    matches!(
        observed,
        Some(LaneEvent::Sync { version, digest, .. })
            if (*version, *digest) == (desired.version, desired.digest)
    )
}

fn sync(name: &Name, script: &DesiredScript, catalog_sequence: u64) -> LaneEvent {
    LaneEvent::Sync {
        script: name.clone(),
        version: script.version,
        digest: script.digest,
        size: script.size,
        catalog_sequence,
    }
}

fn script_of(event: &LaneEvent) -> Option<&Name> {
    match event {
        LaneEvent::Tags { .. } | LaneEvent::Retired => None,
        LaneEvent::Sync { script, .. } | LaneEvent::Remove { script, .. } => Some(script),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::Digest;
    use std::collections::BTreeSet;

    fn desired(scripts: &[(&str, u32)]) -> DesiredLane {
        let script = |(name, version): &(&str, u32)| {
            let desired = DesiredScript {
                version: *version,
                digest: Digest::of(&version.to_be_bytes()),
                size: 1,
            };
            (name.parse().unwrap(), desired)
        };
        DesiredLane {
            tags: LaneTags::default(),
            scripts: scripts.iter().map(script).collect(),
            agents: BTreeSet::new(),
        }
    }

    fn told(observed: &mut ObservedLane, events: Vec<LaneEvent>) {
        for event in events {
            observed.observe(observed.last_sequence + 1, event);
        }
    }

    #[test]
    fn tells_what_is_new_changed_and_gone() {
        let mut observed = ObservedLane::default();
        let first = desired(&[("a", 1), ("b", 1), ("c", 1)]);
        let events = differences(Some(&first), &observed, 1);
        assert_eq!(events.len(), 3);
        told(&mut observed, events);
        let second = desired(&[("a", 1), ("b", 2)]);
        let events = differences(Some(&second), &observed, 2);
        let texts: Vec<String> = events
            .iter()
            .map(|event| serde_json::to_value(event).unwrap()["type"].to_string())
            .collect();
        assert_eq!(texts, ["\"sync\"", "\"remove\""]);
    }

    #[test]
    fn a_lane_that_was_made_again_is_told_everything_again() {
        let mut observed = ObservedLane::default();
        let wanted = desired(&[("a", 1)]);
        let tags = || LaneEvent::Tags {
            tags: LaneTags::default(),
        };
        observed.observe(1, tags());
        let said = differences(Some(&wanted), &observed, 1);
        told(&mut observed, said);
        observed.observe(3, LaneEvent::Retired);
        observed.observe(4, tags());
        // What was said before will be purged, so it does not count any more.
        assert_eq!(differences(Some(&wanted), &observed, 1).len(), 1);
    }

    #[test]
    fn never_goes_back_to_an_older_catalogue() {
        let mut observed = ObservedLane::default();
        let newer = differences(Some(&desired(&[("a", 2)])), &observed, 9);
        told(&mut observed, newer);
        assert_eq!(differences(Some(&desired(&[("a", 1)])), &observed, 8), []);
        assert_eq!(differences(None, &observed, 8), []);
    }

    proptest! {
        #[test]
        fn a_second_look_finds_nothing_to_do(
            before in proptest::collection::btree_map("[a-d]", 1u32..4, 0..4),
            after in proptest::collection::btree_map("[a-d]", 1u32..4, 0..4),
        ) {
            let lane = |scripts: &BTreeMap<String, u32>| {
                let scripts: Vec<(&str, u32)> =
                    scripts.iter().map(|(name, version)| (name.as_str(), *version)).collect();
                desired(&scripts)
            };
            let mut observed = ObservedLane::default();
            for (sequence, wanted) in [(1, &before), (2, &after)] {
                let events = differences(Some(&lane(wanted)), &observed, sequence);
                told(&mut observed, events);
                prop_assert_eq!(differences(Some(&lane(wanted)), &observed, sequence), vec![]);
            }
        }
    }
}
