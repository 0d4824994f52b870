//! Why a command is refused: one closed list whose variants carry the facts and whose text is for
//! people. Which status code each becomes is `http`'s.

use super::audit::AuditRejection;
use super::explain::NoRunner;
use super::over_http::OverHttpRejection;
use events::catalog::Kind;
use events::run::RunStatus;
use events::{RunId, RunnerId, SessionId, Timestamp};
use schemas::bundle::ArchiveRefused;
use schemas::check::{SchemaRejected, Unanswered, Violation};
use schemas::parameters::{ArgumentRefused, ParametersRefused};
use schemas::{
    AgentRejection, CapabilityRejection, ConflictingDemands, Digest, DocumentError, InvalidName,
    Name, ScriptRejection,
};
use serde_json::Value;
use std::fmt;

/// A command that cannot be carried out as things stand.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// 404
    #[error("{} not found: {name}", Title(*kind))]
    NotFound { kind: Kind, name: Name },
    /// 412: somebody else was there in between.
    #[error("{} {name} is not as the request takes it to be: {}", Title(*kind), Present(*present))]
    Stale {
        kind: Kind,
        name: Name,
        present: Option<u32>,
    },
    #[error(transparent)]
    Audit(#[from] AuditRejection),
    /// 409
    #[error("Stop session first")]
    SessionAtWork,
    #[error(transparent)]
    OverHttp(#[from] OverHttpRejection),
    /// 404: asked about a moment in the past.
    #[error("{} not found as of {as_of}: {name}", Title(*kind))]
    NotFoundThen {
        kind: Kind,
        name: Name,
        as_of: String,
    },
    /// 404
    #[error(
        "Run {run_id} was requested at {created_at} (RUNS {sequence}); it did not exist before"
    )]
    RunNotYet {
        run_id: RunId,
        created_at: Timestamp,
        sequence: u64,
    },
    /// 400
    #[error("{asked} is in the future: by the broker's clock it is {now}")]
    InTheFuture { asked: Timestamp, now: Timestamp },
    /// 400
    #[error("{stream} has no sequence {asked} yet; the last one is {last}")]
    AfterTheLast {
        stream: &'static str,
        asked: u64,
        last: u64,
    },
    /// 404
    #[error("Run not found: {run_id}")]
    RunNotFound { run_id: RunId },
    /// 404
    #[error("Runner not found: {runner_id}")]
    RunnerNotFound { runner_id: RunnerId },
    /// 409: it would come back by itself.
    #[error(
        "Runner {runner_id} is online. Stop it first (TERM lets running scripts finish), then forget it; to keep it from new runs, drain it"
    )]
    RunnerOnline { runner_id: RunnerId },
    /// 400
    #[error(
        "The reason has {chars} characters; allowed is one line of at most {allowed}, without control characters"
    )]
    DrainReason { chars: usize, allowed: usize },
    /// 404: no version of the script ever had, or no longer has, this digest.
    #[error("Script {script} has no version with digest {digest}")]
    VersionNotFound { script: Name, digest: Digest },
    /// 404
    #[error(
        "{} {name} has no version {version}; {}",
        Title(*kind),
        Versions(*last)
    )]
    NoVersion {
        kind: Kind,
        name: Name,
        version: u32,
        last: u32,
    },
    /// 409: going back is for what is there; what was deleted comes back only if that is meant.
    #[error(
        "{} {name} is deleted (its last version was {last}). It comes back as it was in version {to} where the rollback says that it may create it",
        Title(*kind)
    )]
    Deleted {
        kind: Kind,
        name: Name,
        last: u32,
        to: u32,
    },
    /// 409: what a runner announced is no document of ours.
    #[error(
        "Version {version} of agent {agent} belonged to runner {runner_id}, so there is nothing here to go back to. Choose another version, or create the agent anew"
    )]
    VersionOfRunner {
        agent: Name,
        version: u32,
        runner_id: RunnerId,
    },
    /// 409: the event is there, its files are not.
    #[error(
        "The files of version {version} of script {script} ({digest}) are not stored any more. Choose another version"
    )]
    VersionNotStored {
        script: Name,
        version: u32,
        digest: Digest,
    },
    /// 409
    #[error("{} already exists: {name}. Change it with PATCH or PUT, or delete it first", Title(*kind))]
    Exists { kind: Kind, name: Name },
    /// 409
    #[error("{} is referenced by agents: {}", Title(*kind), Names(agents))]
    ReferencedByAgents {
        kind: Kind,
        name: Name,
        agents: Vec<Name>,
    },
    /// 409
    #[error("Script is referenced by {}", References(agents, capabilities))]
    ScriptReferenced {
        agents: Vec<Name>,
        capabilities: Vec<Name>,
    },
    /// 409
    #[error(
        "Agent {agent} is inactive and takes no runs. Activate it with PATCH /agents/{agent}/status"
    )]
    AgentInactive { agent: Name },
    /// 409: its file on the runner's host is the one place to change it.
    #[error(
        "Agent {agent} belongs to runner {runner_id} and changes only in that runner's --agents-dir. Change it there, or choose another name"
    )]
    OwnedByRunner { agent: Name, runner_id: RunnerId },
    /// What a runner announces under a name that is taken.
    #[error(
        "Agent {agent} of runner {runner_id} is refused: the name belongs to {}. Rename one of them",
        Owner(owner.as_ref())
    )]
    NameTaken {
        agent: Name,
        runner_id: RunnerId,
        /// `None`: the coordinator.
        owner: Option<RunnerId>,
    },
    /// 400: it leaves with its runner.
    #[error(
        "Agent {agent} belongs to runner {runner_id} and leaves with it, so it cannot be a hook. Name an agent that has a script"
    )]
    HookOfRunner { agent: Name, runner_id: RunnerId },
    /// 409
    #[error("Session {session_id} exists already. Leave session_id out, or choose another one")]
    SessionTaken { session_id: SessionId },
    /// 409
    #[error(
        "This Idempotency-Key was used for another request (run {run_id}). Use a new key for a new request"
    )]
    KeyReused { run_id: RunId },
    /// 409: nobody could take it, and the client does not want to wait.
    #[error("{0}")]
    NoRunner(Box<NoRunner>),
    /// 409: only what has ended is repeated.
    #[error("Run {run_id} is still {status}. Wait for its end, or stop it first")]
    RunNotEnded { run_id: RunId, status: RunStatus },
    /// 409: what it executed is not kept any more.
    #[error(
        "The bundle {digest} that run {run_id} executed is not stored any more, so it cannot be repeated exactly. Repeat it with the present version: --current"
    )]
    BundleGone { run_id: RunId, digest: Digest },
    /// 400: the document names something that does not exist.
    #[error("Agent {agent} refers to {} {missing}, which does not exist. Create it first", Lower(*kind))]
    Broken {
        agent: Name,
        kind: Kind,
        missing: Name,
    },
    /// 400
    #[error("Agent {agent} cannot be its own hook. Name another agent")]
    OwnHook { agent: Name },
    /// 400
    #[error(
        "Capability {capability} refers to script {missing}, which does not exist. Create it first"
    )]
    CapabilityBroken { capability: Name, missing: Name },
    /// 400
    #[error(
        "Agent {agent} would have two different MCP servers called {server}, one of them by capability {capability}. Rename one of them"
    )]
    TwoMcpServers {
        agent: Name,
        capability: Name,
        server: String,
    },
    /// 404
    #[error("Script {script} is not pinned there")]
    NotPinned { script: Name },
    /// 400
    #[error("A script is pinned to a runner or to tags: name one of them")]
    PinnedNowhere,
    /// 404
    #[error("Runner not found: {runner_id}")]
    UnknownRunner { runner_id: RunnerId },
    /// 400
    #[error(
        "A token cannot be called {name}: that is how the coordinator's own doors are named. Choose another name"
    )]
    TokenNameReserved { name: Name },
    /// 400
    #[error("The token would have expired before anybody could use it; give a longer ttl")]
    TokenLifetime,
    /// 409
    #[error(
        "There are {} tokens already, expired and used ones included. Revoke some first",
        super::tokens::TOKENS_MAX
    )]
    TooManyTokens,
    /// 401
    #[error(
        "Token {token} lets one runner join, and was used up by runner {runner}. Have another one made"
    )]
    TokenUsed { token: Name, runner: Name },
    /// 401
    #[error("Token {token} has expired. Have another one made")]
    TokenExpired { token: Name },
    /// 401
    #[error("Runner {runner_id} has not joined, or with another key. Join with a token")]
    NotJoined { runner_id: RunnerId },
    /// 403: also an admin's token does not bring it back.
    #[error(
        "The access of runner {runner_id} was revoked; only a new token of the role runner lets it join again"
    )]
    RunnerRevoked { runner_id: RunnerId },
    /// 403
    #[error(
        "The key of runner {runner_id} was revoked. Remove nkey.seed from its state folder and join again with a new token"
    )]
    KeyRevoked { runner_id: RunnerId },
    /// 409
    #[error(
        "Runner {runner_id} has joined already, with another key. Revoke that one first, or choose another --runner-id"
    )]
    AlreadyJoined { runner_id: RunnerId },
    /// 409
    #[error(
        "The key of runner {runner_id} belongs to runner {other}; each runner needs a state folder of its own"
    )]
    KeyTaken { runner_id: RunnerId, other: Name },
    /// 400
    #[error(
        "The document is called {document}, but it was sent as {path}. Use the same name in both"
    )]
    NameDiffers { path: Name, document: Name },
    /// 422: the document's shape.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// 400
    #[error(transparent)]
    Script(ScriptRejection),
    /// 400
    #[error(transparent)]
    Agent(AgentRejection),
    /// 400
    #[error(transparent)]
    Capability(#[from] CapabilityRejection),
    /// 400: not a folder a script can have: too large, hostile paths, the file to run is missing.
    #[error("The script's folder is refused: {0}")]
    Folder(#[from] ArchiveRefused),
    /// 400: a schema that is none, or that costs too much to check.
    #[error("{field}: {rejected}")]
    Schema {
        /// `parameters_schema` or `output_schema`.
        field: &'static str,
        rejected: SchemaRejected,
    },
    /// 400: two demands that no runner can meet at once.
    #[error("Agent {agent}: {conflict}")]
    Demands {
        agent: Name,
        conflict: ConflictingDemands,
    },
    /// 400: a tag in the request's demands that only the system makes.
    #[error(transparent)]
    Tag(#[from] InvalidName),
    /// 400 `procedural_agent_no_resume`
    #[error("Agent {agent} is procedural, and a procedural session cannot be resumed")]
    NoResume { agent: Name },
    /// 404
    #[error("Session not found: {session_id}")]
    SessionNotFound { session_id: SessionId },
    /// 400
    #[error(
        "execution_mode async_callback resumes the parent's session with the result, and parent_session_id does not say which. Name it, or use async_poll"
    )]
    NobodyToCallBack,
    /// 400 `parameter_validation_failed`
    #[error("The parameters do not fit agent {agent}: {}", First(violations))]
    Parameters {
        agent: Name,
        violations: Vec<Violation>,
        schema: Value,
    },
    /// 400: the parameters could not be checked against the schema in time.
    #[error("The parameters for agent {agent} could not be checked: {why}")]
    Unchecked { agent: Name, why: Unanswered },
    /// 400: over the limits.
    #[error(transparent)]
    ParametersTooLarge(#[from] ParametersRefused),
    /// 400: they fit the schema and still cannot become a command line.
    #[error(transparent)]
    Arguments(#[from] ArgumentRefused),
}

impl From<ScriptRejection> for Rejection {
    fn from(rejection: ScriptRejection) -> Self {
        match rejection {
            ScriptRejection::Schema { field, cause } => Self::Schema {
                field,
                rejected: cause,
            },
            other => Self::Script(other),
        }
    }
}

impl From<AgentRejection> for Rejection {
    fn from(rejection: AgentRejection) -> Self {
        match rejection {
            AgentRejection::Schema { field, cause } => Self::Schema {
                field,
                rejected: cause,
            },
            other => Self::Agent(other),
        }
    }
}

/// How a kind begins a sentence.
struct Title(Kind);

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Script => "Script",
            Kind::Agent => "Agent",
            Kind::Capability => "Capability",
            Kind::Pin => "Pin",
            Kind::Token => "Token",
            Kind::Runner => "Runner",
        })
    }
}

struct Lower(Kind);

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Script => "script",
            Kind::Agent => "agent",
            Kind::Capability => "capability",
            Kind::Pin => "pin",
            Kind::Token => "token",
            Kind::Runner => "runner",
        })
    }
}

/// What there is in the place of what was expected.
struct Present(Option<u32>);

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => write!(f, "its version is {version}"),
            None => f.write_str("there is none"),
        }
    }
}

/// Which versions there are.
struct Versions(u32);

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("there is only version 1"),
            last => write!(f, "there are 1 to {last}"),
        }
    }
}

struct Owner<'a>(Option<&'a RunnerId>);

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(runner) => write!(f, "runner {runner}"),
            None => f.write_str("the coordinator"),
        }
    }
}

struct Names<'a>(&'a [Name]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(Name::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

/// Who refers to a script.
struct References<'a>(&'a [Name], &'a [Name]);

impl fmt::Display for References<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(agents, capabilities) = self;
        match (agents.is_empty(), capabilities.is_empty()) {
            (_, true) => write!(f, "agents: {}", Names(agents)),
            (true, false) => write!(f, "capabilities: {}", Names(capabilities)),
            (false, false) => {
                let (agents, capabilities) = (Names(agents), Names(capabilities));
                write!(f, "agents: {agents}; capabilities: {capabilities}")
            }
        }
    }
}

/// The first violation, and how many more there are.
struct First<'a>(&'a [Violation]);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [one] => write!(f, "{} {}", one.path, one.message),
            [one, more @ ..] => {
                write!(f, "{} {} (and {} more)", one.path, one.message, more.len())
            }
        }
    }
}
