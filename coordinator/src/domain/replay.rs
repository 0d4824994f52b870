//! What changed between two states of the catalogue: names that came, went or have another version,
//! with the fields and files that are different, and pins.

use super::versions::Versioned;
use events::catalog::{
    AgentVersion, CapabilityVersion, Catalog, Entry, Kind, Place, ScriptVersion,
};
use schemas::Name;
use std::collections::{BTreeMap, BTreeSet};

/// A name that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub kind: Kind,
    pub name: Name,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Added {
        version: u32,
    },
    Removed {
        version: u32,
    },
    Changed {
        from: u32,
        to: u32,
        /// The paths of fields and files that are different; none where it came back as it was.
        changes: Vec<String>,
    },
    Pinned {
        place: Place,
    },
    Unpinned {
        place: Place,
    },
}

/// By kind and name: scripts, capabilities, agents, pins.
pub fn differences(before: &Catalog, after: &Catalog) -> Vec<Difference> {
    let mut differences = of_kind::<ScriptVersion>(&before.scripts, &after.scripts);
    differences.extend(of_kind::<CapabilityVersion>(
        &before.capabilities,
        &after.capabilities,
    ));
    differences.extend(of_kind::<AgentVersion>(&before.agents, &after.agents));
    differences.extend(pins(before, after));
    differences
}

fn of_kind<V: Versioned>(
    before: &BTreeMap<Name, Entry<V>>,
    after: &BTreeMap<Name, Entry<V>>,
) -> Vec<Difference> {
    let names: BTreeSet<&Name> = before.keys().chain(after.keys()).collect();
    let of_name = |name: &Name| {
        let (before, after) = (before.get(name), after.get(name));
        let what = match (before.map(|e| &e.current), after.map(|e| &e.current)) {
            (None, None) => return None,
            (None, Some(new)) => What::Added {
                version: new.number(),
            },
            (Some(old), None) => What::Removed {
                version: old.number(),
            },
            (Some(old), Some(new)) if old.number() == new.number() => return None,
            (Some(old), Some(new)) => What::Changed {
                from: old.number(),
                to: new.number(),
                changes: new.changes(old),
            },
        };
        Some(Difference {
            kind: V::KIND,
            name: name.clone(),
            what,
        })
    };
    names.into_iter().filter_map(of_name).collect()
}

fn pins(before: &Catalog, after: &Catalog) -> Vec<Difference> {
    let (old, new) = (places(before), places(after));
    let all: BTreeSet<_> = old.union(&new).collect();
    let of_place = |at: &&(&Name, &Place)| {
        let place = at.1.clone();
        let what = match (old.contains(*at), new.contains(*at)) {
            (false, true) => What::Pinned { place },
            (true, false) => What::Unpinned { place },
            _ => return None,
        };
        Some(Difference {
            kind: Kind::Pin,
            name: at.0.clone(),
            what,
        })
    };
    all.iter().filter_map(of_place).collect()
}

fn places(catalog: &Catalog) -> BTreeSet<(&Name, &Place)> {
    let pins = catalog.pins.iter();
    pins.flat_map(|(name, pins)| pins.iter().map(move |pin| (name, &pin.place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{agent_created, evolved, given, name, script_created};
    use crate::domain::{agents, pins};
    use schemas::AgentStatus;

    #[test]
    fn what_came_went_changed_and_was_pinned() {
        let before = given([
            script_created("a", "1"),
            script_created("gone", "1"),
            agent_created("x", "a"),
        ]);
        assert!(differences(&before, &before).is_empty());
        let place = Place::Tags {
            tags: ["gpu".parse().unwrap()].into(),
        };
        let off = agents::set_status(&before, &name("x"), AgentStatus::Inactive).unwrap();
        let pinned = pins::pin(&before, &name("a"), &place).unwrap();
        let gone = crate::domain::scripts::delete(&before, &name("gone")).unwrap();
        let mut after = evolved(evolved(evolved(before.clone(), off), pinned), gone);
        after.evolve(events::Timestamp::UNIX_EPOCH, &script_created("new", "1"));
        let told: Vec<String> = differences(&before, &after)
            .iter()
            .map(|d| format!("{} {:?}", d.name, d.what))
            .collect();
        let pin = format!("a Pinned {{ place: {place:?} }}");
        assert_eq!(
            told,
            [
                "gone Removed { version: 1 }",
                "new Added { version: 1 }",
                "x Changed { from: 1, to: 2, changes: [\"status\"] }",
                &pin
            ]
        );
        let back = differences(&after, &before);
        assert!(matches!(back.last().unwrap().what, What::Unpinned { .. }));
    }
}
