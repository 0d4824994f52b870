//! `RUNNERS`: what runners say of themselves, and the presence they send beside it.

use crate::{Cadence, LaneTags, RunId, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::AgentKind;
use schemas::CommandAgent;
use schemas::Digest;
use schemas::{Name, Tag};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that happened to a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunnerEvent {
    /// At start, and again every day, so that retention never drops a living runner.
    Registered(Registration),
    /// What its folder holds now, as far as that differs from what it said before.
    Synced {
        /// Nothing said before counts any more: this begins a new account, as after each
        /// registration.
        whole: bool,
        scripts: BTreeMap<Name, Holding>,
        /// Not wanted here any more, and gone.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        gone: BTreeSet<Name>,
    },
    /// It stopped in order.
    Left,
}

/// How one script that is wanted on a host stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// In place and whole; an older version than the wanted one while that cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Why the wanted version is not in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SyncError>,
}

/// A version in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    pub digest: Digest,
    /// Absent where the runner does not know which version that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The host's clock.
    pub since: Timestamp,
}

/// What keeps a script from being in place; the runner goes on trying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncError {
    /// One line of at most [`SYNC_ERROR_MAX_CHARS`].
    pub message: String,
    /// When it went wrong like this first, by the host's clock.
    pub since: Timestamp,
}

/// A line that a table can show; more stands in the runner's log.
pub const SYNC_ERROR_MAX_CHARS: usize = 300;

/// What a coordinator says to a runner, in a subject of its own; the last one holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunnerOrder {
    /// It takes no new runs, and finishes those it has.
    Drained {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It takes runs again.
    Resumed,
    /// Nobody expects it any more: it goes from all lists until it registers again, undrained.
    Forgotten,
}

impl RunnerOrder {
    pub fn is_drained(&self) -> bool {
        matches!(self, Self::Drained { .. })
    }
}

/// Who a runner is and what it offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    pub hostname: String,
    pub project_dir: String,
    pub executor_profile: String,
    pub executor_type: AgentKind,
    /// All it offers: its own, the detected interpreters and the implicit ones.
    pub tags: BTreeSet<Tag>,
    /// Where not empty, only lanes that demand at least one of these are for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub one_of: BTreeSet<Tag>,
    /// How many runs it executes at once; 0 where it holds scripts only.
    pub max_runs: u32,
    /// The version of the runner's program.
    pub version: String,
    /// Absent in what runners said before they had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// All agents of its own: what was announced before and is missing here is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<CommandAgent>,
    /// Why others in its folder are not among them: a sentence for people each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_faults: Vec<String>,
    /// Of a runner that does not reach the broker. Coordinators say in its name whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_http: Option<Box<OverHttp>>,
}

/// What is known of a runner that long-polls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverHttp {
    /// Its executor in its own words: `type`, `command` and what else it has.
    pub executor: Map<String, Value>,
    /// The token it registered with: only with the same one, or an admin's, it is heard.
    pub token: String,
    /// Without a request for so long it counts as gone.
    pub silence_seconds: u32,
}

impl OverHttp {
    pub fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_seconds.into())
    }
}

impl Registration {
    /// Whether this runner holds the scripts of the lane.
    pub fn serves(&self, lane: &LaneTags) -> bool {
        lane.is_served_by(&self.tags, &self.one_of)
    }

    /// Whether it also takes the lane's runs, as long as it is there and not drained.
    pub fn executes(&self, lane: &LaneTags) -> bool {
        !self.holds_scripts_only() && self.serves(lane)
    }

    /// It keeps scripts in place for an executor beside it, and takes no runs.
    pub fn holds_scripts_only(&self) -> bool {
        self.max_runs == 0
    }
}

/// What keeps a runner's scripts from the rest of its host, as it was tried out at the runner's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Sandbox {
    /// Landlock, with the version of its interface in the kernel. `partial`: the kernel is too old for
    /// some of what was asked for.
    Landlock { abi: u32, partial: bool },
    /// Nothing: the kernel knows Landlock, and was started without it.
    NotEnabled,
    /// Nothing: the kernel has no Landlock.
    NotSupported,
    /// Nothing: whoever started the runner wanted none.
    Off,
}

/// A heartbeat: a plain message, never stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    pub runner_id: RunnerId,
    /// The runner's clock.
    pub at: Timestamp,
    /// What it holds at this moment, claimed or running.
    pub runs: BTreeSet<RunId>,
    pub max_runs: u32,
    /// It takes no new runs.
    pub draining: bool,
    /// How long it may be silent before it counts as gone, where that is not the cadence's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_seconds: Option<u32>,
}

impl Presence {
    /// Who was heard within this time is there.
    pub fn online_within(&self, cadence: Cadence) -> Duration {
        let own = self.silence_seconds;
        own.map_or(cadence.online_within(), |seconds| {
            Duration::from_secs(seconds.into())
        })
    }
}
