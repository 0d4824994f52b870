//! A run's whole output as one JSON document, written page by page, so that 50 MiB of output do not
//! stand in memory at once.

use super::chunk::{Chunk, Position, chunks};
use super::error::ApiError;
use crate::app::{App, AppError, OutputItem, OutputPage, OutputQuery};
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use events::RunId;
use futures::stream::{self, StreamExt as _};
use schemars::JsonSchema;
use serde_json::json;

/// Batches read at once, of up to 64 KiB each: what one request holds in memory.
const BATCHES: usize = 64;

/// A document on its way out.
struct Document {
    app: App,
    run_id: RunId,
    /// The last chunk that was written; in the beginning, the one to go on after.
    last: Position,
    /// What is written next; none when the end has been.
    page: Option<OutputPage>,
    /// What stands before the next chunk.
    separator: &'static str,
}

/// What is written, piece by piece: the whole never stands in memory.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct LogsView {
    run_id: RunId,
    chunks: Vec<Chunk>,
    /// The id of the last chunk.
    next: Position,
    /// The run has ended.
    complete: bool,
}

/// A [`LogsView`].
pub async fn answer(app: App, run_id: RunId, after: Position) -> Result<Response, ApiError> {
    let head = format!(r#"{{"run_id":"{run_id}","chunks":["#);
    // The first page comes before the status line, so that an error can still be one.
    let page = page(&app, &run_id, after.before()).await?;
    let document = Document {
        app,
        run_id,
        last: after,
        page: Some(page),
        separator: "",
    };
    let parts =
        stream::once(async { Ok(head) }).chain(stream::try_unfold(document, Document::part));
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, Body::from_stream(parts)).into_response())
}

impl Document {
    /// The next page's text, and the end's after the last one.
    async fn part(mut self) -> Result<Option<(String, Self)>, AppError> {
        let Some(OutputPage { items, next, ended }) = self.page.take() else {
            return Ok(None);
        };
        let is_last = ended || items.is_empty();
        let mut text = self.written(items);
        if is_last {
            let last = self.last;
            text.push_str(&format!(r#"],"next":"{last}","complete":{ended}}}"#));
        } else {
            self.page = Some(page(&self.app, &self.run_id, next).await?);
        }
        Ok(Some((text, self)))
    }

    fn written(&mut self, items: Vec<OutputItem>) -> String {
        let mut text = String::new();
        for item in items {
            for chunk in chunks(item, self.last) {
                text.push_str(self.separator);
                text.push_str(&json!(chunk).to_string());
                self.separator = ",";
                self.last = chunk.id;
            }
        }
        text
    }
}

async fn page(app: &App, run_id: &RunId, after: u64) -> Result<OutputPage, AppError> {
    let limit = BATCHES;
    app.output(run_id, OutputQuery { after, limit }).await
}
