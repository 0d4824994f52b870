//! A script as clients see it: whole, and as one line of a list. Fields that say nothing are left
//! out.

use crate::app::Script;
use events::Timestamp;
use events::catalog::{Entry, FileEntry, ScriptVersion};
use schemars::JsonSchema;
use schemas::{Attempts, Demands, Digest, FilePath, Name, Tag, Timeout};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize, JsonSchema)]
pub struct ScriptView {
    name: Name,
    description: String,
    script_file: FilePath,
    /// The file that runs, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    script_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    demands: Option<DemandsView>,
    created_at: Timestamp,
    modified_at: Timestamp,
    // Ours.
    version: u32,
    digest: Digest,
    /// Packed, in bytes.
    size: u64,
    files: Vec<FileEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<Timeout>,
    idempotent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<Attempts>,
}

#[derive(Serialize, JsonSchema)]
pub struct ScriptSummary {
    name: Name,
    description: String,
    script_file: FilePath,
    has_parameters_schema: bool,
    has_demands: bool,
    demand_tags: Vec<Tag>,
    created_at: Timestamp,
    modified_at: Timestamp,
    // Ours.
    version: u32,
    digest: Digest,
}

/// Demands with their tags spelled out also where there is none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScriptDemands")]
pub struct DemandsView {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor_type: Option<String>,
    tags: Vec<Tag>,
}

impl From<Script> for ScriptView {
    fn from(script: Script) -> Self {
        let script_content = script.content().map(str::to_owned);
        Self::of(script.entry, script_content)
    }
}

impl ScriptView {
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Without the files' content where there is none.
    pub fn of(entry: Entry<ScriptVersion>, script_content: Option<String>) -> Self {
        let Entry {
            current,
            created_at,
            modified_at,
        } = entry;
        let ScriptVersion {
            version,
            digest,
            size,
            files,
            document,
            rollback_of: _,
        } = current;
        Self {
            name: document.name,
            description: document.description,
            script_file: document.script_file,
            script_content,
            parameters_schema: document.parameters_schema,
            demands: DemandsView::of(document.demands),
            created_at,
            modified_at,
            version,
            digest,
            size,
            files,
            output_schema: document.output_schema,
            timeout_seconds: document.timeout_seconds,
            idempotent: document.idempotent,
            max_attempts: document.max_attempts,
        }
    }
}

impl From<Entry<ScriptVersion>> for ScriptSummary {
    fn from(entry: Entry<ScriptVersion>) -> Self {
        let document = entry.current.document;
        Self {
            has_parameters_schema: document.parameters_schema.is_some(),
            has_demands: !document.demands.is_empty(),
            name: document.name,
            description: document.description,
            script_file: document.script_file,
            demand_tags: document.demands.tags,
            created_at: entry.created_at,
            modified_at: entry.modified_at,
            version: entry.current.version,
            digest: entry.current.digest,
        }
    }
}

impl DemandsView {
    /// None where nothing is demanded.
    pub fn of(demands: Demands) -> Option<Self> {
        (!demands.is_empty()).then(|| {
            let Demands {
                hostname,
                project_dir,
                executor_profile,
                executor_type,
                tags,
            } = demands;
            Self {
                hostname,
                project_dir,
                executor_profile,
                executor_type,
                tags,
            }
        })
    }
}
