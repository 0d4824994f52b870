//! Joining: shows the coordinator a token, or the key that was let in before, asks where the broker
//! is, and remembers the answer, so that later starts need no coordinator.

use crate::config::Settings;
use crate::key::Key;
use crate::private::{private_folder, write_private};
use events::log::jetstream::Access;
use events::{Cadence, RunnerId, subject};
use schemas::Name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
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
    #[error("the coordinator at {url} cannot be verified")]
    Trust {
        url: String,
        #[source]
        source: startup::trust::TrustError,
    },
    #[error(
        "the coordinator at {url} does not accept the token or the key of this runner: {reason}. Give a token with --token, COORDINATOR_TOKEN, or on the coordinator's own host with --data-dir; an admin makes one for one runner with `coordinator token create --role runner`"
    )]
    NotAllowed { url: String, reason: String },
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
        let refusal = match join(settings).await {
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

/// Whether the coordinator still knows our key. Nothing but a clear no is one.
///
/// # Errors
/// When it does not.
pub async fn still_a_member(settings: &Settings) -> Result<(), JoinError> {
    let Some(key) = Key::kept(&settings.state_dir).map_err(state(settings))? else {
        return Ok(());
    };
    let asked = ask::<Membership>(settings, &key, Showing::Key, &[]).await;
    match asked {
        Err(error @ JoinError::NotAllowed { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// By the key that let us in before, else by the token. A key that lets nobody in any more is not
/// shown again: it may be known to others.
async fn join(settings: &Settings) -> Result<Membership, JoinError> {
    let state_dir = &settings.state_dir;
    let mut key = Key::load_or_create(state_dir).map_err(state(settings))?;
    let mut by_key = None;
    if kept(state_dir)?.is_some() {
        match ask(settings, &key, Showing::Key, &[]).await {
            Err(JoinError::NotAllowed { reason, .. }) => by_key = Some(reason),
            answered => return answered.map(|membership| opened_by(membership, &key)),
        }
        key = Key::fresh(state_dir).map_err(state(settings))?;
    }
    let showing = match token(settings) {
        Some(token) => Showing::Token(token),
        None => Showing::Nothing,
    };
    let nothing_shown = matches!(showing, Showing::Nothing);
    match (ask(settings, &key, showing, &[]).await, by_key) {
        // What was said of the key says more than that a token is missing.
        (Err(JoinError::NotAllowed { url, .. }), Some(reason)) if nothing_shown => {
            Err(JoinError::NotAllowed { url, reason })
        }
        (answered, _) => answered.map(|membership| opened_by(membership, &key)),
    }
}

/// A coordinator that gives no key to all runners means our own.
fn opened_by(membership: Membership, key: &Key) -> Membership {
    let broker = membership.broker;
    let shared = broker.nkey_seed;
    Membership {
        broker: BrokerAccess {
            nkey_seed: Some(shared.unwrap_or_else(|| key.seed().to_owned())),
            ..broker
        },
        ..membership
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
    let key = Key::load_or_create(&settings.state_dir).map_err(state(settings))?;
    let names = agents.collect::<Vec<_>>();
    let answer: Refused = ask(settings, &key, Showing::Key, &names).await?;
    Ok(answer.refused_agents)
}

/// As much of the coordinator's answer.
#[derive(Deserialize)]
struct Refused {
    /// A coordinator of an older version knows of none.
    #[serde(default)]
    refused_agents: Vec<String>,
}

/// What we show the coordinator.
enum Showing {
    /// That we hold our key, which it knows.
    Key,
    Token(String),
    /// It may ask for none.
    Nothing,
}

async fn ask<T: DeserializeOwned>(
    settings: &Settings,
    key: &Key,
    showing: Showing,
    agents: &[&Name],
) -> Result<T, JoinError> {
    let url = &settings.coordinator;
    let unreachable = |source| JoinError::Unreachable {
        url: url.clone(),
        source,
    };
    let trusted = url.parse().map_err(|_| JoinError::Refused {
        url: url.clone(),
        reason: "this is no address".to_owned(),
    });
    let client = startup::trust::client(&trusted?, settings.ca.as_deref())
        .map_err(|source| JoinError::Trust {
            url: url.clone(),
            source,
        })?
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
        "public_key": key.public(),
        "agents": agents,
    });
    let request = client.post(format!("{url}/runner/join")).json(&body);
    let request = match showing {
        Showing::Token(token) => request.bearer_auth(token),
        Showing::Key => {
            let proof = key.proof(&settings.runner_id).map_err(state(settings))?;
            request.header(reqwest::header::AUTHORIZATION, format!("Nkey {proof}"))
        }
        Showing::Nothing => request,
    };
    let answer = request.send().await.map_err(unreachable)?;
    match answer.status().as_u16() {
        200 | 201 => answer.json().await.map_err(unreachable),
        401 | 403 => Err(JoinError::NotAllowed {
            url: url.clone(),
            reason: said(answer).await,
        }),
        // The coordinator is up and its broker is not, or many knock at once: as good as away.
        429 | 502..=504 => Err(unreachable(
            answer
                .error_for_status()
                .expect_err("4xx and 5xx are errors"),
        )),
        status => Err(JoinError::Refused {
            url: url.clone(),
            reason: format!("{status} {}", said(answer).await),
        }),
    }
}

/// The sentence in an answer that is an error.
async fn said(answer: reqwest::Response) -> String {
    let text = answer.text().await.unwrap_or_default();
    let body: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let detail = body.as_ref().and_then(|body| body["detail"].as_str());
    detail.map_or_else(|| text.clone(), str::to_owned)
}

fn state(settings: &Settings) -> impl Fn(std::io::Error) -> JoinError {
    let path = settings.state_dir.clone();
    move |source| JoinError::State {
        path: path.clone(),
        source,
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
