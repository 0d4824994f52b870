//! A run request: who can be run, with which parameters, where, and for how long.

use super::{Rejection, demands};
use events::catalog::{AgentVersion, Catalog, Kind, ScriptVersion};
use events::run::{ExecutionMode, PinnedScript, Program, RunKind, RunRequest, TraceParent};
use events::{RunId, SessionId};
use schemas::check::{CHECK_DEADLINE, CompiledSchema};
use schemas::parameters::{argv, bound, with_defaults};
use schemas::{
    AgentStatus, Attempts, Demands, Digest, MAX_TIMEOUT_SECONDS, Name, ScriptDocument, Timeout,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How long a run may take when nobody says.
pub const DEFAULT_TIMEOUT: Timeout = Timeout::from_const(300);
/// How long a model may take when nobody says: nobody knows, so as long as anything may.
pub const MODEL_TIMEOUT: Timeout = Timeout::from_const(MAX_TIMEOUT_SECONDS);
/// How long a run waits for a runner that could take it, when nobody says.
pub const DEFAULT_SCHEDULE_TIMEOUT: Timeout = Timeout::from_const(300);
/// How often in all a lost run of an idempotent script is begun when the script does not say.
pub const IDEMPOTENT_ATTEMPTS: u32 = 3;
/// Violations told at once; more help nobody.
const VIOLATIONS_MAX: usize = 20;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCommand {
    pub agent: Name,
    pub parameters: Map<String, Value>,
    pub additional_demands: Demands,
    pub project_dir: Option<String>,
    /// Chosen by the client; one of ours otherwise.
    pub session_id: Option<SessionId>,
    pub parent_session_id: Option<SessionId>,
    pub execution_mode: ExecutionMode,
    pub timeout_seconds: Option<Timeout>,
    /// How long it may wait while nobody could take it.
    pub schedule_timeout: Option<Timeout>,
    /// Refused where no runner that is online could take it.
    pub fail_fast: bool,
    /// The same key with the same request gives the same run.
    pub idempotency_key: Option<String>,
    /// Not of what is asked for: a repeated request is another part of its trace.
    pub traceparent: Option<TraceParent>,
}

impl RunCommand {
    /// What another request under the same idempotency key differs in: everything that was asked
    /// for, in whatever order it was written.
    pub fn fingerprint(&self) -> Digest {
        let asked = json!([
            self.agent,
            self.parameters,
            self.additional_demands,
            self.project_dir,
            self.session_id,
            self.parent_session_id,
            self.execution_mode,
            self.timeout_seconds,
            self.schedule_timeout,
        ]);
        Digest::of(sorted(asked).to_string().as_bytes())
    }
}

/// An agent that can be run, with what does its work.
#[derive(Clone, Debug, PartialEq)]
pub struct Runnable {
    pub agent: AgentVersion,
    pub work: Work,
    /// All scripts it needs on its host, those of its capabilities too.
    pub scripts: Vec<ScriptDocument>,
}

/// What does an agent's work.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    Script(Box<ScriptVersion>),
    /// What its runner owns: a command there.
    Command {
        digest: Digest,
    },
    /// What the agent's own text tells a model.
    Model {
        digest: Digest,
    },
}

/// What an autonomous agent takes that says nothing else.
static PROMPT: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "type": "object",
        "required": ["prompt"],
        "properties": {"prompt": {"type": "string", "minLength": 1}},
        "additionalProperties": false,
    })
});

impl Runnable {
    /// What its parameters have to fit.
    pub fn parameters_schema(&self) -> Option<&Value> {
        match &self.work {
            Work::Script(script) => script.document.parameters_schema.as_ref(),
            Work::Command { .. } => self.agent.document.parameters_schema.as_ref(),
            Work::Model { .. } => {
                let own = self.agent.document.parameters_schema.as_ref();
                Some(own.unwrap_or(&PROMPT))
            }
        }
    }

    /// Of what is executed.
    pub fn digest(&self) -> Digest {
        match &self.work {
            Work::Script(script) => script.digest,
            Work::Command { digest } | Work::Model { digest } => *digest,
        }
    }

    fn script(&self) -> Option<&ScriptVersion> {
        match &self.work {
            Work::Script(script) => Some(script),
            Work::Command { .. } | Work::Model { .. } => None,
        }
    }

    fn program(&self) -> Program {
        match &self.work {
            Work::Script(script) => Program::Script(PinnedScript {
                name: script.document.name.clone(),
                version: script.version,
                file: script.document.script_file.clone(),
                tags: script.document.demands.tags.iter().cloned().collect(),
            }),
            Work::Command { .. } => Program::Command,
            Work::Model { .. } => Program::Model,
        }
    }
}

/// The agent's present version, with its script's.
///
/// # Errors
/// When it does not exist or is not active.
pub fn runnable(catalog: &Catalog, agent: &Name) -> Result<Runnable, Rejection> {
    let entry = super::agents::find(catalog, agent)?;
    let document = &entry.current.document;
    if document.status == AgentStatus::Inactive {
        let agent = agent.clone();
        return Err(Rejection::AgentInactive { agent });
    }
    let scripts = demands::scripts_of(catalog, document);
    Ok(Runnable {
        scripts: scripts.map(|script| script.document.clone()).collect(),
        work: work(catalog, &entry.current)?,
        agent: entry.current.clone(),
    })
}

fn work(catalog: &Catalog, agent: &AgentVersion) -> Result<Work, Rejection> {
    if let Some(owner) = &agent.owner {
        let digest = owner.digest;
        return Ok(Work::Command { digest });
    }
    let document = &agent.document;
    // Only an autonomous agent of the coordinator has none.
    let Some(script) = &document.script else {
        let json = serde_json::to_vec(document).expect("a document serializes");
        let digest = Digest::of(&json);
        return Ok(Work::Model { digest });
    };
    let found = catalog.scripts.get(script);
    let found = found.ok_or_else(|| Rejection::Broken {
        agent: document.name.clone(),
        kind: Kind::Script,
        missing: script.clone(),
    })?;
    Ok(Work::Script(Box::new(found.current.clone())))
}

/// The request that a command comes to. `schema` is the runnable's, compiled. Checking takes up to
/// the schema's deadline: not for a thread that others wait for.
///
/// # Errors
/// When the parameters or the demands are refused.
pub fn request(
    runnable: &Runnable,
    command: &RunCommand,
    schema: Option<&CompiledSchema>,
    run_id: RunId,
    session_id: SessionId,
) -> Result<RunRequest, Rejection> {
    let agent = &runnable.agent;
    let script = runnable.script().map(|script| &script.document);
    command.additional_demands.check_user()?;
    if command.execution_mode == ExecutionMode::AsyncCallback && command.parent_session_id.is_none()
    {
        return Err(Rejection::NobodyToCallBack);
    }
    let lane_tags = demands::lane_tags(
        &agent.document,
        &runnable.scripts,
        &command.additional_demands,
    )?;
    let written = runnable.parameters_schema();
    let name = &agent.document.name;
    let parameters = checked(name, written, schema, command.parameters.clone())?;
    let arguments = match runnable.work {
        Work::Script(_) | Work::Command { .. } => argv(written, &parameters)?,
        Work::Model { .. } => Vec::new(),
    };
    let timeout = command
        .timeout_seconds
        .or(agent.document.timeout_seconds)
        .or(script.and_then(|script| script.timeout_seconds))
        .unwrap_or(match runnable.work {
            Work::Script(_) | Work::Command { .. } => DEFAULT_TIMEOUT,
            Work::Model { .. } => MODEL_TIMEOUT,
        });
    let max_attempts = match script {
        Some(script) if script.idempotent => script
            .max_attempts
            .map_or(IDEMPOTENT_ATTEMPTS, Attempts::count),
        _ => 1,
    };
    Ok(RunRequest {
        run_id,
        kind: RunKind::StartSession,
        session_id,
        agent: agent.document.name.clone(),
        agent_version: agent.version,
        program: runnable.program(),
        digest: runnable.digest(),
        lane_tags,
        demands: command.additional_demands.clone(),
        parameters,
        arguments,
        timeout_seconds: timeout.seconds(),
        schedule_timeout_seconds: command.schedule_timeout.map(Timeout::seconds),
        max_attempts,
        execution_mode: command.execution_mode,
        project_dir: command.project_dir.clone(),
        parent_session_id: command.parent_session_id.clone(),
        hooks: agent.document.hooks.clone(),
        hook_of: None,
        callback_of: None,
        retry_of: None,
        traceparent: command.traceparent.clone(),
        fingerprint: command
            .idempotency_key
            .as_ref()
            .map(|_| command.fingerprint()),
    })
}

/// With the fields of all objects in the order of their names.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// The parameters with defaults filled in, where they fit the schema: `written`, and compiled.
pub(super) fn checked(
    agent: &Name,
    written: Option<&Value>,
    schema: Option<&CompiledSchema>,
    parameters: Map<String, Value>,
) -> Result<Map<String, Value>, Rejection> {
    bound(&parameters)?;
    let parameters = with_defaults(written, parameters)?;
    let (Some(schema), Some(written)) = (schema, written) else {
        return Ok(parameters);
    };
    let value = Value::Object(parameters);
    let violations = schema
        .validate_within(&value, VIOLATIONS_MAX, CHECK_DEADLINE)
        .map_err(|why| Rejection::Unchecked {
            agent: agent.clone(),
            why,
        })?;
    match value {
        Value::Object(parameters) if violations.is_empty() => Ok(parameters),
        _ => Err(Rejection::Parameters {
            agent: agent.clone(),
            violations,
            schema: written.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agents;
    use crate::domain::testing::{
        agent, agent_created, capability_created, evolved, given, helper_created, name,
        owned_agent, script_created, script_with,
    };
    use schemas::AgentKind;

    fn command(parameters: &Value) -> RunCommand {
        RunCommand {
            agent: name("notifier"),
            parameters: parameters.as_object().unwrap().clone(),
            additional_demands: Demands::default(),
            project_dir: None,
            session_id: None,
            parent_session_id: None,
            execution_mode: ExecutionMode::Sync,
            timeout_seconds: None,
            schedule_timeout: None,
            fail_fast: false,
            idempotency_key: None,
            traceparent: None,
        }
    }

    fn catalog() -> Catalog {
        let script = script_with("send", |document| {
            document.parameters_schema = Some(json!({
                "type": "object",
                "required": ["message"],
                "properties": {
                    "message": {"type": "string"},
                    "channel": {"type": "string", "default": "general"},
                },
            }));
            document.timeout_seconds = Some(60.try_into().unwrap());
            document.idempotent = true;
        });
        given([script, agent_created("notifier", "send")])
    }

    fn request_with(command: &RunCommand) -> Result<RunRequest, Rejection> {
        let runnable = runnable(&catalog(), &command.agent)?;
        let schema = runnable.parameters_schema();
        let schema = schema.map(|schema| CompiledSchema::compile(schema).unwrap());
        let run_id = RunId::from_bits(1);
        let session_id = SessionId::from_bits(1);
        request(&runnable, command, schema.as_ref(), run_id, session_id)
    }

    #[test]
    fn fills_in_defaults_and_computes_the_command_line() {
        let request = request_with(&command(&json!({"message": "-x"}))).unwrap();
        assert_eq!(request.arguments, ["--message=-x", "--channel", "general"]);
        assert_eq!(request.parameters["channel"], json!("general"));
        assert_eq!((request.timeout_seconds, request.max_attempts), (60, 3));
        assert_eq!(request.lane_tags.to_string(), "{type:procedural}");
    }

    #[test]
    fn says_where_parameters_do_not_fit() {
        let refusal = request_with(&command(&json!({"message": 1}))).unwrap_err();
        let Rejection::Parameters { violations, .. } = &refusal else {
            panic!("{refusal}");
        };
        assert_eq!(violations[0].path, "$.message");
        assert!(refusal.to_string().contains("$.message"), "{refusal}");
    }

    #[test]
    fn the_requests_timeout_goes_before_the_agents_and_the_scripts() {
        let mut asked = command(&json!({"message": "x"}));
        asked.timeout_seconds = Some(7.try_into().unwrap());
        assert_eq!(request_with(&asked).unwrap().timeout_seconds, 7);
    }

    #[test]
    fn demands_of_a_request_are_added_and_reserved_ones_refused() {
        let mut asked = command(&json!({"message": "x"}));
        asked.additional_demands = Demands::of_tags(["gpu".parse().unwrap()]);
        let tags = request_with(&asked).unwrap().lane_tags.to_string();
        assert_eq!(tags, "{gpu, type:procedural}");
        asked.additional_demands = Demands::of_tags(["runner:a".parse().unwrap()]);
        assert!(matches!(request_with(&asked), Err(Rejection::Tag(_))));
    }

    #[test]
    fn only_active_agents_run() {
        let unknown = runnable(&catalog(), &name("nobody")).unwrap_err();
        assert_eq!(unknown.to_string(), "Agent not found: nobody");

        let status = AgentStatus::Inactive;
        let inactive = agents::set_status(&catalog(), &name("notifier"), status).unwrap();
        let refusal = runnable(&evolved(catalog(), inactive), &name("notifier")).unwrap_err();
        assert!(matches!(refusal, Rejection::AgentInactive { .. }));
    }

    #[test]
    fn the_runs_of_an_autonomous_agent_are_where_its_capabilities_scripts_are() {
        let gpu = Demands::of_tags(["gpu".parse().unwrap()]);
        let catalog = given([
            script_with("look", |document| document.demands = gpu),
            capability_created("looking", json!({"script": "look"})),
            helper_created("thinker", &["looking"]),
        ]);
        let runnable = runnable(&catalog, &name("thinker")).unwrap();
        let schema = CompiledSchema::compile(runnable.parameters_schema().unwrap()).unwrap();
        let ids = (RunId::from_bits(1), SessionId::from_bits(1));
        let command = command(&json!({"prompt": "think"}));
        let asked = request(&runnable, &command, Some(&schema), ids.0, ids.1).unwrap();
        assert_eq!(asked.lane_tags.to_string(), "{gpu, type:autonomous}");
    }

    #[test]
    fn an_autonomous_agent_takes_a_prompt_and_waits_for_its_kind_of_runner() {
        let mut thinker = agent("notifier", "send");
        thinker.kind = AgentKind::Autonomous;
        thinker.script = None;
        let created = agents::create(&Catalog::default(), &thinker).unwrap();
        let runnable = runnable(&evolved(Catalog::default(), created), &thinker.name).unwrap();
        let with = |parameters: Value| {
            let schema = runnable.parameters_schema();
            let schema = schema.map(|schema| CompiledSchema::compile(schema).unwrap());
            let ids = (RunId::from_bits(1), SessionId::from_bits(1));
            let command = command(&parameters);
            request(&runnable, &command, schema.as_ref(), ids.0, ids.1)
        };
        let asked = with(json!({"prompt": "think"})).unwrap();
        assert_eq!(asked.program, Program::Model);
        assert_eq!(asked.lane_tags.to_string(), "{type:autonomous}");
        assert_eq!(asked.arguments, Vec::<String>::new());
        assert_eq!(asked.timeout_seconds, MAX_TIMEOUT_SECONDS);
        for wrong in [
            json!({}),
            json!({"prompt": ""}),
            json!({"prompt": "x", "y": 1}),
        ] {
            let refusal = with(wrong).unwrap_err();
            assert!(matches!(refusal, Rejection::Parameters { .. }), "{refusal}");
        }
    }

    #[test]
    fn a_callback_needs_somebody_to_call() {
        let mut asked = command(&json!({"message": "x"}));
        asked.execution_mode = ExecutionMode::AsyncCallback;
        let refusal = request_with(&asked).unwrap_err();
        assert!(matches!(refusal, Rejection::NobodyToCallBack));
        asked.parent_session_id = Some(SessionId::from_bits(7));
        assert!(request_with(&asked).is_ok());
    }

    #[test]
    fn a_runners_agent_pins_its_definition_and_the_runner() {
        let catalog = owned_agent(Catalog::default(), "web-1", "notifier", 5);
        let owner = catalog.agents[&name("notifier")].current.owner.clone();
        let runnable = runnable(&catalog, &name("notifier")).unwrap();
        let asked = command(&json!({"level": 3}));
        let ids = (RunId::from_bits(1), SessionId::from_bits(1));
        let request = request(&runnable, &asked, None, ids.0, ids.1).unwrap();
        assert_eq!(request.program, Program::Command);
        assert_eq!(request.digest, owner.unwrap().digest);
        assert_eq!(request.arguments, ["--level", "3"]);
        let tags = request.lane_tags.to_string();
        assert_eq!(tags, "{runner:web-1, type:procedural}");
    }

    #[test]
    fn a_script_without_a_schema_takes_anything() {
        let catalog = given([
            script_created("send", "x"),
            agent_created("notifier", "send"),
        ]);
        let runnable = runnable(&catalog, &name("notifier")).unwrap();
        let asked = command(&json!({"b": 1, "a": true}));
        let ids = (RunId::from_bits(1), SessionId::from_bits(1));
        let request = request(&runnable, &asked, None, ids.0, ids.1).unwrap();
        assert_eq!(request.arguments, ["--a", "--b", "1"]);
        assert_eq!((request.timeout_seconds, request.max_attempts), (300, 1));
    }

    #[test]
    fn a_repeated_request_is_recognised_in_whatever_order_it_is_written() {
        let mut asked = command(&json!({"message": "x", "channel": "general"}));
        asked.idempotency_key = Some("k".to_owned());
        let stored = request_with(&asked).unwrap();
        assert_eq!(stored.fingerprint, Some(asked.fingerprint()));
        let turned = command(&json!({"channel": "general", "message": "x"}));
        assert_eq!(turned.fingerprint(), asked.fingerprint());
        for other in [
            json!({"message": "x"}),
            json!({"message": "y", "channel": "general"}),
        ] {
            assert_ne!(command(&other).fingerprint(), asked.fingerprint());
        }
    }
}
