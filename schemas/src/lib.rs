//! The documents people write, what their JSON Schemas allow, and what a `parameters_schema` turns into.
//!
//! The lowest crate: no async, no broker, no clock but a check's deadline, no files but a bundle's through
//! a directory handle. It does not know what exists: references between documents are the coordinator's.

pub mod bundle;
pub mod check;
pub mod parameters;

mod absent;
mod agent;
mod attempts;
mod capability;
mod changes;
mod command_agent;
mod demands;
mod digest;
mod document;
mod file_path;
mod interpreter;
mod name;
mod published;
mod script;
mod text;
mod timeout;

pub use agent::{
    AGENT_JSON, AgentDocument, AgentKind, AgentRejection, AgentStatus, Hook, HookKind, Hooks,
    OnError,
};
pub use attempts::{Attempts, InvalidAttempts, MAX_ATTEMPTS};
pub use capability::{CAPABILITY_JSON, CapabilityDocument, CapabilityKind, CapabilityRejection};
pub use changes::changed_fields;
pub use command_agent::{CommandAgent, CommandLine, InvalidCommand};
pub use demands::{ConflictingDemands, Demands, MAX_DEMAND_TAGS};
pub use digest::Digest;
pub use document::{DocumentError, MAX_JSON_DEPTH, depth, value_from_json};
pub use file_path::{FilePath, MAX_COMPONENT_BYTES, MAX_PATH_BYTES, MAX_PATH_DEPTH};
pub use interpreter::Interpreter;
pub use name::{MAX_NAME_CHARS, MAX_TAG_CHARS, Name, RESERVED_TAG_PREFIXES, Tag};
pub use published::{agent_schema, capability_schema, script_schema};
pub use script::{SCRIPT_JSON, ScriptDocument, ScriptRejection};
pub use text::{InvalidName, shown};
pub use timeout::{InvalidTimeout, MAX_TIMEOUT_SECONDS, Timeout};
