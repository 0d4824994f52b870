//! Joining: asks the coordinator once where the broker is and what opens it, and remembers the
//! answer, so that later starts need no coordinator.

use crate::config::Settings;
use events::log::jetstream::Access;
use events::{Cadence, RunnerId, subject};
use schemas::Name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the coordinator may take to answer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries of a runner that has never joined.
const JOIN_PAUSE: Duration = Duration::from_secs(2);

/// The coordinator's answer, as it is also kept in the state folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub runner_id: RunnerId,
    pub broker: BrokerAccess,
    /// How long a delivery stays with a runner without a sign of life, in seconds.
    pub lease_seconds: u64,
}

/// Where the broker is, and the key that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerAccess {
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nkey_seed: Option<String>,
}

/// Why a runner could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(
        "the coordinator at {url} cannot be reached; start it with `coordinator serve`, or give its address with --coordinator"
    )]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error(
        "the coordinator at {url} does not accept the token; give one with --token, COORDINATOR_TOKEN, or on its own host with --data-dir"
    )]
    NotAllowed { url: String },
    #[error("the coordinator at {url} refuses this runner: {reason}")]
    Refused { url: String, reason: String },
    #[error("the runner's state in {path:?} cannot be read or written")]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The membership to work with: a fresh one where the coordinator answers, else the kept one; a
/// runner that never joined waits for the coordinator.
pub async fn membership(settings: &Settings) -> Result<Membership, JoinError> {
    loop {
        let refusal = match ask(settings).await {
            Ok(membership) => {
                keep(&settings.state_dir, &membership)?;
                return Ok(membership);
            }
            Err(error @ JoinError::Unreachable { .. }) => error,
            Err(error) => return Err(error),
        };
        if let Some(kept) = kept(&settings.state_dir)? {
            tracing::warn!("the coordinator does not answer; going on with the kept credentials");
            return Ok(kept);
        }
        tracing::warn!(error = %refusal, "not joined yet; trying again");
        tokio::time::sleep(JOIN_PAUSE).await;
    }
}

impl Membership {
    /// What a coordinator of another version may call a lease, and we do not, is not followed.
    pub fn cadence(&self) -> Cadence {
        Cadence::of_seconds(self.lease_seconds).unwrap_or_default()
    }

    pub fn access(&self) -> Access {
        Access {
            url: self.broker.urls.join(","),
            nkey_seed: self.broker.nkey_seed.clone(),
            name: format!("runner {}", self.runner_id),
            inbox_prefix: subject::inbox_prefix(self.runner_id.as_str()),
            owns_streams: false,
        }
    }
}

/// Which of our own agents cannot have their names, a sentence for people each.
///
/// # Errors
/// When the coordinator does not say.
pub async fn refused_agents<'a>(
    settings: &Settings,
    agents: impl Iterator<Item = &'a Name>,
) -> Result<Vec<String>, JoinError> {
    let answer: Refused = answer(settings, &agents.collect::<Vec<_>>()).await?;
    Ok(answer.refused_agents)
}

/// As much of the coordinator's answer.
#[derive(Deserialize)]
struct Refused {
    /// A coordinator of an older version knows of none.
    #[serde(default)]
    refused_agents: Vec<String>,
}

async fn ask(settings: &Settings) -> Result<Membership, JoinError> {
    answer(settings, &[]).await
}

async fn answer<T: DeserializeOwned>(
    settings: &Settings,
    agents: &[&Name],
) -> Result<T, JoinError> {
    let url = &settings.coordinator;
    let unreachable = |source| JoinError::Unreachable {
        url: url.clone(),
        source,
    };
    let client = reqwest::Client::builder()
        .timeout(JOIN_TIMEOUT)
        .user_agent(concat!("coordinator-runner/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(unreachable)?;
    let body = serde_json::json!({
        "runner_id": settings.runner_id,
        "hostname": settings.hostname,
        "project_dir": settings.project_dir,
        "executor_profile": settings.profile,
        "executor_type": settings.executor_type.as_str(),
        "agents": agents,
    });
    let mut request = client.post(format!("{url}/runner/join")).json(&body);
    if let Some(token) = token(settings) {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(unreachable)?;
    match answer.status().as_u16() {
        200 | 201 => answer.json().await.map_err(unreachable),
        401 | 403 => Err(JoinError::NotAllowed { url: url.clone() }),
        // The coordinator is up and its broker is not: the same as not reachable yet.
        502..=504 => Err(unreachable(
            answer.error_for_status().expect_err("5xx is an error"),
        )),
        status => Err(JoinError::Refused {
            url: url.clone(),
            reason: format!("{status} {}", answer.text().await.unwrap_or_default()),
        }),
    }
}

/// The given token, else the one that the coordinator on this host keeps for its owner.
fn token(settings: &Settings) -> Option<String> {
    let given = settings.token.clone();
    given.or_else(|| {
        let file = fs::read_to_string(&settings.token_file).ok()?;
        Some(file.trim().to_owned())
    })
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("membership.json")
}

fn kept(state_dir: &Path) -> Result<Option<Membership>, JoinError> {
    let path = file(state_dir);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JoinError::State { path, source }),
    }
}

fn keep(state_dir: &Path, membership: &Membership) -> Result<(), JoinError> {
    let path = file(state_dir);
    let written = private_folder(state_dir).and_then(|()| {
        let text = serde_json::to_vec_pretty(membership)?;
        write_private(&path, &text)
    });
    written.map_err(|source| JoinError::State { path, source })
}

/// Makes a folder only its owner can enter.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Replaces a file as a whole, readable by its owner only, and on the disk when this returns.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
