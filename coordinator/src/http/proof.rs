//! `/audit/verify` and `/audit/checkpoint`: whether the log is what was written, and its head to be kept
//! elsewhere. A verification reads the whole log, so whoever accepts events is told `progress` before
//! the `result`; otherwise the result is the answer.

use super::error::ApiError;
use super::logs::{KEEP_ALIVE, wants_events};
use super::params::QueryOf;
use super::state::Api;
use crate::app::{
    App, AppError, Checkpoint, Comparison, Difference, Finding, InvalidCheckpoint, Progress, Proof,
};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use events::Timestamp;
use events::subject::Stream;
use futures::stream::{self, StreamExt as _};
use schemars::JsonSchema;
use schemas::Digest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// News that wait for a slow client; what is told in between is left out.
const TOLD_AHEAD: usize = 4;
/// Between two words on how far it has come.
const TELL_EVERY: Duration = Duration::from_millis(200);

#[derive(Deserialize, JsonSchema)]
pub struct VerifyQuery {
    /// A line that `/audit/checkpoint` gave, or its JSON.
    checkpoint: Option<String>,
    /// Also builds every projection anew and compares.
    #[serde(default)]
    rebuild: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct CheckpointView {
    stream: &'static str,
    sequence: u64,
    /// Of the message's bytes.
    hash: Digest,
    at: Timestamp,
    /// All of it in one line.
    line: String,
}

#[derive(Serialize, JsonSchema)]
pub struct ProofView {
    /// Nothing was found.
    ok: bool,
    stream: &'static str,
    /// Messages that were read.
    events: u64,
    head: Option<CheckpointView>,
    /// How many messages do not continue the chain.
    breaks: u64,
    /// The first break, and what does not fit the checkpoint or what this coordinator has applied.
    findings: Vec<Finding>,
    /// That was asked about.
    checkpoint: Option<CheckpointView>,
    rebuild: Option<RebuildView>,
}

#[derive(Serialize, JsonSchema)]
struct RebuildView {
    ok: bool,
    rows: u64,
    /// Up to which sequence of which stream.
    up_to: serde_json::Map<String, serde_json::Value>,
    differences: Vec<DifferenceView>,
    /// Differences that are not listed.
    more: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RowDifference")]
struct DifferenceView {
    key: String,
    /// From where the two differ; `null` where there is no such row.
    live: Option<String>,
    rebuilt: Option<String>,
}

pub async fn checkpoint(State(api): State<Api>) -> Result<Response, ApiError> {
    match api.app.checkpoint().await? {
        Some(checkpoint) => Ok(Json(CheckpointView::from(checkpoint)).into_response()),
        None => Err(ApiError::not_found(
            "empty_log",
            "Nothing has happened yet: there is no event to take a checkpoint of",
        )
        .hint("coordinator apply -f DIR")),
    }
}

pub async fn verify(
    State(api): State<Api>,
    QueryOf(query): QueryOf<VerifyQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let checkpoint = query.checkpoint.as_deref().map(str::parse).transpose();
    let checkpoint: Option<Checkpoint> = checkpoint.map_err(|error: InvalidCheckpoint| {
        ApiError::bad_request("invalid_checkpoint", error.to_string())
    })?;
    if !wants_events(&headers) {
        let proof = api.app.prove(checkpoint.as_ref(), query.rebuild, |_| ());
        let view = ProofView::of(proof.await?, checkpoint);
        return Ok(Json(view).into_response());
    }
    let (sender, told) = mpsc::channel(TOLD_AHEAD);
    // Who leaves ends the work with it.
    let mut work = tokio::task::JoinSet::new();
    work.spawn(told_along(api.app, checkpoint, query.rebuild, sender));
    let events = stream::unfold((told, work), |(mut told, work)| async {
        let event = told.recv().await?;
        Some((Ok::<_, Infallible>(event), (told, work)))
    });
    let events = events.take_until(api.closing.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

async fn told_along(
    app: App,
    checkpoint: Option<Checkpoint>,
    rebuild: bool,
    sender: mpsc::Sender<Event>,
) {
    let progress = sender.clone();
    let last = Arc::new(std::sync::Mutex::new(None::<Instant>));
    let tell = move |news: Progress| {
        let mut last = last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            *last = Some(Instant::now());
            let data = json!({"stream": news.stream.name(), "done": news.done, "of": news.of});
            // A client that is slower hears of a later one.
            let _ = progress.try_send(Event::default().event("progress").data(data.to_string()));
        }
    };
    let event = match app.prove(checkpoint.as_ref(), rebuild, tell).await {
        Ok(proof) => {
            let data = json!(ProofView::of(proof, checkpoint));
            Event::default().event("result").data(data.to_string())
        }
        Err(error) => failed(error),
    };
    // Nobody listens any more.
    let _ = sender.send(event).await;
}

fn failed(error: AppError) -> Event {
    let body = ApiError::from(error).to_body("");
    Event::default().event("error").data(body.to_string())
}

impl ProofView {
    fn of(proof: Proof, checkpoint: Option<Checkpoint>) -> Self {
        let Proof { verified, rebuilt } = proof;
        let rebuild = rebuilt.map(RebuildView::from);
        Self {
            ok: verified.findings.is_empty() && rebuild.as_ref().is_none_or(|rebuild| rebuild.ok),
            stream: Stream::Catalog.name(),
            events: verified.events,
            head: verified.head.map(CheckpointView::from),
            breaks: verified.breaks,
            findings: verified.findings,
            checkpoint: checkpoint.map(CheckpointView::from),
            rebuild,
        }
    }
}

impl From<Checkpoint> for CheckpointView {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            stream: Stream::Catalog.name(),
            line: checkpoint.to_string(),
            sequence: checkpoint.sequence,
            hash: checkpoint.hash,
            at: checkpoint.at,
        }
    }
}

impl From<Comparison> for RebuildView {
    fn from(comparison: Comparison) -> Self {
        let cursors = comparison.cursors.into_iter();
        let cursors = cursors.map(|(stream, sequence)| (stream.name().to_owned(), sequence.into()));
        let differences = comparison.differences.into_iter();
        Self {
            ok: differences.len() == 0,
            rows: comparison.rows,
            up_to: cursors.collect(),
            differences: differences.map(DifferenceView::from).collect(),
            more: comparison.more,
        }
    }
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        let Difference { key, live, rebuilt } = difference;
        Self { key, live, rebuilt }
    }
}
