//! `/events`: what the log says, event by event: one, the newest, or as they come.

use super::audit::{cursor, cursor_text};
use super::error::ApiError;
use super::logs::{KEEP_ALIVE, wants_events};
use super::params::{QueryOf, Since};
use super::state::Api;
use super::told::{self, EventView, ToldQuery};
use crate::app::{Before, EventPage, EventQuery, Feed, FeedItem, FeedQuery, Start, Told};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt as _};
use schemars::JsonSchema;
use serde::Deserialize;
use std::convert::Infallible;

/// Events on a page where the client does not say.
const PAGE_DEFAULT: usize = 50;
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    since: Option<Since>,
    until: Option<Since>,
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What `listed` writes.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct EventsView {
    events: Vec<EventView>,
    /// Where there are more.
    #[schemars(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ToldQuery>,
    QueryOf(page): QueryOf<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if wants_events(&headers) {
        return follow(api, query, &headers).await;
    }
    let (now, before) = (api.app.now(), page.cursor.as_deref().map(cursor));
    let before: Before = before.transpose()?.unwrap_or_default();
    let query = EventQuery {
        streams: query.streams()?,
        before,
        since: page.since.map(|since| since.before(now)),
        until: page.until.map(|until| until.before(now)),
        filter: query.filter(),
        limit: page.limit.unwrap_or(PAGE_DEFAULT),
    };
    Ok(json(&listed(&api.app.events(&query).await?)))
}

pub async fn show(
    State(api): State<Api>,
    Path((stream, sequence)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let stream = told::stream(&stream)?;
    let sequence = sequence.parse().map_err(|_| {
        let text = schemas::shown(&sequence);
        ApiError::bad_request(
            "invalid_sequence",
            format!("{text} is no sequence; it is a whole number from 1 on"),
        )
    })?;
    let event = api.app.event(stream, sequence).await?;
    Ok(json(&told::of_event(&event, None)))
}

fn json(text: &str) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, text.to_owned()).into_response()
}

/// `{"events": […], "next_cursor"?}`, with each event's bytes as they are.
fn listed(page: &EventPage) -> String {
    let events = page.events.iter();
    let events: Vec<String> = events.map(|event| told::of_event(event, None)).collect();
    let next = page.next.as_ref().map(cursor_text);
    let next = next.map(|next| format!(r#","next_cursor":"{next}""#));
    let next = next.unwrap_or_default();
    format!(r#"{{"events":[{}]{next}}}"#, events.join(","))
}

/// Every event as it is stored, from now on or after the id that was seen last. Each id is a position,
/// so that who comes back misses none and sees none twice, here or with another coordinator.
async fn follow(api: Api, query: ToldQuery, headers: &HeaderMap) -> Result<Response, ApiError> {
    let query = match headers.get(LAST_EVENT_ID) {
        Some(id) => query.after(id.to_str().unwrap_or_default()),
        None => query,
    };
    let streams = query.streams()?;
    let feed = FeedQuery {
        start: query.start(&streams, Start::Now)?,
        filter: query.filter(),
        streams,
        follow: true,
    };
    let feed = api.app.feed(feed).await?;
    // Also who leaves before the first event can come back to where it began.
    let begin = Event::default().event("begin");
    let position = feed.position().to_string();
    let begin = begin
        .id(&position)
        .data(format!(r#"{{"position":"{position}"}}"#));
    let events = stream::once(async { begin }).chain(events(feed));
    // Whoever follows would hold up our end; they come back to the next one with their last id.
    let events = events.take_until(api.closing.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let stream = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive);
    Ok(stream.into_response())
}

/// After an error the stream ends: the client comes back for the rest.
fn events(feed: Feed) -> impl stream::Stream<Item = Event> + Send {
    stream::unfold(feed, |mut feed| async {
        match feed.next().await {
            Ok(Some(item)) => Some((event(&item), feed)),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "an event stream ends early");
                None
            }
        }
    })
}

fn event(item: &FeedItem) -> Event {
    let name = match item.what {
        Told::Event(_) => "event",
        Told::Dropped { .. } => "dropped",
    };
    let event = Event::default().event(name);
    event.id(item.position.to_string()).data(told::line(item))
}
