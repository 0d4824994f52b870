//! `POST /runner/join`: a runner says who it is and which key it has made, and is told where the
//! broker is, which from then on knows the key. The two sides meet on the broker only.

use super::body::JsonBody;
use super::error::ApiError;
use super::params::{Caller, Shown};
use super::state::Api;
use crate::access::is_key;
use crate::app::{Applicant, Ticket};
use axum::Json;
use axum::extract::State;
use events::subject;
use events::{BrokerKey, RunnerId};
use schemars::JsonSchema;
use schemas::{AgentKind, Name};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Of the hash, in hex digits: 64 bits tell any number of runners apart.
const HASH_DIGITS: usize = 16;
/// What a host, a directory or a profile may be called.
const TEXT_MAX_BYTES: usize = 4096;

#[derive(Deserialize, JsonSchema)]
pub struct JoinBody {
    hostname: String,
    project_dir: String,
    executor_profile: String,
    #[serde(rename = "executor_type")]
    _executor_type: AgentKind,
    /// An identity the runner has already.
    runner_id: Option<RunnerId>,
    /// The public half of the key that the runner has made. Runners of older versions have none.
    public_key: Option<BrokerKey>,
    /// The names of the agents that it means to announce.
    #[serde(default)]
    agents: Vec<Name>,
}

/// How to reach the broker, and how to behave there.
#[derive(Serialize, JsonSchema)]
pub struct JoinedView {
    runner_id: RunnerId,
    broker: BrokerView,
    heartbeat_interval_seconds: u64,
    lease_seconds: u64,
    /// Why some of the agents it means to announce cannot be.
    refused_agents: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BrokerAddress")]
struct BrokerView {
    urls: Vec<String>,
    /// Where all runners share one.
    nkey_seed: Option<String>,
}

pub async fn join(
    State(api): State<Api>,
    Caller(actor): Caller,
    Shown(ticket): Shown,
    JsonBody(body): JsonBody<JoinBody>,
) -> Result<Json<JoinedView>, ApiError> {
    let parts = [&body.hostname, &body.project_dir, &body.executor_profile];
    if parts
        .iter()
        .any(|part| part.is_empty() || part.len() > TEXT_MAX_BYTES)
    {
        return Err(ApiError::bad_request(
            "invalid_runner",
            "hostname, project_dir and executor_profile must say something, in at most 4096 bytes",
        ));
    }
    let runner_id = match body.runner_id {
        Some(id) if subject::is_reserved(&id) => {
            let detail = format!("A runner cannot be called {id}; choose another --runner-id");
            return Err(ApiError::bad_request("invalid_runner", detail));
        }
        Some(id) => id,
        None => derived(parts.map(String::as_str)).ok_or_else(ApiError::internal)?,
    };
    if let Some(taken) = taken(&api, &runner_id, parts.map(String::as_str)) {
        return Err(taken);
    }
    match key(&api, body.public_key)? {
        Some(key) => {
            let runner_id = runner_id.clone();
            let who = Applicant {
                runner_id,
                key,
                ticket,
            };
            api.app.join_runner(&actor, who).await?;
            api.broker.knows(api.app.catalog_sequence()).await;
        }
        None if ticket != Ticket::Admin => return Err(too_old()),
        None => {}
    }
    let (broker, cadence) = (&api.broker, api.app.cadence());
    let refused = api.app.refused_agents(&runner_id, &body.agents);
    Ok(Json(JoinedView {
        runner_id,
        broker: BrokerView {
            urls: broker.runner_urls.clone(),
            nkey_seed: broker.runner_seed.clone(),
        },
        heartbeat_interval_seconds: cadence.heartbeat().as_secs(),
        lease_seconds: cadence.lease().as_secs(),
        refused_agents: refused,
    }))
}

/// The runner's key; none where all runners share one, and this one brings none of its own.
fn key(api: &Api, given: Option<BrokerKey>) -> Result<Option<BrokerKey>, ApiError> {
    match given {
        Some(key) if !is_key(&key) => {
            let detail = "public_key is not the public key of a NATS user: its checksum is wrong";
            Err(ApiError::bad_request("invalid_key", detail))
        }
        None if api.broker.runner_seed.is_none() => Err(too_old()),
        given => Ok(given),
    }
}

fn too_old() -> ApiError {
    let detail = "This runner brings no key of its own, as runners of older versions do; each runner now has a user of its own on the broker";
    ApiError::bad_request("runner_too_old", detail).hint(concat!(
        "start it again with the runner program of version ",
        env!("CARGO_PKG_VERSION")
    ))
}

/// That another runner has this id and is alive: each would take the other's runs for lost. One that
/// comes back to its own place after a `kill -9` is not another.
fn taken(api: &Api, id: &RunnerId, place: [&str; 3]) -> Option<ApiError> {
    let known = api.app.runner(id).ok()?;
    let there = &known.registration;
    let its_place = [&there.hostname, &there.project_dir, &there.executor_profile];
    (known.online && its_place != place).then(|| {
        let detail = format!(
            "Runner {id} is at work on {} in {} (profile {}), and two with one id would take each \
             other's runs for lost; choose another --runner-id, or stop that one first (after a \
             kill -9 it counts as gone in {} s)",
            there.hostname,
            there.project_dir,
            there.executor_profile,
            api.app.cadence().online_within().as_secs(),
        );
        ApiError::conflict("runner_id_taken", detail)
    })
}

/// The same for the same host, directory and profile, whenever it asks.
fn derived(parts: [&str; 3]) -> Option<RunnerId> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        // No path or name holds it, so no two triples give the same text.
        hash.update(b"\0");
    }
    let hex = hex::encode(hash.finalize());
    format!("rnr-{}", &hex[..HASH_DIGITS]).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_stable_and_its_own() {
        let id = derived(["web1", "/srv/project", "default"]).unwrap();
        assert_eq!(id.as_str(), "rnr-ef364aa56bdc12bc");
        assert_ne!(derived(["web1", "/srv/projec", "tdefault"]).unwrap(), id);
    }
}
