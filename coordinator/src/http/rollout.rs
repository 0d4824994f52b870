//! `/scripts/{name}/rollout`: how far a script has come, as one document, or as events while it goes
//! on. The first event (`rollout`) is the document; each further one (`progress`) has the same
//! fields, with only those runners whose line is new, and `left` with those that do not count any
//! more. The stream goes on until the client has seen enough.

use super::error::ApiError;
use super::logs::{KEEP_ALIVE, wants_events};
use super::params::InPath;
use super::state::Api;
use crate::app::{App, Rollout, RolloutLine, RolloutNews};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use events::RunnerId;
use futures::stream::{self, StreamExt as _};
use schemas::Name;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;

pub async fn rollout(
    State(api): State<Api>,
    InPath(name): InPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let news = api.app.rollout_news();
    let now = api.app.rollout(&name)?;
    if !wants_events(&headers) {
        return Ok(Json(now).into_response());
    }
    let watched = Watched {
        app: api.app,
        name,
        news,
        shown: BTreeMap::new(),
        last: None,
    };
    let events = stream::unfold((watched, Some(now)), |(mut watched, first)| async {
        let event = match first {
            Some(first) => watched.event("rollout", &first),
            None => watched.next().await?,
        };
        Some((Ok::<_, Infallible>(event), (watched, None)))
    });
    let events = events.take_until(api.closing.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

struct Watched {
    app: App,
    name: Name,
    news: RolloutNews,
    /// The lines as the client has them.
    shown: BTreeMap<RunnerId, RolloutLine>,
    last: Option<Rollout>,
}

impl Watched {
    /// The next change; none when the script was deleted.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.news.changed().await;
            let now = self.app.rollout(&self.name).ok()?;
            if self.last.as_ref() != Some(&now) {
                return Some(self.event("progress", &now));
            }
        }
    }

    fn event(&mut self, name: &str, now: &Rollout) -> Event {
        let is_new = |line: &&RolloutLine| self.shown.get(&line.runner_id) != Some(*line);
        let lines: Vec<&RolloutLine> = now.runners.iter().filter(is_new).collect();
        let mut data = json!(now);
        data["runners"] = json!(lines);
        let lines: BTreeMap<RunnerId, RolloutLine> = now
            .runners
            .iter()
            .map(|line| (line.runner_id.clone(), line.clone()))
            .collect();
        let left = self.shown.keys().filter(|id| !lines.contains_key(*id));
        data["left"] = left.map(|id| json!(id)).collect::<Vec<Value>>().into();
        self.shown = lines;
        self.last = Some(now.clone());
        Event::default().event(name).data(data.to_string())
    }
}
