//! The tags a run needs: the agent's demands, its script's and those of its capabilities' scripts,
//! what the agent's kind implies, and what a request adds.

use super::Rejection;
use events::catalog::{Catalog, CatalogEvent, ScriptVersion};
use events::{LaneTags, Timestamp};
use schemas::{AgentDocument, ConflictingDemands, Demands, Name, ScriptDocument};

/// The tags of the lane that an agent's run stands in: the agent's own lane, or a narrower one.
///
/// # Errors
/// When two of the parts demand different places.
pub fn lane_tags<'a>(
    agent: &AgentDocument,
    scripts: impl IntoIterator<Item = &'a ScriptDocument>,
    additional: &Demands,
) -> Result<LaneTags, Rejection> {
    let effective = effective(agent, scripts, additional);
    let effective = effective.map_err(|conflict| Rejection::Demands {
        agent: agent.name.clone(),
        conflict,
    })?;
    Ok(effective.lane_tags().into_iter().collect())
}

/// The tags of the lane that an agent belongs to, and whose runners hold its scripts.
///
/// # Errors
/// When two of the parts demand different places.
pub fn lane_of(catalog: &Catalog, agent: &AgentDocument) -> Result<LaneTags, Rejection> {
    let scripts = scripts_of(catalog, agent).map(|script| &script.document);
    lane_tags(agent, scripts, &Demands::default())
}

/// The scripts an agent needs on its host: its own, and those of its capabilities.
pub fn scripts_of<'a>(
    catalog: &'a Catalog,
    agent: &'a AgentDocument,
) -> impl Iterator<Item = &'a ScriptVersion> {
    let given = agent.capabilities.iter();
    let given = given.filter_map(|name| catalog.capabilities.get(name));
    let given = given.filter_map(|entry| entry.current.document.script.as_ref());
    let names = agent.script.iter().chain(given);
    let scripts = names.filter_map(|name| catalog.scripts.get(name));
    scripts.map(|entry| &entry.current)
}

/// Refuses an event after which an agent would demand what no runner can be.
///
/// # Errors
/// When there is such an agent.
pub fn check_after(catalog: &Catalog, event: &CatalogEvent) -> Result<(), Rejection> {
    let after = after(catalog, event);
    let mut agents = concerned(&after, event);
    agents.try_for_each(|agent| lane_of(&after, agent).map(drop))
}

/// The catalogue as it would be.
pub(super) fn after(catalog: &Catalog, event: &CatalogEvent) -> Catalog {
    let mut after = catalog.clone();
    // No rule looks at the time.
    after.evolve(Timestamp::UNIX_EPOCH, event);
    after
}

/// The agents to which an event makes a difference.
pub(super) fn concerned<'a>(
    after: &'a Catalog,
    event: &'a CatalogEvent,
) -> impl Iterator<Item = &'a AgentDocument> {
    let agents = after.agents.values().map(|entry| &entry.current.document);
    agents.filter(move |agent| match event {
        CatalogEvent::AgentCreated(changed) | CatalogEvent::AgentChanged(changed) => {
            agent.name == changed.document.name
        }
        CatalogEvent::CapabilityCreated(changed) | CatalogEvent::CapabilityChanged(changed) => {
            agent.capabilities.contains(&changed.document.name)
        }
        CatalogEvent::ScriptCreated(changed) | CatalogEvent::ScriptChanged(changed) => {
            needs(after, agent, &changed.document.name)
        }
        _ => false,
    })
}

fn needs(catalog: &Catalog, agent: &AgentDocument, script: &Name) -> bool {
    scripts_of(catalog, agent).any(|needed| needed.document.name == *script)
}

fn effective<'a>(
    agent: &AgentDocument,
    scripts: impl IntoIterator<Item = &'a ScriptDocument>,
    additional: &Demands,
) -> Result<Demands, ConflictingDemands> {
    let implied = Demands {
        executor_type: Some(agent.kind.as_str().to_owned()),
        ..Demands::default()
    };
    let mut demands = agent.demands.clone();
    for script in scripts {
        demands = demands.merge(&script.demands)?;
    }
    demands.merge(additional)?.merge(&implied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{agent, capability_created, given, helper, script, script_with};
    use serde_json::json;

    #[test]
    fn agent_script_request_and_kind_together_make_the_lane() {
        let mut agent = agent("notifier", "send");
        agent.demands = Demands::of_tags(["team".parse().unwrap()]);
        let mut script = script("send");
        script.demands = Demands::of_tags(["uv".parse().unwrap()]);
        let additional = serde_json::from_value(json!({"hostname": "Web"})).unwrap();
        let tags = lane_tags(&agent, Some(&script), &additional).unwrap();
        assert_eq!(tags.to_string(), "{host:web, team, type:procedural, uv}");
    }

    #[test]
    fn two_hosts_at_once_are_refused_by_name() {
        let mut agent = agent("notifier", "send");
        agent.demands.hostname = Some("a".to_owned());
        let mut script = script("send");
        script.demands.hostname = Some("b".to_owned());
        let refusal = lane_tags(&agent, Some(&script), &Demands::default()).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("\"a\"") && text.contains("\"b\""), "{text}");
    }

    #[test]
    fn the_scripts_of_its_capabilities_demand_of_an_agent_too() {
        let demanding = |tag: &str| {
            let demands = Demands::of_tags([tag.parse().unwrap()]);
            move |script: &mut ScriptDocument| script.demands = demands
        };
        let catalog = given([
            script_with("a", demanding("uv")),
            script_with("b", demanding("gpu")),
            capability_created("one", json!({"script": "a"})),
            capability_created("two", json!({"script": "b"})),
            capability_created("three", json!({"text": "Demands nothing."})),
        ]);
        let helper = helper("helper", &["one", "two", "three"]);
        let tags = lane_of(&catalog, &helper).unwrap().to_string();
        assert_eq!(tags, "{gpu, type:autonomous, uv}");
    }
}
