//! The agents of this runner's own: a folder of files, each with a command of this host. Reads and
//! checks them; a file that cannot be used is a fault with its path, and the others go on.
//!
//! Who else has a name is the coordinator's to say, and when to read again the supervisor's.

use crate::execute::interpreter::is_program;
use schemas::{AGENT_JSON, AgentRejection, CommandAgent, Digest, DocumentError, Name};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Definitions are announced in one event, of which the broker takes 1 MiB.
const ANNOUNCED_MAX_BYTES: usize = 512 * 1024;
/// Faults that are announced; the log has all of them.
const FAULTS_MAX: usize = 20;

/// The folder, and what it held when it was last read.
#[derive(Debug)]
pub struct AgentsFolder {
    /// `None`: this runner has no agents of its own.
    dir: Option<PathBuf>,
    search_path: OsString,
    now: RwLock<Arc<OwnAgents>>,
}

/// What can be run, and what cannot.
#[derive(Debug, Default)]
pub struct OwnAgents {
    usable: BTreeMap<Name, OwnAgent>,
    /// A sentence for people each, with the file.
    faults: Vec<String>,
}

/// An agent that can be run here.
#[derive(Clone, Debug)]
pub struct OwnAgent {
    pub definition: CommandAgent,
    pub digest: Digest,
    /// Where its program is.
    pub program: PathBuf,
    /// Where its file is.
    pub folder: PathBuf,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Rejected(#[from] AgentRejection),
    #[error("it holds the agent {0}; give file and agent the same name")]
    Misnamed(Name),
    #[error("another file holds the agent {0} as well; remove one of them")]
    Twice(Name),
    #[error(
        "its program {program:?} is not an executable file in {looked_in}; install it, or name it by its path (a relative one begins at the agent's file)"
    )]
    NoProgram { program: String, looked_in: String },
    #[error(
        "the definitions of all agents together exceed {ANNOUNCED_MAX_BYTES} bytes; shorten them"
    )]
    TooMuch,
}

impl AgentsFolder {
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn open(dir: Option<&Path>, search_path: &OsStr) -> io::Result<Self> {
        let folder = Self {
            dir: dir.map(Path::to_owned),
            search_path: search_path.to_owned(),
            now: RwLock::default(),
        };
        folder.read_again()?;
        Ok(folder)
    }

    /// Takes in what the folder holds now.
    ///
    /// # Errors
    /// When it cannot be read; then everything stays as it was.
    pub fn read_again(&self) -> io::Result<()> {
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        let read = OwnAgents::read(dir, &self.search_path)?;
        for fault in &read.faults {
            tracing::error!("an agent of this runner is not used: {fault}");
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
        Ok(())
    }

    pub fn now(&self) -> Arc<OwnAgents> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }
}

impl OwnAgents {
    fn read(dir: &Path, search_path: &OsStr) -> io::Result<Self> {
        let (mut agents, mut announced) = (Self::default(), 0);
        for (name, file) in files(dir)? {
            let taken = OwnAgent::read(&file, search_path)
                .and_then(|agent| agents.take(&name, agent, &mut announced));
            if let Err(fault) = taken {
                let why = crate::apply::describe(&fault);
                agents.faults.push(format!("{}: {why}", file.display()));
            }
        }
        Ok(agents)
    }

    fn take(&mut self, name: &OsStr, agent: OwnAgent, announced: &mut usize) -> Result<(), Fault> {
        let own = agent.definition.name.clone();
        if name != own.as_str() {
            return Err(Fault::Misnamed(own));
        }
        if self.usable.contains_key(&own) {
            return Err(Fault::Twice(own));
        }
        let json = serde_json::to_vec(&agent.definition).expect("a document serializes");
        if *announced + json.len() > ANNOUNCED_MAX_BYTES {
            return Err(Fault::TooMuch);
        }
        *announced += json.len();
        self.usable.insert(own, agent);
        Ok(())
    }

    pub fn find(&self, name: &Name) -> Option<&OwnAgent> {
        self.usable.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.usable.keys()
    }

    /// What is announced.
    pub fn definitions(&self) -> Vec<CommandAgent> {
        let usable = self.usable.values();
        usable.map(|agent| agent.definition.clone()).collect()
    }

    /// What is announced beside them.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        if faults.len() > FAULTS_MAX {
            let more = faults.len() - FAULTS_MAX;
            faults.truncate(FAULTS_MAX);
            faults.push(format!("and {more} more; the runner's log has all of them"));
        }
        faults
    }
}

impl OwnAgent {
    fn read(file: &Path, search_path: &OsStr) -> Result<Self, Fault> {
        let definition = CommandAgent::from_json(&fs::read(file)?)?;
        definition.check()?;
        let folder = file.parent().unwrap_or(file).to_owned();
        Ok(Self {
            program: program(&definition, &folder, search_path)?,
            digest: definition.digest(),
            definition,
            folder,
        })
    }
}

/// `<name>.json` and `<name>/agent.json`, sorted; other things are what agents work with.
fn files(dir: &Path) -> io::Result<Vec<(OsString, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        if path.file_name().is_none_or(is_hidden) {
            continue;
        }
        let inside = path.join(AGENT_JSON);
        if inside.is_file() {
            files.extend(path.file_name().map(|name| (name.to_owned(), inside)));
        } else if path.is_file() && path.extension().is_some_and(|end| end == "json") {
            files.extend(path.file_stem().map(|name| (name.to_owned(), path.clone())));
        }
    }
    files.sort();
    Ok(files)
}

/// A path begins at the agent's file, a bare name is looked for as a shell would.
fn program(
    definition: &CommandAgent,
    folder: &Path,
    search_path: &OsStr,
) -> Result<PathBuf, Fault> {
    let named = definition.command.program();
    let (found, looked_in) = match named.contains('/') {
        true => (
            Some(folder.join(named)).filter(|path| is_program(path)),
            folder.display().to_string(),
        ),
        false => (
            std::env::split_paths(search_path)
                .map(|folder| folder.join(named))
                .find(|path| path.is_absolute() && is_program(path)),
            "the runner's PATH".to_owned(),
        ),
    };
    found.ok_or_else(|| Fault::NoProgram {
        program: named.to_owned(),
        looked_in,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let mode = if path.extension().is_some_and(|end| end == "sh") {
                0o755
            } else {
                0o644
            };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir) -> Arc<OwnAgents> {
        let folder = AgentsFolder::open(Some(dir.path()), OsStr::new("/usr/bin:/bin"));
        folder.unwrap().now()
    }

    #[test]
    fn reads_files_and_folders_and_leaves_other_things_alone() {
        let dir = folder(&[
            (
                "backup/agent.json",
                r#"{"name": "backup", "command": "./run.sh -a"}"#,
            ),
            ("backup/run.sh", "#!/bin/sh\n"),
            ("list.json", r#"{"name": "list", "command": ["ls", "-l"]}"#),
            ("README.md", "notes"),
            ("lib/helpers.txt", ""),
            (".hidden.json", "{"),
        ]);
        let agents = read(&dir);
        assert_eq!(agents.faults(), Vec::<String>::new());
        let names: Vec<&str> = agents.names().map(Name::as_str).collect();
        assert_eq!(names, ["backup", "list"]);
        let backup = agents.find(&"backup".parse().unwrap()).unwrap();
        assert_eq!(backup.program, backup.folder.join("./run.sh"));
        let list = agents.find(&"list".parse().unwrap()).unwrap();
        assert!(list.program.ends_with("bin/ls"), "{:?}", list.program);
    }

    #[test]
    fn a_broken_file_is_named_and_the_others_go_on() {
        let dir = folder(&[
            ("good.json", r#"{"name": "good", "command": "true"}"#),
            ("json.json", "{"),
            ("other.json", r#"{"name": "another", "command": "true"}"#),
            ("gone.json", r#"{"name": "gone", "command": "./not-there"}"#),
            (
                "plain.json",
                r#"{"name": "plain", "command": "./plain.json"}"#,
            ),
            (
                "nowhere.json",
                r#"{"name": "nowhere", "command": "no-such-program"}"#,
            ),
            ("twice.json", r#"{"name": "twice", "command": "true"}"#),
            (
                "twice/agent.json",
                r#"{"name": "twice", "command": "true"}"#,
            ),
        ]);
        let agents = read(&dir);
        let names: Vec<&str> = agents.names().map(Name::as_str).collect();
        assert_eq!(names, ["good", "twice"]);
        let faults = agents.faults().join("\n");
        for (file, why) in [
            ("json.json", "agent.json"),
            ("other.json", "the same name"),
            ("gone.json", "./not-there"),
            ("plain.json", "not an executable"),
            ("nowhere.json", "the runner's PATH"),
            ("twice.json", "remove one"),
        ] {
            let line = faults
                .lines()
                .find(|line| line.contains(&format!("/{file}: ")));
            assert!(
                line.is_some_and(|line| line.contains(why)),
                "{file}: {faults}"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_read_again_changes_nothing() {
        let dir = folder(&[("list.json", r#"{"name": "list", "command": "ls"}"#)]);
        let path = dir.path().to_owned();
        let agents = AgentsFolder::open(Some(&path), OsStr::new("/usr/bin:/bin")).unwrap();
        drop(dir);
        assert!(agents.read_again().is_err());
        assert_eq!(agents.now().names().count(), 1);
    }
}
