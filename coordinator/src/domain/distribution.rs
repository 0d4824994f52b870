//! What each lane has to hold, derived from the catalogue alone: the scripts that active agents need,
//! in the lane of the agent's effective demands, and the scripts that are pinned, in the lane of the
//! place. A capability that no agent has sends its script nowhere.

use super::demands;
use events::catalog::{AgentVersion, Catalog, ScriptVersion};
use events::{Lane, LaneTags};
use schemas::{AgentStatus, Digest, Name};
use std::collections::{BTreeMap, BTreeSet};

/// A lane that an agent or a pin needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredLane {
    pub tags: LaneTags,
    pub scripts: BTreeMap<Name, DesiredScript>,
    /// Whose lane it is; none where it is there for pins only.
    pub agents: BTreeSet<Name>,
}

/// The version of a script that a lane's runners hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredScript {
    pub version: u32,
    pub digest: Digest,
    /// Of the packed folder, in bytes.
    pub size: u64,
}

impl DesiredScript {
    pub fn of(script: &ScriptVersion) -> Self {
        Self {
            version: script.version,
            digest: script.digest,
            size: script.size,
        }
    }
}

/// All lanes that the catalogue needs.
pub fn distribution(catalog: &Catalog) -> BTreeMap<Lane, DesiredLane> {
    let mut lanes = BTreeMap::new();
    let agents = catalog.agents.values().map(|entry| &entry.current);
    for agent in agents.filter(|agent| agent.document.status == AgentStatus::Active) {
        place_agent(&mut lanes, catalog, agent);
    }
    for (script, pins) in &catalog.pins {
        let Some(script) = catalog.scripts.get(script) else {
            continue;
        };
        for pin in pins {
            let lane = lane(&mut lanes, pin.place.lane_tags());
            lane.hold(&script.current);
        }
    }
    lanes
}

fn place_agent(lanes: &mut BTreeMap<Lane, DesiredLane>, catalog: &Catalog, agent: &AgentVersion) {
    let owned = agent.owner.is_some();
    let agent = &agent.document;
    let mut scripts = demands::scripts_of(catalog, agent).peekable();
    // Without a script there is nothing to hold, and an autonomous agent has no runs here. Those of
    // a runner need the lane alone.
    if scripts.peek().is_none() && !owned {
        return;
    }
    let Ok(tags) = demands::lane_of(catalog, agent) else {
        // Refused when written, so nobody can have stored it; and nobody could serve it.
        return;
    };
    let lane = lane(lanes, tags);
    lane.agents.insert(agent.name.clone());
    scripts.for_each(|script| lane.hold(script));
}

fn lane(lanes: &mut BTreeMap<Lane, DesiredLane>, tags: LaneTags) -> &mut DesiredLane {
    lanes.entry(tags.lane()).or_insert_with(|| DesiredLane {
        tags,
        scripts: BTreeMap::new(),
        agents: BTreeSet::new(),
    })
}

impl DesiredLane {
    fn hold(&mut self, script: &ScriptVersion) {
        let desired = DesiredScript::of(script);
        self.scripts.insert(script.document.name.clone(), desired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agents;
    use crate::domain::testing::{
        agent_created, capability_created, evolved, given, helper_created, name, script_created,
    };
    use crate::domain::{capabilities, pins};
    use events::catalog::Place;
    use serde_json::json;

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

    /// The tags of all lanes, each with the names of its scripts.
    fn told(catalog: &Catalog) -> Vec<String> {
        let lanes = distribution(catalog).into_values();
        let told = lanes.map(|lane| {
            let scripts: Vec<&str> = lane.scripts.keys().map(Name::as_str).collect();
            format!("{} {}", lane.tags, scripts.join(" "))
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        told
    }

    #[test]
    fn a_capabilitys_script_goes_where_its_agents_are() {
        let catalog = given([
            script_created("a", "1"),
            script_created("b", "1"),
            capability_created("one", json!({"script": "a"})),
            capability_created("nobodys", json!({"script": "b"})),
            capability_created("text", json!({"text": "No script."})),
            helper_created("helper", &["one", "text"]),
            helper_created("talker", &["text"]),
        ]);
        assert_eq!(told(&catalog), ["{type:autonomous} a"]);
        let moved = capabilities::put(
            &catalog,
            &crate::domain::testing::capability("one", json!({"script": "b"})),
        );
        let catalog = evolved(catalog, moved.unwrap());
        assert_eq!(told(&catalog), ["{type:autonomous} b"]);
    }

    #[test]
    fn a_script_stays_until_its_last_lane_lets_it_go() {
        let on = |tag: &str| Place::Tags {
            tags: [tag.parse().unwrap()].into(),
        };
        let pinned = |catalog: Catalog, tag: &str| {
            let decision = pins::pin(&catalog, &name("a"), &on(tag)).unwrap();
            evolved(catalog, decision)
        };
        let catalog = given([script_created("a", "1"), agent_created("one", "a")]);
        let catalog = pinned(pinned(catalog, "gpu"), "disk");
        assert_eq!(
            told(&catalog),
            ["{disk} a", "{gpu} a", "{type:procedural} a"]
        );
        let unpinned = pins::unpin(&catalog, &name("a"), Some(&on("gpu"))).unwrap();
        let catalog = evolved(catalog, unpinned);
        let gone = agents::delete(&catalog, &name("one")).unwrap();
        assert_eq!(told(&evolved(catalog, gone)), ["{disk} a"]);
    }
}
