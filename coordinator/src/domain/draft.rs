//! A script's folder on its way into the catalogue: read, checked by itself, and packed. What it
//! may refer to and which version it becomes is `scripts`'.

use super::{Patch, Rejection};
use bytes::Bytes;
use events::catalog::{FileEntry, ScriptVersion};
use schemas::bundle::{ArchiveRefused, Folder};
use schemas::{Digest, DocumentError, SCRIPT_JSON, ScriptDocument};

/// All of a script's next version but its number.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptDraft {
    pub document: ScriptDocument,
    pub digest: Digest,
    pub files: Vec<FileEntry>,
    /// Tar, compressed with zstd.
    pub packed: Bytes,
    pub folder: Folder,
}

impl ScriptDraft {
    /// Checks and packs a folder. Takes as long as its schemas and its size do: not for a thread
    /// that others wait for.
    ///
    /// # Errors
    /// When the folder can be no script's.
    pub fn of(folder: Folder) -> Result<Self, Rejection> {
        let document = document_of(&folder)?;
        Self::with(document, folder)
    }

    /// The present version with a patch applied.
    ///
    /// # Errors
    /// When what comes out can be no script's folder.
    pub fn patched(
        document: &ScriptDocument,
        folder: Folder,
        mut patch: Patch,
    ) -> Result<Self, Rejection> {
        let content = patch.take_text("script_content");
        let written = serde_json::to_value(document).expect("a document serializes");
        let merged = patch.merged_into(written, &FIELDS, &["description"]);
        let merged = ScriptDocument::from_value(merged)?;
        let folder = moved(folder, document, &merged, content.as_deref())?;
        Self::with(merged, folder)
    }

    fn with(document: ScriptDocument, folder: Folder) -> Result<Self, Rejection> {
        document.check()?;
        let folder = Folder::script(&document, folder.into_files())?;
        let bundle = folder.pack()?;
        let files = folder.files().map(|(path, file)| FileEntry {
            path: path.clone(),
            size: file.bytes.len() as u64,
            executable: file.executable,
            digest: Some(Digest::of(&file.bytes)),
        });
        Ok(Self {
            document,
            digest: bundle.digest,
            files: files.collect(),
            packed: bundle.bytes.into(),
            folder,
        })
    }

    /// The version it becomes.
    pub fn version(&self, version: u32) -> ScriptVersion {
        ScriptVersion {
            version,
            digest: self.digest,
            size: self.packed.len() as u64,
            files: self.files.clone(),
            document: self.document.clone(),
            rollback_of: None,
        }
    }
}

/// What a patch of a script can change.
const FIELDS: [&str; 8] = [
    "description",
    "script_file",
    "parameters_schema",
    "output_schema",
    "demands",
    "timeout_seconds",
    "idempotent",
    "max_attempts",
];

/// The document in a folder.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn document_of(folder: &Folder) -> Result<ScriptDocument, Rejection> {
    let missing = || DocumentError {
        document: SCRIPT_JSON,
        path: "$".to_owned(),
        message: format!("the folder holds no {SCRIPT_JSON}; add one at its top"),
    };
    let file = folder.get(SCRIPT_JSON).ok_or_else(missing)?;
    Ok(ScriptDocument::from_json(&file.bytes)?)
}

/// The files after a patch: the file that runs under its new name and with its new content.
fn moved(
    folder: Folder,
    before: &ScriptDocument,
    after: &ScriptDocument,
    content: Option<&str>,
) -> Result<Folder, ArchiveRefused> {
    let renamed = before.script_file != after.script_file;
    // Where the new name is one of the folder's own files, the old one stays what it is.
    let switched = renamed && folder.get(after.script_file.as_str()).is_some();
    let mut moved = Folder::default();
    for (path, mut file) in folder.into_files() {
        let path = if path == before.script_file && renamed && !switched {
            after.script_file.clone()
        } else {
            path
        };
        if let Some(content) = content.filter(|_| path == after.script_file) {
            file.bytes = content.as_bytes().to_vec();
        }
        moved.insert(path, file)?;
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{folder, script};
    use rstest::rstest;
    use schemas::bundle::File;
    use serde_json::{Value, json};

    fn patched(patch: Value) -> Result<ScriptDraft, Rejection> {
        let document = script("deploy");
        let mut folder = folder("deploy", "echo 1");
        folder
            .insert("lib.sh".parse().unwrap(), File::plain("lib"))
            .unwrap();
        ScriptDraft::patched(&document, folder, Patch::from_value(patch).unwrap())
    }

    fn text(draft: &ScriptDraft, path: &str) -> Option<String> {
        let file = draft.folder.get(path)?;
        Some(String::from_utf8(file.bytes.clone()).unwrap())
    }

    #[test]
    fn content_replaces_the_file_that_runs() {
        let draft = patched(json!({"script_content": "echo 2", "description": null})).unwrap();
        assert_eq!(text(&draft, "run.sh").unwrap(), "echo 2");
        assert_eq!(text(&draft, "lib.sh").unwrap(), "lib");
        assert_eq!(draft.document.description, script("deploy").description);
    }

    #[test]
    fn a_new_name_moves_the_file_that_runs() {
        let draft = patched(json!({"script_file": "bin/go.sh"})).unwrap();
        assert_eq!(text(&draft, "bin/go.sh").unwrap(), "echo 1");
        assert_eq!(text(&draft, "run.sh"), None);
    }

    #[test]
    fn the_name_of_another_file_switches_to_it() {
        let draft = patched(json!({"script_file": "lib.sh"})).unwrap();
        assert_eq!(text(&draft, "lib.sh").unwrap(), "lib");
        assert_eq!(text(&draft, "run.sh").unwrap(), "echo 1");
    }

    #[rstest]
    #[case(json!({"parameters_schema": {}}))]
    #[case(json!({"demands": {"hostname": null, "tags": []}}))]
    #[case(json!({"demands": {}}))]
    fn empty_values_remove(#[case] patch: Value) {
        let mut document = script("deploy");
        document.parameters_schema = Some(json!({"type": "object"}));
        document.demands = schemas::Demands::of_tags(["uv".parse().unwrap()]);
        let field = patch.as_object().unwrap().keys().next().unwrap().clone();
        let patch = Patch::from_value(patch).unwrap();
        let draft = ScriptDraft::patched(&document, folder("deploy", "x"), patch).unwrap();
        let written = serde_json::to_value(&draft.document).unwrap();
        assert_eq!(written.get(&field), None);
    }

    #[rstest]
    #[case(json!({"script_file": "../x"}), "$.script_file")]
    #[case(json!({"timeout_seconds": 0}), "$.timeout_seconds")]
    #[case(json!({"parameters_schema": {"type": "moon"}}), "parameters_schema")]
    #[case(json!({"parameters_schema": {"$ref": "http://x/y"}}), "leads outside")]
    #[case(json!({"demands": {"tags": ["host:x"]}}), "demands.tags")]
    fn what_cannot_be_is_refused(#[case] patch: Value, #[case] part: &str) {
        let refusal = patched(patch).unwrap_err().to_string();
        assert!(refusal.contains(part), "{refusal}");
    }

    #[test]
    fn a_folder_without_a_document_or_without_its_file_is_refused() {
        let mut files = Folder::default();
        files
            .insert("run.sh".parse().unwrap(), File::plain("x"))
            .unwrap();
        let refusal = ScriptDraft::of(files).unwrap_err().to_string();
        assert!(refusal.contains("holds no script.json"), "{refusal}");

        let mut document = Folder::default();
        let json = script("deploy").to_json();
        document
            .insert("script.json".parse().unwrap(), File::plain(json))
            .unwrap();
        let refusal = ScriptDraft::of(document).unwrap_err().to_string();
        assert!(refusal.contains("run.sh"), "{refusal}");
    }

    #[test]
    fn the_spelling_of_the_document_makes_no_new_version() {
        let pretty = ScriptDraft::of(folder("deploy", "x")).unwrap();
        let mut spaced = Folder::default();
        let json = serde_json::to_string(&script("deploy")).unwrap();
        for (path, content) in [("script.json", json.as_str()), ("run.sh", "x")] {
            let file = File::plain(content);
            spaced.insert(path.parse().unwrap(), file).unwrap();
        }
        assert_eq!(ScriptDraft::of(spaced).unwrap().digest, pretty.digest);
    }
}
