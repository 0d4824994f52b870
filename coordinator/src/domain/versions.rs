//! Versions of scripts, agents and capabilities: what is different between two, and going back to
//! one. Where old versions are read from is `app`'s.

use super::{Decision, Rejection, agents, capabilities, scripts};
use events::catalog::{
    AgentVersion, CapabilityVersion, Catalog, CatalogEvent, Entry, FileEntry, Kind, ScriptVersion,
};
use schemas::{Digest, Name, SCRIPT_JSON, changed_fields};
use serde::Serialize;
use std::collections::BTreeMap;

/// What has versions.
pub trait Versioned: Clone + Send + Sync + 'static {
    const KIND: Kind;

    /// The version that an event made.
    fn of(event: CatalogEvent) -> Option<Self>;

    fn name(&self) -> &Name;

    fn number(&self) -> u32;

    fn rollback_of(&self) -> Option<u32>;

    /// Of what it executes: a script's bundle, a runner's command.
    fn digest(&self) -> Option<Digest>;

    /// The bundle without which it is nothing.
    fn bundle(&self) -> Option<Digest>;

    /// The paths of the fields and files that are different from an older version's.
    fn changes(&self, before: &Self) -> Vec<String>;

    /// How it stands now.
    fn present<'a>(catalog: &'a Catalog, name: &Name) -> Option<&'a Entry<Self>>;

    /// The last version of a name that is deleted.
    fn deleted(catalog: &Catalog, name: &Name) -> Option<u32>;

    /// This one as the next version.
    ///
    /// # Errors
    /// As writing it anew.
    fn put_back(&self, catalog: &Catalog) -> Result<Decision, Rejection>;
}

/// What a rollback does where the name is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhereDeleted {
    Refuse,
    Recreate,
}

/// The last version that a name ever had.
///
/// # Errors
/// When it never had one.
pub fn last<V: Versioned>(catalog: &Catalog, name: &Name) -> Result<u32, Rejection> {
    let present = V::present(catalog, name).map(|entry| entry.current.number());
    let last = present.or_else(|| V::deleted(catalog, name));
    last.ok_or_else(|| Rejection::NotFound {
        kind: V::KIND,
        name: name.clone(),
    })
}

/// `to` as the next version of its name, one event.
///
/// # Errors
/// When it does not fit any more, or the name is deleted and nobody said that it may come back.
pub fn rollback<V: Versioned>(
    catalog: &Catalog,
    to: &V,
    where_deleted: WhereDeleted,
) -> Result<Decision, Rejection> {
    let name = to.name();
    if let Some(last) = V::deleted(catalog, name)
        && where_deleted == WhereDeleted::Refuse
    {
        return Err(Rejection::Deleted {
            kind: V::KIND,
            name: name.clone(),
            last,
            to: to.number(),
        });
    }
    to.put_back(catalog)
}

impl Versioned for ScriptVersion {
    const KIND: Kind = Kind::Script;

    fn of(event: CatalogEvent) -> Option<Self> {
        match event {
            CatalogEvent::ScriptCreated(version) | CatalogEvent::ScriptChanged(version) => {
                Some(version)
            }
            _ => None,
        }
    }

    fn name(&self) -> &Name {
        &self.document.name
    }

    fn number(&self) -> u32 {
        self.version
    }

    fn rollback_of(&self) -> Option<u32> {
        self.rollback_of
    }

    fn digest(&self) -> Option<Digest> {
        Some(self.digest)
    }

    fn bundle(&self) -> Option<Digest> {
        Some(self.digest)
    }

    fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = fields(&before.document, &self.document);
        changes.extend(files(&before.files, &self.files));
        // Of old events only sizes are known.
        if changes.is_empty() && before.digest != self.digest {
            changes.push("files".to_owned());
        }
        changes
    }

    fn present<'a>(catalog: &'a Catalog, name: &Name) -> Option<&'a Entry<Self>> {
        catalog.scripts.get(name)
    }

    fn deleted(catalog: &Catalog, name: &Name) -> Option<u32> {
        catalog.deleted_scripts.get(name).copied()
    }

    fn put_back(&self, catalog: &Catalog) -> Result<Decision, Rejection> {
        scripts::put_back(catalog, self)
    }
}

impl Versioned for AgentVersion {
    const KIND: Kind = Kind::Agent;

    fn of(event: CatalogEvent) -> Option<Self> {
        match event {
            CatalogEvent::AgentCreated(version) | CatalogEvent::AgentChanged(version) => {
                Some(version)
            }
            _ => None,
        }
    }

    fn name(&self) -> &Name {
        &self.document.name
    }

    fn number(&self) -> u32 {
        self.version
    }

    fn rollback_of(&self) -> Option<u32> {
        self.rollback_of
    }

    fn digest(&self) -> Option<Digest> {
        self.owner.as_ref().map(|owner| owner.digest)
    }

    fn bundle(&self) -> Option<Digest> {
        None
    }

    fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = fields(&before.document, &self.document);
        let owner = |version: &Self| version.owner.as_ref().map(|o| o.runner_id.clone());
        let command = |version: &Self| version.owner.as_ref().map(|o| o.command.clone());
        if owner(before) != owner(self) {
            changes.push("owner".to_owned());
        }
        if command(before) != command(self) {
            changes.push("command".to_owned());
        }
        changes
    }

    fn present<'a>(catalog: &'a Catalog, name: &Name) -> Option<&'a Entry<Self>> {
        catalog.agents.get(name)
    }

    fn deleted(catalog: &Catalog, name: &Name) -> Option<u32> {
        catalog.deleted_agents.get(name).copied()
    }

    fn put_back(&self, catalog: &Catalog) -> Result<Decision, Rejection> {
        agents::put_back(catalog, self)
    }
}

impl Versioned for CapabilityVersion {
    const KIND: Kind = Kind::Capability;

    fn of(event: CatalogEvent) -> Option<Self> {
        match event {
            CatalogEvent::CapabilityCreated(version) | CatalogEvent::CapabilityChanged(version) => {
                Some(version)
            }
            _ => None,
        }
    }

    fn name(&self) -> &Name {
        &self.document.name
    }

    fn number(&self) -> u32 {
        self.version
    }

    fn rollback_of(&self) -> Option<u32> {
        self.rollback_of
    }

    fn digest(&self) -> Option<Digest> {
        None
    }

    fn bundle(&self) -> Option<Digest> {
        None
    }

    fn changes(&self, before: &Self) -> Vec<String> {
        fields(&before.document, &self.document)
    }

    fn present<'a>(catalog: &'a Catalog, name: &Name) -> Option<&'a Entry<Self>> {
        catalog.capabilities.get(name)
    }

    fn deleted(catalog: &Catalog, name: &Name) -> Option<u32> {
        catalog.deleted_capabilities.get(name).copied()
    }

    fn put_back(&self, catalog: &Catalog) -> Result<Decision, Rejection> {
        capabilities::put_back(catalog, self)
    }
}

fn fields(before: &impl Serialize, after: &impl Serialize) -> Vec<String> {
    let before = serde_json::to_value(before).expect("a document serializes");
    let after = serde_json::to_value(after).expect("a document serializes");
    changed_fields(&before, &after)
}

/// `script.json` is left out: its fields are named one by one.
fn files(before: &[FileEntry], after: &[FileEntry]) -> Vec<String> {
    let mut files: BTreeMap<&str, (Option<&FileEntry>, Option<&FileEntry>)> = BTreeMap::new();
    for file in before {
        files.entry(file.path.as_str()).or_default().0 = Some(file);
    }
    for file in after {
        files.entry(file.path.as_str()).or_default().1 = Some(file);
    }
    files.remove(SCRIPT_JSON);
    let changed = files.into_iter();
    changed
        .filter_map(|(path, (before, after))| file(path, before, after))
        .collect()
}

fn file(path: &str, before: Option<&FileEntry>, after: Option<&FileEntry>) -> Option<String> {
    let content = |file: &FileEntry| (file.size, file.digest);
    match (before, after) {
        (None, _) => Some(format!("{path} (new)")),
        (_, None) => Some(format!("{path} (gone)")),
        (Some(before), Some(after)) if content(before) != content(after) => Some(path.to_owned()),
        (Some(before), Some(after)) if before.executable != after.executable => {
            Some(format!("{path} (mode)"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draft::ScriptDraft;
    use crate::domain::testing::{
        agent, agent_created, capability_created, evolved, folder, given, helper, name,
        owned_agent, script_created, script_with,
    };
    use serde_json::json;

    fn version(event: CatalogEvent) -> ScriptVersion {
        ScriptVersion::of(event).unwrap()
    }

    /// `deploy` in two versions.
    fn twice() -> (Catalog, ScriptVersion) {
        let first = script_created("deploy", "1");
        let second = ScriptDraft::of(folder("deploy", "2")).unwrap().version(2);
        let catalog = given([first.clone(), CatalogEvent::ScriptChanged(second)]);
        (catalog, version(first))
    }

    fn deleted(catalog: Catalog) -> Catalog {
        evolved(
            catalog,
            scripts::delete(&catalog_of("deploy"), &name("deploy")).unwrap(),
        )
    }

    fn catalog_of(script: &str) -> Catalog {
        given([script_created(script, "1")])
    }

    #[test]
    fn going_back_is_a_next_version_that_names_the_old_one() {
        let (catalog, first) = twice();
        let decision = rollback(&catalog, &first, WhereDeleted::Refuse).unwrap();
        let catalog = evolved(catalog, decision);
        let now = &catalog.scripts[&name("deploy")].current;
        assert_eq!(
            (now.version, now.rollback_of, now.digest),
            (3, Some(1), first.digest)
        );
        assert_eq!(now.document, first.document);
        let again = rollback(&catalog, &first, WhereDeleted::Refuse).unwrap();
        assert_eq!(again, Decision::Unchanged);
    }

    #[test]
    fn what_is_deleted_comes_back_only_where_that_is_meant() {
        let (catalog, first) = twice();
        let catalog = deleted(catalog);
        let refusal = rollback(&catalog, &first, WhereDeleted::Refuse).unwrap_err();
        assert!(
            matches!(refusal, Rejection::Deleted { last: 2, to: 1, .. }),
            "{refusal}"
        );
        let decision = rollback(&catalog, &first, WhereDeleted::Recreate).unwrap();
        let Decision::Append(event) = decision else {
            panic!("{decision:?}");
        };
        let CatalogEvent::ScriptCreated(version) = *event else {
            panic!("{event:?}");
        };
        assert_eq!((version.version, version.rollback_of), (3, Some(1)));
    }

    #[test]
    fn a_version_that_does_not_fit_any_more_is_refused() {
        let elsewhere = script_with("deploy", |s| s.demands.hostname = Some("b".to_owned()));
        let mut there = agent("nightly", "deploy");
        there.demands.hostname = Some("a".to_owned());
        let catalog = given([script_created("deploy", "1")]);
        let catalog = evolved(catalog.clone(), agents::put(&catalog, &there).unwrap());
        let refusal = rollback(&catalog, &version(elsewhere), WhereDeleted::Refuse).unwrap_err();
        assert!(matches!(refusal, Rejection::Demands { .. }), "{refusal}");

        let without = given([agent_created("nightly", "deploy")]);
        let needs = AgentVersion {
            version: 1,
            document: helper("nightly", &["gone"]),
            owner: None,
            rollback_of: None,
        };
        let refusal = rollback(&without, &needs, WhereDeleted::Refuse).unwrap_err();
        assert!(matches!(refusal, Rejection::Broken { .. }), "{refusal}");
    }

    #[test]
    fn a_runner_s_agent_is_not_ours_to_put_back() {
        let catalog = owned_agent(Catalog::default(), "r", "backup", 1);
        let theirs = catalog.agents[&name("backup")].current.clone();
        let refusal = rollback(&Catalog::default(), &theirs, WhereDeleted::Recreate).unwrap_err();
        assert!(
            matches!(refusal, Rejection::VersionOfRunner { .. }),
            "{refusal}"
        );
        let ours = AgentVersion {
            owner: None,
            ..theirs
        };
        let refusal = rollback(&catalog, &ours, WhereDeleted::Refuse).unwrap_err();
        assert!(
            matches!(refusal, Rejection::OwnedByRunner { .. }),
            "{refusal}"
        );
    }

    #[test]
    fn changes_are_fields_and_files() {
        let (catalog, first) = twice();
        let second = &catalog.scripts[&name("deploy")].current;
        assert_eq!(second.changes(&first), ["run.sh"]);
        let described = version(script_with("deploy", |s| s.description = "new".to_owned()));
        let mut more = described.clone();
        more.files.remove(0);
        assert_eq!(described.changes(&first), ["description", "run.sh"]);
        assert_eq!(first.changes(&first), [""; 0]);
    }

    #[test]
    fn files_come_and_go_and_change_their_mode() {
        let entry = |path: &str, executable| FileEntry {
            path: path.parse().unwrap(),
            size: 1,
            executable,
            digest: None,
        };
        let before = [
            entry("a", false),
            entry("b", false),
            entry(SCRIPT_JSON, false),
        ];
        let after = [entry("b", true), entry("c", false)];
        assert_eq!(files(&before, &after), ["a (gone)", "b (mode)", "c (new)"]);
    }

    #[test]
    fn a_name_without_versions_is_not_found() {
        let catalog = given([capability_created("notes", json!({"text": "x"}))]);
        assert_eq!(last::<CapabilityVersion>(&catalog, &name("notes")), Ok(1));
        assert!(last::<AgentVersion>(&catalog, &name("notes")).is_err());
    }
}
