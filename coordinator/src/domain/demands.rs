//! The tags a run needs: the agent's demands, its script's, what the agent's kind implies, and
//! what a request adds.

use super::Rejection;
use events::LaneTags;
use schemas::{AgentDocument, ConflictingDemands, Demands, ScriptDocument};

/// The tags of the lane that an agent's runs stand in.
///
/// # Errors
/// When two of the parts demand different places.
pub fn lane_tags(
    agent: &AgentDocument,
    script: &ScriptDocument,
    additional: &Demands,
) -> Result<LaneTags, Rejection> {
    let effective = effective(agent, script, additional);
    let effective = effective.map_err(|conflict| Rejection::Demands {
        agent: agent.name.clone(),
        conflict,
    })?;
    Ok(effective.lane_tags().into_iter().collect())
}

fn effective(
    agent: &AgentDocument,
    script: &ScriptDocument,
    additional: &Demands,
) -> Result<Demands, ConflictingDemands> {
    let implied = Demands {
        executor_type: Some(agent.kind.as_str().to_owned()),
        ..Demands::default()
    };
    agent
        .demands
        .merge(&script.demands)?
        .merge(additional)?
        .merge(&implied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{agent, script};
    use serde_json::json;

    #[test]
    fn agent_script_request_and_kind_together_make_the_lane() {
        let mut agent = agent("notifier", "send");
        agent.demands = Demands::of_tags(["team".parse().unwrap()]);
        let mut script = script("send");
        script.demands = Demands::of_tags(["uv".parse().unwrap()]);
        let additional = serde_json::from_value(json!({"hostname": "Web"})).unwrap();
        let tags = lane_tags(&agent, &script, &additional).unwrap();
        assert_eq!(tags.to_string(), "{host:web, team, type:procedural, uv}");
    }

    #[test]
    fn two_hosts_at_once_are_refused_by_name() {
        let mut agent = agent("notifier", "send");
        agent.demands.hostname = Some("a".to_owned());
        let mut script = script("send");
        script.demands.hostname = Some("b".to_owned());
        let refusal = lane_tags(&agent, &script, &Demands::default()).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("\"a\"") && text.contains("\"b\""), "{text}");
    }
}
