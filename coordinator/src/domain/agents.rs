//! Agents of the coordinator: create, replace, patch, activate, delete. What an agent refers to
//! exists, and an agent that others refer to stays. Those of runners are `owned`'s.

use super::{Decision, Patch, Rejection, demands, equipment};
use events::catalog::{AgentVersion, Catalog, CatalogEvent, Entry, Kind};
use schemas::{AgentDocument, AgentStatus, Name};

/// What a patch of an agent can change.
const FIELDS: [&str; 14] = [
    "description",
    "type",
    "script",
    "parameters_schema",
    "output_schema",
    "system_prompt",
    "mcp_servers",
    "skills",
    "tags",
    "capabilities",
    "demands",
    "hooks",
    "status",
    "timeout_seconds",
];

/// The agent, if there is one of that name.
///
/// # Errors
/// When there is none.
pub fn find<'a>(catalog: &'a Catalog, name: &Name) -> Result<&'a Entry<AgentVersion>, Rejection> {
    catalog.agents.get(name).ok_or_else(|| Rejection::NotFound {
        kind: Kind::Agent,
        name: name.clone(),
    })
}

/// An agent of a new name.
///
/// # Errors
/// When the name is taken, or the document is refused.
pub fn create(catalog: &Catalog, document: &AgentDocument) -> Result<Decision, Rejection> {
    if let Some(present) = catalog.agents.get(&document.name) {
        ours(&present.current)?;
        return Err(Rejection::Exists {
            kind: Kind::Agent,
            name: document.name.clone(),
        });
    }
    put(catalog, document)
}

/// An agent as a whole, whether it exists or not.
///
/// # Errors
/// When it breaks a rule or refers to what does not exist.
pub fn put(catalog: &Catalog, document: &AgentDocument) -> Result<Decision, Rejection> {
    write(catalog, document, None)
}

/// An agent as it was once, as its next version.
///
/// # Errors
/// As [`put`], and when it was a runner's then.
pub fn put_back(catalog: &Catalog, to: &AgentVersion) -> Result<Decision, Rejection> {
    if let Some(owner) = &to.owner {
        return Err(Rejection::VersionOfRunner {
            agent: to.document.name.clone(),
            version: to.version,
            runner_id: owner.runner_id.clone(),
        });
    }
    write(catalog, &to.document, Some(to.version))
}

fn write(
    catalog: &Catalog,
    document: &AgentDocument,
    rollback_of: Option<u32>,
) -> Result<Decision, Rejection> {
    let present = catalog.agents.get(&document.name).map(|e| &e.current);
    present.map_or(Ok(()), ours)?;
    check(catalog, document)?;
    if present.is_some_and(|present| present.document == *document) {
        return Ok(Decision::Unchanged);
    }
    let deleted = catalog.deleted_agents.get(&document.name).copied();
    let last = present.map(|present| present.version).or(deleted);
    let next = AgentVersion {
        version: last.unwrap_or_default() + 1,
        document: document.clone(),
        owner: None,
        rollback_of,
    };
    let event = match present {
        None => CatalogEvent::AgentCreated(next),
        Some(_) => CatalogEvent::AgentChanged(next),
    };
    demands::check_after(catalog, &event)?;
    equipment::check_after(catalog, &event)?;
    Ok(Decision::append(event))
}

/// Some fields of an agent.
///
/// # Errors
/// When there is no such agent, or what comes out is refused.
pub fn patch(catalog: &Catalog, name: &Name, patch: &Patch) -> Result<Decision, Rejection> {
    let entry = find(catalog, name)?;
    ours(&entry.current)?;
    let written = serde_json::to_value(&entry.current.document).expect("a document serializes");
    let merged = patch.merged_into(written, &FIELDS, &["description"]);
    put(catalog, &AgentDocument::from_value(merged)?)
}

/// Whether an agent can be run.
///
/// # Errors
/// When there is no such agent.
pub fn set_status(
    catalog: &Catalog,
    name: &Name,
    status: AgentStatus,
) -> Result<Decision, Rejection> {
    let document = AgentDocument {
        status,
        ..find(catalog, name)?.current.document.clone()
    };
    put(catalog, &document)
}

/// An agent goes.
///
/// # Errors
/// When there is none, or other agents' hooks run it.
pub fn delete(catalog: &Catalog, name: &Name) -> Result<Decision, Rejection> {
    ours(&find(catalog, name)?.current)?;
    let others = catalog.agents.iter().filter(|(other, _)| *other != name);
    let referring = others.filter(|(_, e)| e.current.document.hooks.agents().any(|a| a == name));
    let agents: Vec<Name> = referring.map(|(other, _)| other.clone()).collect();
    if !agents.is_empty() {
        return Err(Rejection::ReferencedByAgents {
            kind: Kind::Agent,
            name: name.clone(),
            agents,
        });
    }
    let name = name.clone();
    Ok(Decision::append(CatalogEvent::AgentDeleted { name }))
}

/// Refuses what only a runner changes.
fn ours(agent: &AgentVersion) -> Result<(), Rejection> {
    match &agent.owner {
        None => Ok(()),
        Some(owner) => Err(Rejection::OwnedByRunner {
            agent: agent.document.name.clone(),
            runner_id: owner.runner_id.clone(),
        }),
    }
}

fn check(catalog: &Catalog, document: &AgentDocument) -> Result<(), Rejection> {
    document.check()?;
    let broken = |kind, missing: &Name| Rejection::Broken {
        agent: document.name.clone(),
        kind,
        missing: missing.clone(),
    };
    let mut capabilities = document.capabilities.iter();
    if let Some(name) = capabilities.find(|name| !catalog.capabilities.contains_key(*name)) {
        return Err(broken(Kind::Capability, name));
    }
    for agent in document.hooks.agents() {
        if *agent == document.name {
            let agent = agent.clone();
            return Err(Rejection::OwnHook { agent });
        }
        let hook = catalog.agents.get(agent);
        let hook = hook.ok_or_else(|| broken(Kind::Agent, agent))?;
        // It would leave with its runner, and nothing may refer to what is not there.
        if let Some(owner) = &hook.current.owner {
            return Err(Rejection::HookOfRunner {
                agent: agent.clone(),
                runner_id: owner.runner_id.clone(),
            });
        }
    }
    let script = document.script.as_ref();
    if let Some(name) = script.filter(|name| !catalog.scripts.contains_key(*name)) {
        return Err(broken(Kind::Script, name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{
        agent, agent_created, capability_created, evolved, given, helper, name, script_created,
    };
    use rstest::rstest;
    use schemas::Demands;
    use serde_json::{Value, json};

    fn catalog() -> Catalog {
        given([
            script_created("deploy", "1"),
            agent_created("nightly", "deploy"),
            agent_created("gate", "deploy"),
        ])
    }

    fn document_of(decision: Decision) -> AgentDocument {
        let Decision::Append(event) = decision else {
            panic!("{decision:?}");
        };
        match *event {
            CatalogEvent::AgentCreated(agent) | CatalogEvent::AgentChanged(agent) => agent.document,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_agents_script_exists() {
        let refusal = create(&catalog(), &agent("x", "nothing")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Agent x refers to script nothing, which does not exist. Create it first"
        );
    }

    #[test]
    fn an_agents_capabilities_exist() {
        let catalog = given([capability_created("brevity", json!({"text": "Be brief."}))]);
        let refusal = create(&catalog, &helper("x", &["brevity", "magic"])).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Agent x refers to capability magic, which does not exist. Create it first"
        );
        assert!(create(&catalog, &helper("x", &["brevity"])).is_ok());
    }

    #[test]
    fn a_name_is_taken_once_and_the_same_again_changes_nothing() {
        let again = agent("nightly", "deploy");
        let refusal = create(&catalog(), &again).unwrap_err();
        assert!(matches!(refusal, Rejection::Exists { .. }));
        assert_eq!(put(&catalog(), &again).unwrap(), Decision::Unchanged);
    }

    #[test]
    fn hooks_run_agents_that_exist_and_stay() {
        let hooked = |hook: &str| {
            let hooks = json!({"on_run_start": {"type": "agent", "agent_name": hook}});
            let patched = Patch::from_value(json!({ "hooks": hooks })).unwrap();
            patch(&catalog(), &name("nightly"), &patched)
        };
        assert!(matches!(hooked("nobody"), Err(Rejection::Broken { .. })));
        assert!(matches!(hooked("nightly"), Err(Rejection::OwnHook { .. })));
        let catalog = evolved(catalog(), hooked("gate").unwrap());
        let refusal = delete(&catalog, &name("gate")).unwrap_err();
        assert!(matches!(refusal, Rejection::ReferencedByAgents { .. }));
        assert!(delete(&catalog, &name("nightly")).is_ok());
    }

    #[rstest]
    #[case(json!({"description": ""}), "description", json!(""))]
    #[case(json!({"description": null}), "description", json!("An agent"))]
    #[case(json!({"tags": []}), "tags", json!(null))]
    #[case(json!({"demands": {}}), "demands", json!(null))]
    #[case(json!({"timeout_seconds": ""}), "timeout_seconds", json!(null))]
    #[case(json!({"timeout_seconds": 9, "name": "other", "moon": 1}), "timeout_seconds", json!(9))]
    fn patches(#[case] fields: Value, #[case] field: &str, #[case] expected: Value) {
        let mut before = agent("nightly", "deploy");
        before.tags = vec!["a".parse().unwrap()];
        before.demands = Demands::of_tags(["uv".parse().unwrap()]);
        before.timeout_seconds = Some(5.try_into().unwrap());
        let mut catalog = catalog();
        let Decision::Append(event) = put(&catalog, &before).unwrap() else {
            panic!("a change");
        };
        catalog.evolve(events::Timestamp::UNIX_EPOCH, &event);
        let fields = Patch::from_value(fields).unwrap();
        let after = match patch(&catalog, &name("nightly"), &fields).unwrap() {
            Decision::Unchanged => before,
            changed => document_of(changed),
        };
        let written = serde_json::to_value(after).unwrap();
        assert_eq!(written[field], expected);
        assert_eq!(written["name"], json!("nightly"));
    }

    #[test]
    fn the_status_is_a_version_of_its_own() {
        let inactive = set_status(&catalog(), &name("nightly"), AgentStatus::Inactive).unwrap();
        assert_eq!(document_of(inactive).status, AgentStatus::Inactive);
        let active = set_status(&catalog(), &name("nightly"), AgentStatus::Active).unwrap();
        assert_eq!(active, Decision::Unchanged);
    }
}
