//! Access tokens as events tell of them: whose, for what, until when. The token itself is in no
//! event, only what it hashes to.

use crate::Timestamp;
use schemars::JsonSchema;
use schemas::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the holder of a token may do. The first four each include those before them; the others
/// open one thing each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at everything but tokens.
    Viewer,
    /// Runs agents, stops runs, drains runners.
    Operator,
    /// Changes scripts, agents and capabilities, and says where they go.
    Author,
    /// Gives out tokens and takes them back, and runners' access with them.
    Admin,
    /// Lets one runner join, once.
    Runner,
    /// Lists agents, starts their runs and reads the results, for an AI agent's tools.
    Mcp,
}

impl Role {
    pub const ALL: [Self; 6] = [
        Self::Viewer,
        Self::Operator,
        Self::Author,
        Self::Admin,
        Self::Runner,
        Self::Mcp,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Admin => "admin",
            Self::Runner => "runner",
            Self::Mcp => "mcp",
        }
    }

    /// Whether its holder may do all that `other`'s may, as far as the two can be compared.
    pub fn includes(self, other: Self) -> bool {
        match (self.rank(), other.rank()) {
            (Some(own), Some(other)) => own >= other,
            _ => self == other,
        }
    }

    fn rank(self) -> Option<u8> {
        match self {
            Self::Viewer => Some(0),
            Self::Operator => Some(1),
            Self::Author => Some(2),
            Self::Admin => Some(3),
            Self::Runner | Self::Mcp => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token that was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Stands as the actor in the events that its holder causes.
    pub name: Name,
    pub role: Role,
    /// Of the token's text. Its 256 random bits need no slow hash.
    pub hash: Digest,
    /// Without one it is good until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A token as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    pub token: Token,
    pub created_at: Timestamp,
    /// Only of the role runner: it is good once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Use>,
}

/// What became of a token that is good once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The runner's id.
    pub runner: Name,
    pub at: Timestamp,
}

impl Issued {
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.token.expires_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_includes_those_below_it_and_no_other_kind() {
        assert!(Role::Admin.includes(Role::Viewer));
        assert!(Role::Operator.includes(Role::Operator));
        assert!(!Role::Operator.includes(Role::Author));
        for other in [Role::Runner, Role::Mcp] {
            assert!(other.includes(other));
            assert!(!Role::Admin.includes(other) && !other.includes(Role::Viewer));
        }
    }

    #[test]
    fn the_wire_says_a_role_like_people_do() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
