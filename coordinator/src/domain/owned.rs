//! Agents that a runner owns: it announces what its folder holds, and each becomes an agent of the
//! catalogue that only this runner can run. A name belongs to who had it first.
//!
//! When a runner's word counts, and when it is taken back, is `policy`'s.

use super::{Decision, Rejection};
use events::RunnerId;
use events::catalog::{AgentVersion, Catalog, CatalogEvent, RunnerOwner};
use schemas::{AgentDocument, AgentKind, AgentStatus, CommandAgent, Demands, Hooks, Name, Tag};

/// A runner has this agent, as its registration at `registered_sequence` of `RUNNERS` says.
///
/// # Errors
/// When the name is taken, or the definition breaks a rule.
pub fn announce(
    catalog: &Catalog,
    runner_id: &RunnerId,
    agent: &CommandAgent,
    registered_sequence: u64,
) -> Result<Decision, Rejection> {
    if let Some(refusal) = clash(catalog, runner_id, &agent.name) {
        return Err(refusal);
    }
    let present = catalog.agents.get(&agent.name).map(|entry| &entry.current);
    let owner = present.and_then(|present| present.owner.as_ref());
    let is_newer = |owner: &RunnerOwner| owner.registered_sequence > registered_sequence;
    let digest = agent.digest();
    if owner.is_some_and(|owner| is_newer(owner) || owner.digest == digest) {
        return Ok(Decision::Unchanged);
    }
    agent.check()?;
    let deleted = catalog.deleted_agents.get(&agent.name).copied();
    let last = present.map(|present| present.version).or(deleted);
    let next = AgentVersion {
        version: last.unwrap_or_default() + 1,
        document: document(runner_id, agent),
        owner: Some(RunnerOwner {
            runner_id: runner_id.clone(),
            command: agent.command.clone(),
            digest,
            registered_sequence,
        }),
        rollback_of: None,
    };
    Ok(Decision::append(match present {
        None => CatalogEvent::AgentCreated(next),
        Some(_) => CatalogEvent::AgentChanged(next),
    }))
}

/// A runner has no such agent any more, as `RUNNERS` says up to `read_to`.
pub fn withdraw(catalog: &Catalog, runner_id: &RunnerId, name: &Name, read_to: u64) -> Decision {
    let entry = catalog.agents.get(name);
    let owner = entry.and_then(|entry| entry.current.owner.as_ref());
    let known =
        |owner: &RunnerOwner| owner.runner_id == *runner_id && owner.registered_sequence <= read_to;
    match owner.is_some_and(known) {
        true => Decision::append(CatalogEvent::AgentDeleted { name: name.clone() }),
        false => Decision::Unchanged,
    }
}

/// Why the runner cannot have an agent of this name, if it cannot.
pub fn clash(catalog: &Catalog, runner_id: &RunnerId, name: &Name) -> Option<Rejection> {
    let owner = &catalog.agents.get(name)?.current.owner;
    let owner = owner.as_ref().map(|owner| &owner.runner_id);
    (owner != Some(runner_id)).then(|| Rejection::NameTaken {
        agent: name.clone(),
        runner_id: runner_id.clone(),
        owner: owner.cloned(),
    })
}

/// The agent as everybody sees it: the runner's own tag pins it there.
fn document(runner_id: &RunnerId, agent: &CommandAgent) -> AgentDocument {
    AgentDocument {
        name: agent.name.clone(),
        description: agent.description.clone(),
        kind: AgentKind::Procedural,
        script: None,
        parameters_schema: agent.parameters_schema.clone(),
        output_schema: agent.output_schema.clone(),
        system_prompt: None,
        mcp_servers: None,
        skills: None,
        tags: agent.tags.clone(),
        capabilities: Vec::new(),
        demands: Demands::of_tags([Tag::runner(runner_id.as_str())]),
        hooks: Hooks::default(),
        status: AgentStatus::Active,
        timeout_seconds: agent.timeout_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agents;
    use crate::domain::distribution::distribution;
    use crate::domain::testing::{
        agent, agent_created, evolved, given, name, owned_agent, script_created,
    };
    use serde_json::json;

    fn runner(id: &str) -> RunnerId {
        id.parse().unwrap()
    }

    fn backup(command: &str) -> CommandAgent {
        serde_json::from_value(json!({"name": "backup", "command": command})).unwrap()
    }

    fn announced() -> Catalog {
        owned_agent(Catalog::default(), "web-1", "backup", 5)
    }

    #[test]
    fn an_announced_agent_runs_on_its_runner_only() {
        let catalog = announced();
        let agent = &catalog.agents[&name("backup")].current;
        assert_eq!(agent.version, 1);
        let lanes = distribution(&catalog);
        let (_, lane) = lanes.iter().next().unwrap();
        assert_eq!(lane.tags.to_string(), "{runner:web-1, type:procedural}");
        assert!(lane.scripts.is_empty());
    }

    #[test]
    fn the_same_again_is_nothing_and_another_definition_a_version() {
        let web = runner("web-1");
        let again = announce(&announced(), &web, &backup("true"), 9).unwrap();
        assert_eq!(again, Decision::Unchanged);
        let changed = announce(&announced(), &web, &backup("false"), 9).unwrap();
        let catalog = evolved(announced(), changed);
        assert_eq!(catalog.agents[&name("backup")].current.version, 2);
    }

    #[test]
    fn an_older_registration_changes_nothing() {
        let web = runner("web-1");
        let late = announce(&announced(), &web, &backup("false"), 4).unwrap();
        assert_eq!(late, Decision::Unchanged);
        let late = withdraw(&announced(), &web, &name("backup"), 4);
        assert_eq!(late, Decision::Unchanged);
    }

    #[test]
    fn only_its_owner_takes_it_back() {
        let withdrawn = |id| withdraw(&announced(), &runner(id), &name("backup"), 9);
        assert_eq!(withdrawn("web-2"), Decision::Unchanged);
        assert!(evolved(announced(), withdrawn("web-1")).agents.is_empty());
    }

    #[test]
    fn a_name_that_is_taken_is_refused_with_both_owners() {
        let web_2 = runner("web-2");
        let refusal = announce(&announced(), &web_2, &backup("true"), 9).unwrap_err();
        let refusal = refusal.to_string();
        assert!(
            refusal.contains("of runner web-2") && refusal.contains("belongs to runner web-1"),
            "{refusal}"
        );
        let ours = given([script_created("s", "1"), agent_created("backup", "s")]);
        let refusal = announce(&ours, &web_2, &backup("true"), 9).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("belongs to the coordinator"), "{refusal}");
    }

    #[test]
    fn nobody_else_changes_it() {
        let catalog = announced();
        let name = name("backup");
        let refused = [
            agents::create(&catalog, &agent("backup", "s")),
            agents::put(&catalog, &agent("backup", "s")),
            agents::patch(&catalog, &name, &Default::default()),
            agents::set_status(&catalog, &name, AgentStatus::Inactive),
            agents::delete(&catalog, &name),
        ];
        for refusal in refused {
            let refusal = refusal.unwrap_err();
            assert!(
                matches!(refusal, Rejection::OwnedByRunner { .. }),
                "{refusal}"
            );
            assert!(refusal.to_string().contains("runner web-1"), "{refusal}");
        }
    }

    #[test]
    fn it_cannot_be_a_hook_because_it_leaves() {
        let catalog = given([script_created("s", "1")]);
        let catalog = owned_agent(catalog, "web-1", "backup", 5);
        let mut hooked = agent("work", "s");
        let hooks = json!({"on_run_start": {"type": "agent", "agent_name": "backup"}});
        hooked.hooks = serde_json::from_value(hooks).unwrap();
        let refusal = agents::create(&catalog, &hooked).unwrap_err();
        assert!(matches!(refusal, Rejection::HookOfRunner { .. }));
    }
}
