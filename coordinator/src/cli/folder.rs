//! The local folders that `apply` and `create` read: `scripts/<name>/`, `capabilities/<name>/`,
//! `agents/<name>/`, or one of them. Reads only; it does not know what the server has.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use schemas::bundle::Folder;
use schemas::{
    AGENT_JSON, AgentDocument, CAPABILITY_JSON, CapabilityDocument, SCRIPT_JSON, ScriptDocument,
};
use serde_json::Value;

use super::failure::Failure;

/// The field of an agent that says whether it can be run.
pub const STATUS: &str = "status";

/// A script's folder, ready to be sent.
pub struct Packed {
    pub name: String,
    pub digest: String,
    /// tar + zstd.
    pub bytes: Vec<u8>,
    pub folder: Folder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Script,
    Capability,
    Agent,
}

/// In the order in which one may refer to another.
pub const KINDS: [Kind; 3] = [Kind::Script, Kind::Capability, Kind::Agent];

/// Where one script, capability or agent stands, before it is read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    pub kind: Kind,
    pub path: PathBuf,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Capability => "capability",
            Self::Agent => "agent",
        }
    }

    /// All of the kind: the folder they stand in, and their route.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Script => "scripts",
            Self::Capability => "capabilities",
            Self::Agent => "agents",
        }
    }
}

impl Source {
    /// What to call it where it cannot be read.
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name())
    }

    /// Two folders that hold one name would overwrite each other at every `apply`.
    pub fn holds(&self, name: &str) -> Result<(), Failure> {
        if name == self.name() {
            return Ok(());
        }
        let kind = self.kind.as_str();
        Err(
            Failure::refused(format!("{} holds the {kind} {name}", self.path.display()))
                .hint("give the folder and what it holds the same name"),
        )
    }

    /// The name that its folder or file has.
    pub fn name(&self) -> Cow<'_, str> {
        let name = match self.kind {
            Kind::Capability | Kind::Agent if self.path.is_file() => self.path.file_stem(),
            _ => self.path.file_name(),
        };
        name.unwrap_or_default().to_string_lossy()
    }
}

/// Everything under this path in the order in which one refers to the other: scripts,
/// capabilities, agents.
pub fn sources(path: &Path) -> Result<Vec<Source>, Failure> {
    // `.` and `..` have no name of their own.
    let path = &fs::canonicalize(path).map_err(|error| {
        Failure::refused(format!("cannot read {}", path.display())).because(error)
    })?;
    if path.join(SCRIPT_JSON).is_file() {
        return Ok(vec![Source {
            kind: Kind::Script,
            path: path.clone(),
        }]);
    }
    if path.join(CAPABILITY_JSON).is_file() {
        return Ok(vec![Source {
            kind: Kind::Capability,
            path: path.clone(),
        }]);
    }
    if path.join(AGENT_JSON).is_file() || path.is_file() {
        return Ok(vec![Source {
            kind: Kind::Agent,
            path: path.clone(),
        }]);
    }
    let mut sources = Vec::new();
    for kind in KINDS {
        sources.extend(children(path, kind)?);
    }
    if sources.is_empty() {
        return Err(
            Failure::refused(format!("there is nothing to apply in {}", path.display()))
                .details([
                    "expected: scripts/<name>/script.json, capabilities/<name>/capability.json, \
                     agents/<name>/agent.json"
                        .to_owned(),
                ])
                .hint("coordinator init, for a folder to begin with"),
        );
    }
    Ok(sources)
}

/// Reads `capability.json` in a folder, or a JSON file, in its canonical form.
pub fn capability(path: &Path) -> Result<Value, Failure> {
    let file = document_in(path, CAPABILITY_JSON);
    let refuse = || Failure::refused(format!("cannot use {}", file.display()));
    let json = fs::read(&file).map_err(|error| refuse().because(error))?;
    let document = CapabilityDocument::from_json(&json).map_err(|error| refuse().because(error))?;
    document.check().map_err(|error| refuse().because(error))?;
    serde_json::to_value(document).map_err(|error| refuse().because(error))
}

/// Reads `agent.json` in a folder, or a JSON file, in its canonical form. A status that it does not
/// name stays unnamed: switching an agent off is done on the server, not in files.
pub fn agent(path: &Path) -> Result<Value, Failure> {
    let file = document_in(path, AGENT_JSON);
    let refuse = || Failure::refused(format!("cannot use {}", file.display()));
    let json = fs::read(&file).map_err(|error| refuse().because(error))?;
    let document = AgentDocument::from_json(&json).map_err(|error| refuse().because(error))?;
    document.check().map_err(|error| refuse().because(error))?;
    let mut canonical = serde_json::to_value(document).map_err(|error| refuse().because(error))?;
    let written: Value = serde_json::from_slice(&json).unwrap_or_default();
    if written.get(STATUS).is_none()
        && let Some(fields) = canonical.as_object_mut()
    {
        fields.remove(STATUS);
    }
    Ok(canonical)
}

fn document_in(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() {
        path.join(name)
    } else {
        path.to_owned()
    }
}

/// Reads a script's folder and packs it the way the server does: the same files, the same digest.
pub fn pack(dir: &Path) -> Result<Packed, Failure> {
    let refuse = || Failure::refused(format!("cannot use {}", dir.display()));
    let handle =
        Dir::open_ambient_dir(dir, ambient_authority()).map_err(|error| refuse().because(error))?;
    let written = Folder::read_from(&handle).map_err(|error| refuse().because(error))?;
    let json = written.get(SCRIPT_JSON).ok_or_else(|| {
        refuse()
            .details([format!("there is no {SCRIPT_JSON} in it")])
            .hint("coordinator init, for examples")
    })?;
    let document =
        ScriptDocument::from_json(&json.bytes).map_err(|error| refuse().because(error))?;
    document.check().map_err(|error| refuse().because(error))?;
    let folder =
        Folder::script(&document, written.into_files()).map_err(|error| refuse().because(error))?;
    let bundle = folder.pack().map_err(|error| refuse().because(error))?;
    Ok(Packed {
        name: document.name.to_string(),
        digest: bundle.digest.to_string(),
        bytes: bundle.bytes,
        folder,
    })
}

/// What the server's download holds.
pub fn unpack(bundle: &[u8]) -> Result<Folder, Failure> {
    Folder::unpack(bundle, None)
        .map_err(|error| Failure::refused("cannot read the stored script").because(error))
}

/// The kinds that the folder has a place for, even an empty one; none where it is the folder of
/// one script or agent.
pub fn kinds(path: &Path) -> Vec<Kind> {
    let has_place = |kind: &Kind| path.join(kind.plural()).is_dir();
    KINDS.into_iter().filter(has_place).collect()
}

fn children(path: &Path, kind: Kind) -> Result<Vec<Source>, Failure> {
    let dir = path.join(kind.plural());
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let refuse = |error| Failure::refused(format!("cannot read {}", dir.display())).because(error);
    let mut sources = Vec::new();
    for entry in fs::read_dir(&dir).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        // Other files are notes that people keep beside them.
        if !hidden && (path.is_dir() || kind != Kind::Script && is_json) {
            sources.push(Source { kind, path });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    const SCRIPT: &str = r#"{"name": "deploy", "description": "d", "script_file": "deploy.sh"}"#;
    const AGENT: &str =
        r#"{"name": "notifier", "description": "d", "type": "procedural", "script": "deploy"}"#;

    const CAPABILITY: &str = r#"{"name": "deploying", "description": "d", "script": "deploy"}"#;

    #[test]
    fn what_is_referred_to_comes_first_and_notes_are_left_alone() {
        let dir = tree(&[
            ("agents/notifier/agent.json", AGENT),
            ("agents/checker.json", AGENT),
            ("scripts/deploy/script.json", SCRIPT),
            ("capabilities/deploying/capability.json", CAPABILITY),
            ("capabilities/brevity.json", CAPABILITY),
            ("scripts/README.md", "notes"),
            ("scripts/.cache/x", ""),
        ]);
        let labels: Vec<String> = sources(dir.path())
            .unwrap()
            .iter()
            .map(Source::label)
            .collect();
        let expected = [
            "script/deploy",
            "capability/brevity",
            "capability/deploying",
            "agent/checker",
            "agent/notifier",
        ];
        assert_eq!(labels, expected);
        let one: Vec<Source> = sources(&dir.path().join("scripts/deploy")).unwrap();
        assert_eq!(one[0].label(), "script/deploy");
    }

    #[test]
    fn an_empty_folder_says_what_was_expected() {
        let report = sources(tree(&[]).path()).unwrap_err().report();
        assert!(
            report.contains("scripts/<name>/script.json") && report.contains("init"),
            "{report}"
        );
    }

    #[test]
    fn how_script_json_is_written_does_not_change_the_digest() {
        let one = tree(&[("script.json", SCRIPT), ("deploy.sh", "exit 0\n")]);
        let other = tree(&[
            ("script.json", &SCRIPT.replace(": ", ":\n\t")),
            ("deploy.sh", "exit 0\n"),
        ]);
        let (one, other) = (pack(one.path()).unwrap(), pack(other.path()).unwrap());
        assert_eq!(one.digest, other.digest);
        assert_eq!(unpack(&one.bytes).unwrap(), one.folder);
    }

    #[test]
    fn a_folder_without_its_script_file_is_refused() {
        let Err(failure) = pack(tree(&[("script.json", SCRIPT)]).path()) else {
            panic!("it was packed");
        };
        assert!(
            failure
                .report()
                .contains("script_file deploy.sh is not among"),
            "{}",
            failure.report()
        );
    }

    #[test]
    fn a_capability_comes_out_with_its_type() {
        let dir = tree(&[("capability.json", CAPABILITY)]);
        assert_eq!(capability(dir.path()).unwrap()["type"], "script");
        let empty = CAPABILITY.replace("deploy\"}", "\"}");
        let dir = tree(&[("capability.json", &empty)]);
        let report = capability(dir.path()).unwrap_err().report();
        assert!(report.contains("gives something"), "{report}");
    }

    #[test]
    fn a_status_that_is_not_written_stays_unwritten() {
        let dir = tree(&[("agent.json", AGENT)]);
        assert!(agent(dir.path()).unwrap().get(STATUS).is_none());
    }

    #[test]
    fn folder_and_content_have_one_name() {
        let source = Source {
            kind: Kind::Script,
            path: "scripts/deploy".into(),
        };
        assert!(source.holds("deploy").is_ok());
        assert!(
            source
                .holds("other")
                .unwrap_err()
                .report()
                .contains("holds the script other")
        );
    }
}
