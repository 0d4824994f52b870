//! `GET /status`: how the coordinator itself is doing. Answers also when the broker is away, for that
//! is when somebody asks.

use super::error::ApiError;
use super::state::Api;
use crate::app::{Status, StreamStatus};
use axum::Json;
use axum::extract::State;
use events::log::jetstream::{Durability, StreamFacts};
use events::run::RunStatus;
use events::subject::Stream;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub struct StatusView {
    version: &'static str,
    uptime_seconds: u64,
    broker: BrokerView,
    projection: ProjectionView,
    streams: Vec<StreamView>,
    counts: CountsView,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Broker")]
struct BrokerView {
    /// `embedded` or `external`.
    mode: &'static str,
    url: String,
    server_version: String,
    connected: bool,
    /// What an acknowledged change survives: `process_crash` or `node_loss`.
    durability: &'static str,
}

#[derive(Serialize, JsonSchema)]
struct ProjectionView {
    catalog_seq: u64,
    runs_seq: u64,
    /// Events that are stored and not yet applied; not known while the broker does not answer.
    lag: Option<u64>,
    quarantined: u64,
    chain_breaks: u64,
    chain_first_break: Option<u64>,
}

/// A stream with its limits; one without a limit has none.
#[derive(Serialize, JsonSchema)]
struct StreamView {
    name: String,
    messages: u64,
    bytes: u64,
    max_bytes: Option<u64>,
    kept_seconds: Option<u64>,
    oldest_at: Option<String>,
    replicas: usize,
}

#[derive(Serialize, JsonSchema)]
struct CountsView {
    scripts: usize,
    agents: usize,
    runs_live: u64,
    runners_online: usize,
}

pub async fn status(State(api): State<Api>) -> Result<Json<StatusView>, ApiError> {
    let status = api.app.status().await?;
    let broker = &api.broker;
    let durability = match broker.durability {
        Durability::ProcessCrash => "process_crash",
        Durability::NodeLoss => "node_loss",
    };
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: api.started.elapsed().as_secs(),
        broker: BrokerView {
            mode: broker.mode.as_str(),
            url: broker.url.clone(),
            server_version: (broker.server_version)(),
            connected: status.broker.connected,
            durability,
        },
        projection: ProjectionView {
            catalog_seq: applied(&status, Stream::Catalog),
            runs_seq: applied(&status, Stream::Runs),
            lag: lag(&status.streams),
            quarantined: status.quarantined,
            chain_breaks: status.breaks.count,
            chain_first_break: status.breaks.first,
        },
        streams: status.stored.iter().map(stored).collect(),
        counts: CountsView {
            scripts: status.scripts,
            agents: status.agents,
            runs_live: live(&status),
            runners_online: status.runners_online,
        },
    }))
}

fn stored(stream: &StreamFacts) -> StreamView {
    StreamView {
        name: stream.name.clone(),
        messages: stream.messages,
        bytes: stream.bytes,
        max_bytes: stream.max_bytes,
        kept_seconds: stream.max_age.map(|age| age.as_secs()),
        oldest_at: stream.first_at.map(|at| at.to_string()),
        replicas: stream.replicas,
    }
}

fn applied(status: &Status, stream: Stream) -> u64 {
    let streams = status.streams.iter();
    streams
        .filter(|known| known.stream == stream)
        .map(|known| known.applied)
        .sum()
}

fn lag(streams: &[StreamStatus]) -> Option<u64> {
    let behind = |known: &StreamStatus| Some(known.last?.saturating_sub(known.applied));
    streams.iter().map(behind).sum()
}

fn live(status: &Status) -> u64 {
    let live = RunStatus::ALL
        .into_iter()
        .filter(|status| !status.is_final());
    live.map(|one| status.runs_in(one)).sum()
}
