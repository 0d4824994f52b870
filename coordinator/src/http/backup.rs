//! `GET /backup`: the whole system as one file, as it is taken. An answer that breaks off lacks the seal
//! at its end, so nobody takes it for a backup.

use super::error::ApiError;
use super::state::Api;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use futures::stream;

/// What the streams take up, in bytes: about how large the answer gets.
const ESTIMATE: &str = "x-backup-stream-bytes";

pub async fn backup(State(api): State<Api>) -> Result<Response, ApiError> {
    let backup = api.app.backup().await?;
    let bytes = stream::unfold(backup.bytes, async |mut bytes| {
        let next = bytes.recv().await?;
        Some((next, bytes))
    });
    // Whoever reads slowly must not hold up our end.
    let bytes = bytes.take_until(api.closing.cancelled_owned()).boxed();
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/zstd".to_owned()),
        (
            header::CONTENT_DISPOSITION.as_str(),
            "attachment; filename=\"coordinator.backup\"".to_owned(),
        ),
        (ESTIMATE, backup.stream_bytes.to_string()),
    ];
    let mut response = Body::from_stream(bytes).into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
