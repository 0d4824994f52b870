//! What is stored when alice brings, changes and deletes `send-notification` and `notifier`, and
//! what follows for their lane.

use super::{bundle, envelope, enveloped, lane_tags, runner, tags};
use events::catalog::{
    AgentVersion, CapabilityVersion, CatalogEvent, FileEntry, Place, RunnerOwner, ScriptVersion,
};
use events::distribution::LaneEvent;
use events::member::{BrokerKey, Joined};
use events::token::{Role, Token};
use events::{Actor, Envelope, Via};
use schemas::{AgentDocument, CapabilityDocument, Demands, Digest, ScriptDocument};
use serde_json::{Value, json};

pub fn catalog() -> Vec<(&'static str, Envelope<CatalogEvent>)> {
    let name = |text: &str| text.parse().unwrap();
    let events = samples! {
        "script_created": CatalogEvent::ScriptCreated(_) =>
            CatalogEvent::ScriptCreated(script_version(1, script())),
        "script_changed": CatalogEvent::ScriptChanged(_) =>
            CatalogEvent::ScriptChanged(ScriptVersion {
                rollback_of: Some(1),
                ..script_version(2, fuller_script())
            }),
        "agent_created": CatalogEvent::AgentCreated(_) =>
            CatalogEvent::AgentCreated(AgentVersion {
                version: 1,
                document: agent(),
                owner: None,
                rollback_of: None,
            }),
        "agent_changed": CatalogEvent::AgentChanged(_) =>
            CatalogEvent::AgentChanged(AgentVersion {
                version: 2,
                document: fuller_agent(),
                owner: Some(owner()),
                rollback_of: Some(1),
            }),
        "agent_deleted": CatalogEvent::AgentDeleted { .. } =>
            CatalogEvent::AgentDeleted { name: name("notifier") },
        "script_deleted": CatalogEvent::ScriptDeleted { .. } =>
            CatalogEvent::ScriptDeleted { name: name("send-notification") },
        "capability_created": CatalogEvent::CapabilityCreated(_) =>
            CatalogEvent::CapabilityCreated(CapabilityVersion {
                version: 1,
                document: capability(&json!({ "script": "send-notification" })),
                rollback_of: None,
            }),
        "capability_changed": CatalogEvent::CapabilityChanged(_) =>
            CatalogEvent::CapabilityChanged(CapabilityVersion {
                version: 2,
                document: capability(&json!({
                    "text": "Use the notes before you ask.",
                    "mcp_servers": { "notes": { "type": "http", "url": "http://notes.example.com/mcp" } },
                })),
                rollback_of: Some(1),
            }),
        "capability_deleted": CatalogEvent::CapabilityDeleted { .. } =>
            CatalogEvent::CapabilityDeleted { name: name("notifying") },
        "script_pinned": CatalogEvent::ScriptPinned { .. } => CatalogEvent::ScriptPinned {
            script: name("send-notification"),
            place: Place::Tags { tags: tags(&["messaging-team", "uv"]) },
        },
        "script_unpinned": CatalogEvent::ScriptUnpinned { .. } => CatalogEvent::ScriptUnpinned {
            script: name("send-notification"),
            places: [
                Place::Runner { runner_id: runner() },
                Place::Tags { tags: tags(&["messaging-team", "uv"]) },
            ]
            .into(),
        },
        "token_created": CatalogEvent::TokenCreated(_) => CatalogEvent::TokenCreated(Token {
            name: name("web1-join"),
            role: Role::Runner,
            hash: Digest::of(b"cor_no-such-token"),
            expires_at: Some("2026-11-20T10:10:00Z".parse().unwrap()),
        }),
        "token_revoked": CatalogEvent::TokenRevoked { .. } =>
            CatalogEvent::TokenRevoked { name: name("ci") },
        "runner_joined": CatalogEvent::RunnerJoined(_) => CatalogEvent::RunnerJoined(Joined {
            runner: name(runner().as_str()),
            key: broker_key(),
            token: Some(name("web1-join")),
        }),
        "runner_revoked": CatalogEvent::RunnerRevoked { .. } =>
            CatalogEvent::RunnerRevoked { runner: name(runner().as_str()) },
    };
    // In the order in which they happen, so that the files are one hash chain.
    let mut previous = None;
    let chained = (1..).zip(events).map(|(number, (name, event))| {
        let envelope = Envelope {
            previous,
            ..envelope(number, Actor::new("alice", Via::Cli), event)
        };
        previous = Some(Digest::of(&envelope.to_bytes()));
        (name, envelope)
    });
    chained.collect()
}

/// A form, and nobody's key.
fn broker_key() -> BrokerKey {
    format!("U{}", "A".repeat(55)).parse().unwrap()
}

pub fn lanes() -> Vec<(&'static str, Envelope<LaneEvent>)> {
    let script = || "send-notification".parse().unwrap();
    let events = samples! {
        "tags": LaneEvent::Tags { .. } => LaneEvent::Tags { tags: lane_tags() },
        "sync": LaneEvent::Sync { .. } => LaneEvent::Sync {
            script: script(),
            version: 1,
            digest: bundle(1),
            size: 912,
            catalog_sequence: 2,
        },
        "remove": LaneEvent::Remove { .. } => LaneEvent::Remove {
            script: script(),
            catalog_sequence: 6,
        },
        "retired": LaneEvent::Retired => LaneEvent::Retired,
    };
    enveloped(20, &Actor::policy("distribution"), events)
}

fn script() -> ScriptDocument {
    let document = json!({
        "name": "send-notification",
        "description": "Send a notification to a specified channel",
        "script_file": "send-notification.py",
        "parameters_schema": parameters_schema(),
        "demands": { "tags": ["uv"] },
    });
    ScriptDocument::from_value(document).unwrap()
}

/// The same script with everything that a document can say.
fn fuller_script() -> ScriptDocument {
    ScriptDocument {
        output_schema: Some(json!({
            "type": "object",
            "required": ["sent"],
            "properties": { "sent": { "type": "boolean" } },
        })),
        timeout_seconds: Some(schemas::Timeout::from_const(120)),
        idempotent: true,
        max_attempts: Some(5.try_into().unwrap()),
        demands: Demands {
            hostname: Some("web1.example.com".to_owned()),
            ..script().demands
        },
        ..script()
    }
}

fn parameters_schema() -> Value {
    json!({
        "type": "object",
        "required": ["message", "channel"],
        "properties": {
            "message": { "type": "string", "minLength": 1 },
            "channel": { "type": "string", "enum": ["slack", "email", "sms"] },
            "priority": { "type": "string", "default": "normal" },
        },
        "additionalProperties": false,
    })
}

fn script_version(version: u32, document: ScriptDocument) -> ScriptVersion {
    let file = |path: &str, size| FileEntry {
        path: path.parse().unwrap(),
        size,
        executable: false,
        digest: Some(Digest::of(path.as_bytes())),
    };
    ScriptVersion {
        version,
        digest: bundle(version),
        size: 912,
        files: vec![file("script.json", 512), file("send-notification.py", 604)],
        document,
        rollback_of: None,
    }
}

fn agent() -> AgentDocument {
    let document = json!({
        "name": "notifier",
        "type": "procedural",
        "description": "Send notifications to various channels",
        "script": "send-notification",
        "demands": { "tags": ["messaging-team"] },
    });
    AgentDocument::from_value(document).unwrap()
}

/// As if it were a runner's, which no agent with a script is.
fn owner() -> RunnerOwner {
    RunnerOwner {
        runner_id: super::runner(),
        command: super::backup().command,
        digest: super::backup().digest(),
        registered_sequence: 7,
    }
}

/// The same agent with everything that a procedural agent's document can say.
fn fuller_agent() -> AgentDocument {
    let document = json!({
        "name": "notifier",
        "type": "procedural",
        "description": "Send notifications to various channels",
        "script": "send-notification",
        "tags": ["messages"],
        "demands": { "executor_profile": "script", "tags": ["messaging-team"] },
        "hooks": {
            "on_run_start": { "type": "agent", "agent_name": "deploy", "on_error": "block" },
            "on_run_finish": { "type": "agent", "agent_name": "deploy", "timeout_seconds": 30 },
        },
        "status": "inactive",
        "timeout_seconds": 60,
    });
    AgentDocument::from_value(document).unwrap()
}

/// A capability with what is said about it here.
fn capability(more: &Value) -> CapabilityDocument {
    let mut document = json!({ "name": "notifying", "description": "Tell people what happened" });
    let fields = document.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    CapabilityDocument::from_value(document).unwrap()
}
