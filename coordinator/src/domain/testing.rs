//! Short ways to a catalogue, for tests of the rules.

use super::Decision;
use super::draft::ScriptDraft;
use events::Timestamp;
use events::catalog::{AgentVersion, CapabilityVersion, Catalog, CatalogEvent};
use schemas::bundle::{File, Folder};
use schemas::{AgentDocument, CapabilityDocument, Name, ScriptDocument};
use serde_json::{Value, json};

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn script(name: &str) -> ScriptDocument {
    let value = json!({"name": name, "description": "A script", "script_file": "run.sh"});
    ScriptDocument::from_value(value).unwrap()
}

pub fn agent(name: &str, script: &str) -> AgentDocument {
    let value = json!({
        "name": name, "description": "An agent", "type": "procedural", "script": script,
    });
    AgentDocument::from_value(value).unwrap()
}

pub fn folder(name: &str, content: &str) -> Folder {
    let files = [("run.sh".parse().unwrap(), File::plain(content))];
    Folder::script(&script(name), files).unwrap()
}

pub fn script_created(name: &str, content: &str) -> CatalogEvent {
    let draft = ScriptDraft::of(folder(name, content)).unwrap();
    CatalogEvent::ScriptCreated(draft.version(1))
}

pub fn script_with(name: &str, change: impl FnOnce(&mut ScriptDocument)) -> CatalogEvent {
    let mut document = script(name);
    change(&mut document);
    let files = [(document.script_file.clone(), File::plain("true"))];
    let draft = ScriptDraft::of(Folder::script(&document, files).unwrap()).unwrap();
    CatalogEvent::ScriptCreated(draft.version(1))
}

pub fn agent_created(name: &str, script: &str) -> CatalogEvent {
    CatalogEvent::AgentCreated(AgentVersion {
        version: 1,
        document: agent(name, script),
        owner: None,
        rollback_of: None,
    })
}

/// An autonomous agent.
pub fn helper(name: &str, capabilities: &[&str]) -> AgentDocument {
    let value = json!({
        "name": name, "description": "A helper", "type": "autonomous",
        "capabilities": capabilities,
    });
    AgentDocument::from_value(value).unwrap()
}

pub fn helper_created(name: &str, capabilities: &[&str]) -> CatalogEvent {
    CatalogEvent::AgentCreated(AgentVersion {
        version: 1,
        document: helper(name, capabilities),
        owner: None,
        rollback_of: None,
    })
}

pub fn capability(name: &str, more: Value) -> CapabilityDocument {
    let mut value = json!({"name": name, "description": "A capability"});
    let Value::Object(more) = more else {
        panic!("{more}");
    };
    value.as_object_mut().unwrap().extend(more);
    CapabilityDocument::from_value(value).unwrap()
}

pub fn capability_created(name: &str, more: Value) -> CatalogEvent {
    CatalogEvent::CapabilityCreated(CapabilityVersion {
        version: 1,
        document: capability(name, more),
        rollback_of: None,
    })
}

/// The catalogue after a runner has announced an agent that executes `true`.
pub fn owned_agent(catalog: Catalog, runner: &str, name: &str, sequence: u64) -> Catalog {
    let agent = json!({"name": name, "command": "true"});
    let agent = serde_json::from_value(agent).unwrap();
    let decision = super::owned::announce(&catalog, &runner.parse().unwrap(), &agent, sequence);
    evolved(catalog, decision.unwrap())
}

pub fn given(events: impl IntoIterator<Item = CatalogEvent>) -> Catalog {
    let mut catalog = Catalog::default();
    for event in events {
        catalog.evolve(Timestamp::UNIX_EPOCH, &event);
    }
    catalog
}

pub fn evolved(mut catalog: Catalog, decision: Decision) -> Catalog {
    match decision {
        Decision::Append(event) => catalog.evolve(Timestamp::UNIX_EPOCH, &event),
        other => panic!("{other:?}"),
    }
    catalog
}
