//! `GET /audit/export`: the events of the log as lines of JSON, from a position on.

use super::error::ApiError;
use super::params::QueryOf;
use super::state::Api;
use super::told::{self, ToldQuery};
use crate::app::{AppError, Feed, FeedQuery, Start};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt as _, TryReadyChunksError, TryStreamExt as _};
use schemars::JsonSchema;
use serde::Deserialize;

const LINES: &str = "application/x-ndjson";
/// Lines sent in one piece; the feed reads as many at once.
const LINES_AT_ONCE: usize = 64;
/// The position before the first line, so that who began with `now` can come back without a line.
const BEGINNING: HeaderName = HeaderName::from_static("x-position");

#[derive(Deserialize, JsonSchema)]
pub struct FollowQuery {
    /// Go on with what is stored later.
    #[serde(default)]
    follow: bool,
}

/// Ends with the last event that was there at the beginning, unless it follows. An error later than
/// the first line breaks the connection off, so that a part is not taken for the whole.
pub async fn export(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ToldQuery>,
    QueryOf(FollowQuery { follow }): QueryOf<FollowQuery>,
) -> Result<Response, ApiError> {
    let streams = query.streams()?;
    let feed = FeedQuery {
        start: query.start(&streams, Start::Oldest)?,
        filter: query.filter(),
        streams,
        follow,
    };
    let feed = api.app.feed(feed).await?;
    let headers = [
        (header::CONTENT_TYPE, LINES.to_owned()),
        (BEGINNING, feed.position().to_string()),
    ];
    let lines = lines(feed).take_until(api.closing.cancelled_owned());
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn lines(feed: Feed) -> impl stream::Stream<Item = Result<String, AppError>> + Send {
    let lines = stream::try_unfold(feed, |mut feed| async {
        let Some(item) = feed.next().await? else {
            return Ok(None);
        };
        let mut line = told::line(&item);
        line.push('\n');
        Ok(Some((line, feed)))
    });
    // What is read already goes out together. After an error the client comes back for it.
    let pieces = lines.try_ready_chunks(LINES_AT_ONCE);
    pieces
        .map_ok(|lines| lines.concat())
        .map_err(|TryReadyChunksError(_, error)| error)
}
