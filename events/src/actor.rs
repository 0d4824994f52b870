//! Who did it, and through what. Every envelope carries one, so that an audit needs no second
//! source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The author of an event: a name, and the door it came through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// A token's name, a runner's id, or the name of the part of the system that acted by itself.
    pub name: String,
    pub via: Via,
}

/// The door an actor came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// An HTTP request that did not say which client made it.
    Http,
    Cli,
    Dashboard,
    Mcp,
    /// A runner, reporting on its own work.
    Runner,
    /// A hook of a run that the named one asked for.
    Hook,
    /// A reactor of a coordinator, following a policy.
    Policy,
}

impl Actor {
    pub fn new(name: impl Into<String>, via: Via) -> Self {
        Self {
            name: name.into(),
            via,
        }
    }

    /// A runner that reports on its own work.
    pub fn runner(id: &crate::RunnerId) -> Self {
        Self::new(id.as_str(), Via::Runner)
    }

    /// The coordinator's own reactors.
    pub fn policy(name: &str) -> Self {
        Self::new(name, Via::Policy)
    }
}
