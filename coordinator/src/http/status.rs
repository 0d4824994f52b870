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
use serde_json::{Value, json};

pub async fn status(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let status = api.app.status().await?;
    let broker = &api.broker;
    let durability = match broker.durability {
        Durability::ProcessCrash => "process_crash",
        Durability::NodeLoss => "node_loss",
    };
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
        "broker": {
            "mode": broker.mode.as_str(),
            "url": broker.url,
            "server_version": (broker.server_version)(),
            "connected": status.broker.connected,
            "durability": durability,
        },
        "projection": {
            "catalog_seq": applied(&status, Stream::Catalog),
            "runs_seq": applied(&status, Stream::Runs),
            "lag": lag(&status.streams),
            "quarantined": status.quarantined,
            "chain_breaks": status.breaks.count,
            "chain_first_break": status.breaks.first,
        },
        "streams": status.stored.iter().map(stored).collect::<Vec<_>>(),
        "counts": {
            "scripts": status.scripts,
            "agents": status.agents,
            "runs_live": live(&status),
            "runners_online": status.runners_online,
        },
    })))
}

/// A stream with its limits; one without a limit has none.
fn stored(stream: &StreamFacts) -> Value {
    json!({
        "name": stream.name,
        "messages": stream.messages,
        "bytes": stream.bytes,
        "max_bytes": stream.max_bytes,
        "kept_seconds": stream.max_age.map(|age| age.as_secs()),
        "oldest_at": stream.first_at.map(|at| at.to_string()),
        "replicas": stream.replicas,
    })
}

fn applied(status: &Status, stream: Stream) -> u64 {
    let streams = status.streams.iter();
    streams
        .filter(|known| known.stream == stream)
        .map(|known| known.applied)
        .sum()
}

/// Events that are stored and not yet applied; not known while the broker does not answer.
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
