//! Capabilities: create, replace, patch, delete. A capability's script exists, and a capability that
//! agents have stays.

use super::{Decision, Patch, Rejection, demands, equipment};
use events::catalog::{CapabilityVersion, Catalog, CatalogEvent, Entry, Kind};
use schemas::{AgentDocument, CapabilityDocument, Name};

/// What a patch of a capability can change.
const FIELDS: [&str; 5] = ["description", "type", "script", "text", "mcp_servers"];

/// The capability, if there is one of that name.
///
/// # Errors
/// When there is none.
pub fn find<'a>(
    catalog: &'a Catalog,
    name: &Name,
) -> Result<&'a Entry<CapabilityVersion>, Rejection> {
    let found = catalog.capabilities.get(name);
    found.ok_or_else(|| Rejection::NotFound {
        kind: Kind::Capability,
        name: name.clone(),
    })
}

/// A capability of a new name.
///
/// # Errors
/// When the name is taken, or the document is refused.
pub fn create(catalog: &Catalog, document: &CapabilityDocument) -> Result<Decision, Rejection> {
    if catalog.capabilities.contains_key(&document.name) {
        return Err(Rejection::Exists {
            kind: Kind::Capability,
            name: document.name.clone(),
        });
    }
    put(catalog, document)
}

/// A capability as a whole, whether it exists or not.
///
/// # Errors
/// When it breaks a rule, refers to a script that does not exist, or an agent that has it could not
/// have it any more.
pub fn put(catalog: &Catalog, document: &CapabilityDocument) -> Result<Decision, Rejection> {
    write(catalog, document, None)
}

/// A capability as it was once, as its next version.
///
/// # Errors
/// As [`put`].
pub fn put_back(catalog: &Catalog, to: &CapabilityVersion) -> Result<Decision, Rejection> {
    write(catalog, &to.document, Some(to.version))
}

fn write(
    catalog: &Catalog,
    document: &CapabilityDocument,
    rollback_of: Option<u32>,
) -> Result<Decision, Rejection> {
    document.check()?;
    if let Some(script) = &document.script
        && !catalog.scripts.contains_key(script)
    {
        return Err(Rejection::CapabilityBroken {
            capability: document.name.clone(),
            missing: script.clone(),
        });
    }
    let present = catalog.capabilities.get(&document.name).map(|e| &e.current);
    if present.is_some_and(|present| present.document == *document) {
        return Ok(Decision::Unchanged);
    }
    let deleted = catalog.deleted_capabilities.get(&document.name).copied();
    let last = present.map(|present| present.version).or(deleted);
    let next = CapabilityVersion {
        version: last.unwrap_or_default() + 1,
        document: document.clone(),
        rollback_of,
    };
    let event = match present {
        None => CatalogEvent::CapabilityCreated(next),
        Some(_) => CatalogEvent::CapabilityChanged(next),
    };
    demands::check_after(catalog, &event)?;
    equipment::check_after(catalog, &event)?;
    Ok(Decision::append(event))
}

/// Some fields of a capability. Its type follows from what is there, unless the patch names one.
///
/// # Errors
/// When there is no such capability, or what comes out is refused.
pub fn patch(catalog: &Catalog, name: &Name, patch: &Patch) -> Result<Decision, Rejection> {
    let entry = find(catalog, name)?;
    let mut written = serde_json::to_value(&entry.current.document).expect("a document serializes");
    if let Some(fields) = written.as_object_mut() {
        fields.shift_remove("type");
    }
    let merged = patch.merged_into(written, &FIELDS, &["description"]);
    put(catalog, &CapabilityDocument::from_value(merged)?)
}

/// A capability goes.
///
/// # Errors
/// When there is none, or agents have it.
pub fn delete(catalog: &Catalog, name: &Name) -> Result<Decision, Rejection> {
    find(catalog, name)?;
    let agents: Vec<Name> = having(catalog, name).map(|a| a.name.clone()).collect();
    if !agents.is_empty() {
        return Err(Rejection::ReferencedByAgents {
            kind: Kind::Capability,
            name: name.clone(),
            agents,
        });
    }
    let name = name.clone();
    Ok(Decision::append(CatalogEvent::CapabilityDeleted { name }))
}

fn having<'a>(
    catalog: &'a Catalog,
    capability: &'a Name,
) -> impl Iterator<Item = &'a AgentDocument> {
    let documents = catalog.agents.values().map(|entry| &entry.current.document);
    documents.filter(move |agent| agent.capabilities.contains(capability))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{
        capability, capability_created, evolved, given, helper_created, name, script_created,
        script_with,
    };
    use rstest::rstest;
    use serde_json::{Value, json};

    fn catalog() -> Catalog {
        given([
            script_created("checker", "1"),
            capability_created("checking", json!({"script": "checker"})),
            capability_created("unused", json!({"text": "Be brief."})),
            helper_created("helper", &["checking"]),
        ])
    }

    fn document_of(decision: Decision) -> CapabilityDocument {
        let Decision::Append(event) = decision else {
            panic!("{decision:?}");
        };
        match *event {
            CatalogEvent::CapabilityCreated(made) | CatalogEvent::CapabilityChanged(made) => {
                made.document
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_is_taken_once_and_versions_count_on() {
        let again = capability("unused", json!({"text": "Be brief."}));
        let refusal = create(&catalog(), &again).unwrap_err();
        assert!(matches!(refusal, Rejection::Exists { .. }));
        assert_eq!(put(&catalog(), &again).unwrap(), Decision::Unchanged);
        let gone = evolved(catalog(), delete(&catalog(), &name("unused")).unwrap());
        let reborn = evolved(gone.clone(), create(&gone, &again).unwrap());
        assert_eq!(reborn.capabilities[&name("unused")].current.version, 2);
    }

    #[test]
    fn its_script_exists() {
        let broken = capability("x", json!({"script": "nothing"}));
        let refusal = create(&catalog(), &broken).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Capability x refers to script nothing, which does not exist. Create it first"
        );
    }

    #[test]
    fn what_an_agent_has_stays() {
        let refusal = delete(&catalog(), &name("checking")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Capability is referenced by agents: helper"
        );
    }

    #[test]
    fn no_agent_comes_to_demand_two_hosts() {
        let on = |host: &str| {
            let host = host.to_owned();
            move |script: &mut schemas::ScriptDocument| script.demands.hostname = Some(host)
        };
        let mut catalog = given([
            script_with("here", on("a")),
            script_with("there", on("b")),
            capability_created("one", json!({"script": "here"})),
            capability_created("two", json!({"text": "Nothing yet."})),
        ]);
        catalog.evolve(
            events::Timestamp::UNIX_EPOCH,
            &helper_created("helper", &["one", "two"]),
        );
        let moved = capability("two", json!({"script": "there"}));
        let refusal = put(&catalog, &moved).unwrap_err().to_string();
        assert!(refusal.starts_with("Agent helper: hostname"), "{refusal}");
    }

    #[rstest]
    #[case(json!({"text": "Also this."}), json!({"type": "script", "script": "checker", "text": "Also this."}))]
    #[case(json!({"script": "", "text": "Only this."}), json!({"type": "text", "text": "Only this."}))]
    #[case(json!({"script": "", "mcp_servers": {"a": {}}}), json!({"type": "mcp", "mcp_servers": {"a": {}}}))]
    #[case(json!({"description": "", "name": "other"}), json!({"description": "", "name": "checking"}))]
    fn patches(#[case] fields: Value, #[case] expected: Value) {
        let fields = Patch::from_value(fields).unwrap();
        let after = document_of(patch(&catalog(), &name("checking"), &fields).unwrap());
        let after = serde_json::to_value(after).unwrap();
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(after[field], *value, "{after}");
        }
    }

    #[rstest]
    #[case(json!({"script": ""}))]
    #[case(json!({"type": "text", "text": "A"}))]
    #[case(json!({"mcp_servers": {"a": {}}}))]
    fn a_patch_that_leaves_nothing_or_does_not_fit_is_refused(#[case] fields: Value) {
        let fields = Patch::from_value(fields).unwrap();
        let refusal = patch(&catalog(), &name("checking"), &fields).unwrap_err();
        assert!(matches!(refusal, Rejection::Capability(_)), "{refusal}");
    }
}
