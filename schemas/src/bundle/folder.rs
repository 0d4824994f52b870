//! A script's folder in memory, never over its limits. Knows neither archives nor directories.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::refused::ArchiveRefused;
use crate::file_path::FilePath;
use crate::script::{SCRIPT_JSON, ScriptDocument};

/// The most bytes all files have together: every runner of the lane keeps them, in several versions.
pub const MAX_UNPACKED_BYTES: usize = 50 * 1024 * 1024;
/// The most files: each costs a runner a create and a sync.
pub const MAX_FILES: usize = 1_000;

/// One file of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Whether it can be run as it is.
    pub executable: bool,
}

impl File {
    /// A file that is not executable.
    pub fn plain(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            executable: false,
        }
    }

    /// A file that is executable.
    pub fn executable(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            executable: true,
        }
    }
}

/// Files by their paths. Folders are there because files stand in them; an empty one is nothing.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    files: BTreeMap<FilePath, File>,
    bytes: usize,
    /// Files and folders as a file system that does not tell case would name them.
    taken: BTreeMap<String, Taken>,
}

/// A name that something in the folder has.
#[derive(Clone, Debug)]
struct Taken {
    name: String,
    by: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File,
    Folder,
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Eq for Folder {}

impl Folder {
    /// The folder of a script: the given files, and its document in its one spelling instead of a
    /// `script.json` among them. The file to run becomes executable.
    ///
    /// # Errors
    /// When the file to run is missing or the files are over the limits.
    pub fn script(
        document: &ScriptDocument,
        files: impl IntoIterator<Item = (FilePath, File)>,
    ) -> Result<Self, ArchiveRefused> {
        let mut folder = Self::default();
        for (path, mut file) in files {
            file.executable |= path == document.script_file;
            if path.as_str() != SCRIPT_JSON {
                folder.insert(path, file)?;
            }
        }
        folder.insert(SCRIPT_JSON.parse()?, File::plain(document.to_json()))?;
        if folder.get(document.script_file.as_str()).is_none() {
            return Err(ArchiveRefused::MissingScriptFile(
                document.script_file.clone(),
            ));
        }
        Ok(folder)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When it would not fit beside the others: too many, too large, or a name that is taken.
    pub fn insert(&mut self, path: FilePath, file: File) -> Result<(), ArchiveRefused> {
        if self.files.contains_key(&path) {
            return Err(ArchiveRefused::Duplicate(path));
        }
        if self.files.len() == MAX_FILES {
            return Err(ArchiveRefused::TooManyFiles);
        }
        if self.bytes.saturating_add(file.bytes.len()) > MAX_UNPACKED_BYTES {
            return Err(ArchiveRefused::TooLarge);
        }
        for folder in path.folders() {
            self.take(folder, Node::Folder)?;
        }
        self.take(path.as_str(), Node::File)?;
        self.bytes += file.bytes.len();
        self.files.insert(path, file);
        Ok(())
    }

    /// One file.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// The files, sorted by path.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&FilePath, &File)> {
        self.files.iter()
    }

    /// The files, sorted by path.
    pub fn into_files(self) -> impl ExactSizeIterator<Item = (FilePath, File)> {
        self.files.into_iter()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The folders that files stand in, each after the one it is in.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let taken = self.taken.values().filter(|taken| taken.by == Node::Folder);
        let mut folders: Vec<&str> = taken.map(|taken| taken.name.as_str()).collect();
        folders.sort_unstable();
        folders.into_iter()
    }

    fn take(&mut self, name: &str, by: Node) -> Result<(), ArchiveRefused> {
        match self.taken.entry(name.to_lowercase()) {
            Entry::Vacant(free) => {
                free.insert(Taken {
                    name: name.to_owned(),
                    by,
                });
                Ok(())
            }
            Entry::Occupied(taken) => match taken.get() {
                Taken { name: other, .. } if other != name => Err(ArchiveRefused::CaseConflict {
                    one: other.clone(),
                    other: name.to_owned(),
                }),
                Taken {
                    by: Node::Folder, ..
                } if by == Node::Folder => Ok(()),
                _ => Err(ArchiveRefused::FileAndFolder(name.to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn insert_all(paths: &[&str]) -> Result<Folder, ArchiveRefused> {
        let mut folder = Folder::default();
        for path in paths {
            folder.insert(path.parse().unwrap(), File::default())?;
        }
        Ok(folder)
    }

    fn document() -> ScriptDocument {
        let value = json!({ "name": "a", "description": "b", "script_file": "bin/run.sh" });
        ScriptDocument::from_value(value).unwrap()
    }

    #[rstest]
    #[case(&["a", "b/a", "b/c/a"], "fits")]
    #[case(&["a", "a"], "\"a\" is there twice")]
    #[case(&["a", "A"], "differ only in case")]
    #[case(&["lib/a", "LIB/b"], "differ only in case")]
    #[case(&["Ä", "ä"], "differ only in case")]
    #[case(&["a/b", "A"], "differ only in case")]
    #[case(&["a", "a/b"], "a file and a folder")]
    #[case(&["a/b", "a"], "a file and a folder")]
    fn every_name_is_taken_once(#[case] paths: &[&str], #[case] expected: &str) {
        let answer = match insert_all(paths) {
            Ok(_) => "fits".to_owned(),
            Err(refused) => refused.to_string().replace("file a is", "\"a\" is"),
        };
        assert!(answer.contains(expected), "{answer}");
    }

    #[test]
    fn bounds_the_number_of_files() {
        let names: Vec<String> = (0..=MAX_FILES).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(insert_all(&names[1..]).unwrap().len(), MAX_FILES);
        assert_eq!(insert_all(&names), Err(ArchiveRefused::TooManyFiles));
    }

    #[test]
    fn bounds_the_bytes() {
        let mut folder = Folder::default();
        folder
            .insert(
                "a".parse().unwrap(),
                File::plain(vec![0; MAX_UNPACKED_BYTES]),
            )
            .unwrap();
        folder
            .insert("b".parse().unwrap(), File::default())
            .unwrap();
        let refused = folder.insert("c".parse().unwrap(), File::plain("x"));
        assert_eq!(refused, Err(ArchiveRefused::TooLarge));
        assert_eq!(folder.len(), 2);
    }

    #[test]
    fn a_scripts_folder_has_its_document_and_an_executable_file() {
        let files = [
            (
                "script.json".parse().unwrap(),
                File::plain("{ \"name\": \"other\" }"),
            ),
            ("bin/run.sh".parse().unwrap(), File::plain("true")),
        ];
        let folder = Folder::script(&document(), files).unwrap();
        assert_eq!(
            folder.get("script.json"),
            Some(&File::plain(document().to_json()))
        );
        assert_eq!(folder.get("bin/run.sh"), Some(&File::executable("true")));
    }

    #[test]
    fn a_scripts_folder_has_the_file_to_run() {
        let files = [("run.sh".parse().unwrap(), File::default())];
        let refused = Folder::script(&document(), files).unwrap_err();
        assert!(
            refused.to_string().contains("bin/run.sh is not among"),
            "{refused}"
        );
    }
}
