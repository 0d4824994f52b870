//! `agent.json`: an agent, procedural (a script runs) or autonomous (a model works), and its hooks.
//! Does not know whether the script, agents and capabilities it names exist: that is the coordinator's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::absent;
use crate::check::{CompiledSchema, SchemaRejected};
use crate::demands::Demands;
use crate::document::{self, DocumentError};
use crate::name::{Name, Tag};
use crate::script::schema_of_a_schema;
use crate::text::InvalidName;
use crate::timeout::Timeout;

/// The name of the document inside an agent's folder.
pub const AGENT_JSON: &str = "agent.json";

/// How long a hook may take when it does not say.
const DEFAULT_HOOK_TIMEOUT: Timeout = Timeout::from_const(300);

/// An agent as people write it down. Fields that say nothing are left out when written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "agent.json")]
pub struct AgentDocument {
    /// Its unique name, the same as its folder's.
    pub name: Name,
    /// What it does, for people and other agents.
    pub description: String,
    /// Whether a script runs or a model works.
    #[serde(rename = "type")]
    pub kind: AgentKind,
    /// The script that a procedural agent runs.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub script: Option<Name>,
    /// JSON Schema of an autonomous agent's parameters; a procedural one has its script's.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema_of_a_schema")]
    pub parameters_schema: Option<Value>,
    /// JSON Schema of an autonomous agent's result; a procedural one has its script's.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema_of_a_schema")]
    pub output_schema: Option<Value>,
    /// What an autonomous agent is told first.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub system_prompt: Option<String>,
    /// The MCP servers an autonomous agent uses, handed on as they are.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    pub mcp_servers: Option<Value>,
    /// The skills an autonomous agent has, handed on as they are.
    #[serde(
        default,
        deserialize_with = "absent::value",
        skip_serializing_if = "Option::is_none"
    )]
    pub skills: Option<Value>,
    /// Tags to find it by; they demand nothing.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tags: Vec<Tag>,
    /// The capabilities an autonomous agent has.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub capabilities: Vec<Name>,
    /// What it demands of the runner beside what its script demands.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "Demands::is_empty"
    )]
    pub demands: Demands,
    /// Agents that run before or after it.
    #[serde(
        default,
        deserialize_with = "absent::null_as_default",
        skip_serializing_if = "Hooks::is_empty"
    )]
    pub hooks: Hooks,
    /// Whether it can be run.
    #[serde(default, deserialize_with = "absent::null_as_default")]
    pub status: AgentStatus,
    /// How long a run of it may take, in seconds; goes before its script's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<Timeout>,
}

/// What does an agent's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// A script.
    Procedural,
    /// A model, through an executor.
    Autonomous,
}

impl AgentKind {
    /// As it is written in documents and demanded of executors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Procedural => "procedural",
            Self::Autonomous => "autonomous",
        }
    }
}

/// Whether an agent can be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It can.
    #[default]
    Active,
    /// Requests for it are refused.
    Inactive,
}

/// What else runs when the agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Before the run can be claimed; may change its parameters or block it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_run_start: Option<Hook>,
    /// After its end, with the result as parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_run_finish: Option<Hook>,
}

impl Hooks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.on_run_start.is_none() && self.on_run_finish.is_none()
    }

    /// The agents that the hooks run.
    pub fn agents(&self) -> impl Iterator<Item = &Name> {
        [&self.on_run_start, &self.on_run_finish]
            .into_iter()
            .flatten()
            .map(|hook| &hook.agent_name)
    }
}

/// One hook: an agent that runs for another one's sake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What runs; only agents do so far.
    #[serde(rename = "type")]
    pub kind: HookKind,
    /// The agent that runs.
    pub agent_name: Name,
    /// What its failure means.
    #[serde(default)]
    pub on_error: OnError,
    /// How long it may take, in seconds.
    #[serde(default = "default_hook_timeout")]
    pub timeout_seconds: Timeout,
}

/// What a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HookKind {
    /// An agent.
    Agent,
}

/// What the failure of a hook means for the run it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Nothing: it goes on.
    #[default]
    Continue,
    /// It fails as blocked.
    Block,
}

/// Why an agent that can be read is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentRejection {
    /// A procedural agent is its script.
    #[error("a procedural agent runs a script: name it in the field script")]
    ProceduralWithoutScript,
    /// Only procedural agents run a script themselves.
    #[error(
        "an autonomous agent runs no script itself: \
         give it a capability that names the script, or make it procedural"
    )]
    AutonomousWithScript,
    /// A field that a procedural agent does not have.
    #[error("a procedural agent has no {field}: {instead}")]
    NotForProcedural {
        /// The field, as it stands in the document.
        field: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// A schema that is none, or that costs too much to check.
    #[error("{field} is refused")]
    Schema {
        /// The field, as it stands in the document.
        field: &'static str,
        /// Where and why.
        #[source]
        cause: SchemaRejected,
    },
    /// A tag that only the system makes.
    #[error("demands.tags are refused")]
    ReservedTag(#[source] InvalidName),
}

impl AgentDocument {
    /// Reads `agent.json`.
    ///
    /// # Errors
    /// When it is not JSON, a field is missing or not as it should be, or a key stands twice.
    pub fn from_json(json: &[u8]) -> Result<Self, DocumentError> {
        document::from_json(AGENT_JSON, json)
    }

    /// Takes it from a JSON value, as from a request's body.
    ///
    /// # Errors
    /// When a field is missing or not as it should be.
    pub fn from_value(value: Value) -> Result<Self, DocumentError> {
        document::from_value(AGENT_JSON, value)
    }

    /// Its one canonical spelling: two spaces, fields in the order above, one newline at the end.
    pub fn to_json(&self) -> String {
        document::pretty(self)
    }

    /// The rules that one field alone cannot break, for agents that the coordinator owns; what a runner
    /// announces is a [`CommandAgent`](crate::CommandAgent).
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), AgentRejection> {
        match (self.kind, &self.script) {
            (AgentKind::Procedural, None) => return Err(AgentRejection::ProceduralWithoutScript),
            (AgentKind::Procedural, Some(_)) => self.check_procedural()?,
            (AgentKind::Autonomous, Some(_)) => return Err(AgentRejection::AutonomousWithScript),
            (AgentKind::Autonomous, None) => {}
        }
        check_schema("parameters_schema", self.parameters_schema.as_ref())?;
        check_schema("output_schema", self.output_schema.as_ref())?;
        self.demands
            .check_user()
            .map_err(AgentRejection::ReservedTag)
    }

    /// What would be accepted here and then never used.
    fn check_procedural(&self) -> Result<(), AgentRejection> {
        const SCRIPTS: &str = "its script has it; write it there";
        const MODELS: &str = "only an autonomous agent uses it; leave it out";
        let unused = [
            (
                "parameters_schema",
                self.parameters_schema.is_some(),
                SCRIPTS,
            ),
            ("output_schema", self.output_schema.is_some(), SCRIPTS),
            ("system_prompt", self.system_prompt.is_some(), MODELS),
            ("mcp_servers", self.mcp_servers.is_some(), MODELS),
            ("skills", self.skills.is_some(), MODELS),
            ("capabilities", !self.capabilities.is_empty(), MODELS),
        ];
        match unused.into_iter().find(|(_, given, _)| *given) {
            Some((field, _, instead)) => Err(AgentRejection::NotForProcedural { field, instead }),
            None => Ok(()),
        }
    }
}

pub(crate) fn check_schema(
    field: &'static str,
    schema: Option<&Value>,
) -> Result<(), AgentRejection> {
    match schema.map(CompiledSchema::compile) {
        Some(Err(cause)) => Err(AgentRejection::Schema { field, cause }),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn default_hook_timeout() -> Timeout {
    DEFAULT_HOOK_TIMEOUT
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn notifier() -> Value {
        json!({
            "name": "notifier",
            "type": "procedural",
            "description": "Send notifications to various channels",
            "script": "send-notification",
            "demands": { "tags": ["messaging-team"] },
            "hooks": { "on_run_start": { "type": "agent", "agent_name": "gate" } },
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut document = notifier();
        document[field] = value;
        document
    }

    #[test]
    fn reads_the_seeds_example_and_fills_in_defaults() {
        let agent = AgentDocument::from_value(notifier()).unwrap();
        agent.check().unwrap();
        assert_eq!(agent.status, AgentStatus::Active);
        let hook = agent.hooks.on_run_start.as_ref().unwrap();
        assert_eq!(
            (hook.on_error, hook.timeout_seconds.seconds()),
            (OnError::Continue, 300)
        );
        insta::assert_snapshot!(agent.to_json());
    }

    #[test]
    fn what_is_written_reads_back() {
        let agent = AgentDocument::from_value(notifier()).unwrap();
        assert_eq!(
            AgentDocument::from_json(agent.to_json().as_bytes()).unwrap(),
            agent
        );
    }

    #[rstest]
    #[case("description", json!(1), "$.description")]
    #[case("type", json!("manual"), "$.type")]
    #[case("script", json!("../x"), "$.script")]
    #[case("demands", json!({"tags": ["ok", "not ok"]}), "$.demands.tags[1]")]
    #[case("hooks", json!({"on_run_start": {"type": "agent", "agent_name": "a", "x": 1}}),
        "$.hooks.on_run_start.x")]
    #[case("hooks", json!({"on_start": {}}), "$.hooks.on_start")]
    #[case("status", json!("asleep"), "$.status")]
    #[case("timeout_seconds", json!(0), "$.timeout_seconds")]
    fn says_where_a_field_is_wrong(#[case] field: &str, #[case] value: Value, #[case] path: &str) {
        let error = AgentDocument::from_value(with(field, value)).unwrap_err();
        assert_eq!(error.path, path, "{error}");
    }

    #[rstest]
    #[case("script", json!(null), "name it in the field script")]
    #[case("script", json!(""), "name it in the field script")]
    #[case("type", json!("autonomous"), "give it a capability")]
    #[case("parameters_schema", json!({"type": "object"}), "no parameters_schema: its script has it")]
    #[case("capabilities", json!(["a"]), "no capabilities")]
    #[case("demands", json!({"tags": ["host:a"]}), "demands.tags")]
    fn refuses_what_contradicts_itself(
        #[case] field: &str,
        #[case] value: Value,
        #[case] message: &str,
    ) {
        let agent = AgentDocument::from_value(with(field, value)).unwrap();
        let error = agent.check().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn empty_fields_of_existing_clients_say_nothing() {
        let agent = AgentDocument::from_value(json!({
            "name": "a", "description": "", "type": "autonomous", "script": null, "skills": [],
            "mcp_servers": {}, "system_prompt": "", "parameters_schema": {}, "hooks": null,
            "tags": null, "capabilities": [], "demands": {}, "status": null, "created_at": "now",
        }))
        .unwrap();
        agent.check().unwrap();
        let expected = json!({
            "name": "a", "description": "", "type": "autonomous", "status": "active",
        });
        assert_eq!(serde_json::to_value(agent).unwrap(), expected);
    }
}
