//! Scripts: create, replace, delete. Names are unique, versions count on from a deleted name, and
//! nothing that is referred to goes away.

use super::draft::ScriptDraft;
use super::{Decision, Rejection, demands};
use events::catalog::{Catalog, CatalogEvent, Entry, Kind, ScriptVersion};
use schemas::{Digest, Name};

/// The script, if there is one of that name.
///
/// # Errors
/// When there is none.
pub fn find<'a>(catalog: &'a Catalog, name: &Name) -> Result<&'a Entry<ScriptVersion>, Rejection> {
    catalog
        .scripts
        .get(name)
        .ok_or_else(|| Rejection::NotFound {
            kind: Kind::Script,
            name: name.clone(),
        })
}

/// A script of a new name.
///
/// # Errors
/// When the name is taken.
pub fn create(catalog: &Catalog, draft: &ScriptDraft) -> Result<Decision, Rejection> {
    let name = &draft.document.name;
    if catalog.scripts.contains_key(name) {
        return Err(Rejection::Exists {
            kind: Kind::Script,
            name: name.clone(),
        });
    }
    let version = draft.version(next_version(catalog, name));
    Ok(Decision::append(CatalogEvent::ScriptCreated(version)))
}

/// A script as a whole, whether it exists or not.
///
/// # Errors
/// When an agent's demands and the script's new ones cannot be met at once.
pub fn put(catalog: &Catalog, draft: &ScriptDraft) -> Result<Decision, Rejection> {
    let name = &draft.document.name;
    match catalog.scripts.get(name) {
        None => create(catalog, draft),
        Some(entry) if entry.current.digest == draft.digest => Ok(Decision::Unchanged),
        Some(_) => {
            let version = draft.version(next_version(catalog, name));
            let event = CatalogEvent::ScriptChanged(version);
            demands::check_after(catalog, &event)?;
            Ok(Decision::append(event))
        }
    }
}

/// A script as a whole, made from the version with the digest `base`.
///
/// # Errors
/// When the script is gone, and as [`put`].
pub fn replace(
    catalog: &Catalog,
    base: &Digest,
    draft: &ScriptDraft,
) -> Result<Decision, Rejection> {
    let entry = find(catalog, &draft.document.name)?;
    if entry.current.digest != *base {
        return Ok(Decision::Outdated);
    }
    put(catalog, draft)
}

/// A script as it was once, as its next version.
///
/// # Errors
/// As [`put`].
pub fn put_back(catalog: &Catalog, to: &ScriptVersion) -> Result<Decision, Rejection> {
    let name = &to.document.name;
    let present = catalog.scripts.get(name);
    if present.is_some_and(|present| present.current.digest == to.digest) {
        return Ok(Decision::Unchanged);
    }
    let next = ScriptVersion {
        version: next_version(catalog, name),
        rollback_of: Some(to.version),
        ..to.clone()
    };
    let event = match present {
        None => CatalogEvent::ScriptCreated(next),
        Some(_) => CatalogEvent::ScriptChanged(next),
    };
    demands::check_after(catalog, &event)?;
    Ok(Decision::append(event))
}

/// A script goes, and its pins with it.
///
/// # Errors
/// When there is none, or agents or capabilities refer to it.
pub fn delete(catalog: &Catalog, name: &Name) -> Result<Decision, Rejection> {
    find(catalog, name)?;
    let agents = catalog.agents.values().map(|entry| &entry.current.document);
    let agents = agents.filter(|agent| agent.script.as_ref() == Some(name));
    let agents: Vec<Name> = agents.map(|agent| agent.name.clone()).collect();
    let capabilities = catalog.capabilities.values().map(|e| &e.current.document);
    let capabilities = capabilities.filter(|capability| capability.script.as_ref() == Some(name));
    let capabilities: Vec<Name> = capabilities.map(|c| c.name.clone()).collect();
    if !agents.is_empty() || !capabilities.is_empty() {
        return Err(Rejection::ScriptReferenced {
            agents,
            capabilities,
        });
    }
    let name = name.clone();
    Ok(Decision::append(CatalogEvent::ScriptDeleted { name }))
}

fn next_version(catalog: &Catalog, name: &Name) -> u32 {
    let present = catalog.scripts.get(name).map(|entry| entry.current.version);
    let deleted = catalog.deleted_scripts.get(name).copied();
    present.or(deleted).unwrap_or_default() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{agent, agent_created, folder, given, name, script_created};

    fn draft(script: &str, content: &str) -> ScriptDraft {
        ScriptDraft::of(folder(script, content)).unwrap()
    }

    fn version_of(decision: Decision) -> u32 {
        let Decision::Append(event) = decision else {
            panic!("{decision:?}");
        };
        match *event {
            CatalogEvent::ScriptCreated(script) | CatalogEvent::ScriptChanged(script) => {
                script.version
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_is_taken_once() {
        let taken = given([script_created("deploy", "1")]);
        let refusal = create(&taken, &draft("deploy", "2")).unwrap_err();
        assert!(matches!(refusal, Rejection::Exists { .. }), "{refusal}");
        assert_eq!(version_of(create(&taken, &draft("other", "2")).unwrap()), 1);
    }

    #[test]
    fn a_change_counts_on_and_a_change_of_nothing_is_none() {
        let catalog = given([script_created("deploy", "1")]);
        assert_eq!(version_of(put(&catalog, &draft("deploy", "2")).unwrap()), 2);
        assert_eq!(
            put(&catalog, &draft("deploy", "1")).unwrap(),
            Decision::Unchanged
        );
    }

    #[test]
    fn a_name_that_comes_back_goes_on_counting() {
        let deleted = CatalogEvent::ScriptDeleted {
            name: name("deploy"),
        };
        let catalog = given([script_created("deploy", "1"), deleted]);
        assert_eq!(
            version_of(create(&catalog, &draft("deploy", "1")).unwrap()),
            2
        );
    }

    #[test]
    fn a_change_made_for_another_version_is_outdated() {
        let catalog = given([script_created("deploy", "1")]);
        let base = draft("deploy", "0").digest;
        assert_eq!(
            replace(&catalog, &base, &draft("deploy", "2")).unwrap(),
            Decision::Outdated
        );
    }

    #[test]
    fn what_agents_refer_to_stays() {
        let catalog = given([
            script_created("deploy", "1"),
            agent_created("nightly", "deploy"),
            agent_created("hourly", "deploy"),
        ]);
        let refusal = delete(&catalog, &name("deploy")).unwrap_err().to_string();
        assert_eq!(refusal, "Script is referenced by agents: hourly, nightly");
    }

    #[test]
    fn what_is_not_there_cannot_go() {
        let refusal = delete(&Catalog::default(), &name("x")).unwrap_err();
        assert_eq!(refusal.to_string(), "Script not found: x");
    }

    #[test]
    fn a_script_cannot_move_to_a_host_its_agent_does_not_want() {
        let mut there = agent("nightly", "deploy");
        there.demands.hostname = Some("a".to_owned());
        let catalog = given([
            script_created("deploy", "1"),
            CatalogEvent::AgentCreated(events::catalog::AgentVersion {
                version: 1,
                document: there,
                owner: None,
                rollback_of: None,
            }),
        ]);
        let mut elsewhere = draft("deploy", "2");
        elsewhere.document.demands.hostname = Some("b".to_owned());
        let refusal = put(&catalog, &elsewhere).unwrap_err().to_string();
        assert!(refusal.starts_with("Agent nightly"), "{refusal}");
    }
}
