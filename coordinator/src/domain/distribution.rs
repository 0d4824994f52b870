//! What each lane has to hold, derived from the catalogue alone.

use super::demands;
use events::catalog::Catalog;
use events::{Lane, LaneTags};
use schemas::{AgentKind, AgentStatus, Demands, Digest, Name};
use std::collections::BTreeMap;

/// A lane that some agent needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredLane {
    pub tags: LaneTags,
    pub scripts: BTreeMap<Name, DesiredScript>,
}

/// The version of a script that a lane's runners hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredScript {
    pub version: u32,
    pub digest: Digest,
    /// Of the packed folder, in bytes.
    pub size: u64,
}

/// The lanes of all active procedural agents, with the scripts these run.
pub fn distribution(catalog: &Catalog) -> BTreeMap<Lane, DesiredLane> {
    let mut lanes: BTreeMap<Lane, DesiredLane> = BTreeMap::new();
    let agents = catalog.agents.values().map(|entry| &entry.current.document);
    let active = agents
        .filter(|agent| agent.kind == AgentKind::Procedural && agent.status == AgentStatus::Active);
    for agent in active {
        let script = agent.script.as_ref().and_then(|s| catalog.scripts.get(s));
        let Some(script) = script.map(|entry| &entry.current) else {
            continue;
        };
        let Ok(tags) = demands::lane_tags(agent, &script.document, &Demands::default()) else {
            // Refused when written, so nobody can have stored it; and nobody could serve it.
            continue;
        };
        let lane = lanes.entry(tags.lane()).or_insert_with(|| DesiredLane {
            tags,
            scripts: BTreeMap::new(),
        });
        let desired = DesiredScript {
            version: script.version,
            digest: script.digest,
            size: script.size,
        };
        lane.scripts.insert(script.document.name.clone(), desired);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agents;
    use crate::domain::testing::{agent_created, evolved, given, name, script_created};

    #[test]
    fn agents_of_the_same_demands_share_a_lane() {
        let catalog = given([
            script_created("a", "1"),
            script_created("b", "1"),
            script_created("unused", "1"),
            agent_created("one", "a"),
            agent_created("two", "b"),
            agent_created("three", "b"),
        ]);
        let lanes = distribution(&catalog);
        assert_eq!(lanes.len(), 1);
        let lane = lanes.values().next().unwrap();
        assert_eq!(lane.tags.to_string(), "{type:procedural}");
        assert!(lane.scripts.keys().eq([&name("a"), &name("b")]));
    }

    #[test]
    fn an_inactive_agent_needs_nothing() {
        let catalog = given([script_created("a", "1"), agent_created("one", "a")]);
        let inactive = agents::set_status(&catalog, &name("one"), AgentStatus::Inactive).unwrap();
        assert!(distribution(&evolved(catalog, inactive)).is_empty());
    }
}
