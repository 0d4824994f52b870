//! `GET /sse/sessions`: sessions as they change, told from the steps of their runs as these are stored.
//! Each id is a position in the log, so that who comes back misses nothing, here or with another
//! coordinator; after a break in the middle of a step the whole step comes again.

use super::error::ApiError;
use super::params::QueryOf;
use super::session_events;
use super::session_view::SessionView;
use super::sessions;
use super::state::Api;
use super::told;
use crate::app::{EventFilter, Feed, FeedQuery, Start, StoredEvent, Told};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use events::SessionId;
use events::run::{HookOf, Run, RunEvent, RunStatus, RunStep};
use events::subject::{RunSubject, Stream};
use futures::stream::{self, StreamExt as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

/// A comment, so that proxies see that somebody is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, JsonSchema)]
pub struct StreamQuery {
    /// Of this session only.
    session_id: Option<SessionId>,
}

/// A stream under way.
struct Following {
    api: Api,
    feed: Feed,
    only: Option<SessionId>,
    /// Told next.
    ready: VecDeque<Event>,
}

pub async fn follow(
    State(api): State<Api>,
    QueryOf(query): QueryOf<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let start = match last.filter(|id| !id.is_empty()) {
        Some(id) => Start::After(told::position(id)?),
        None => Start::Now,
    };
    let is_new = start == Start::Now;
    let feed = FeedQuery {
        streams: vec![Stream::Runs],
        start,
        filter: EventFilter::default(),
        follow: true,
    };
    let feed = api.app.feed(feed).await?;
    // What is listed has all that was stored before the position.
    api.app.caught_up().await?;
    let mut init = Event::default()
        .event("init")
        .data(init(&api, &query)?.to_string());
    if is_new {
        init = init.id(feed.position().to_string());
    }
    let following = Following {
        api: api.clone(),
        feed,
        only: query.session_id,
        ready: [init].into(),
    };
    let events = stream::unfold(following, Following::next);
    // Whoever follows would hold up our end; they come back to the next one with their last id.
    let events = events.take_until(api.closing.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let stream = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive);
    Ok(stream.into_response())
}

fn init(api: &Api, query: &StreamQuery) -> Result<Value, ApiError> {
    let sessions = match &query.session_id {
        None => sessions::newest(api)?,
        // One that does not exist yet may come to be.
        Some(session) => sessions::view_of(api, session).into_iter().collect(),
    };
    Ok(json!({"sessions": sessions}))
}

impl Following {
    /// After an error the stream ends: the client comes back for the rest.
    async fn next(mut self) -> Option<(Event, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            let told = match self.feed.next().await {
                Ok(item) => self.told(item?.what).await,
                Err(error) => Err(error.into()),
            };
            match told {
                Ok(told) => self.line_up(told),
                Err(error) => {
                    tracing::warn!(?error, "a stream of sessions ends early");
                    return None;
                }
            }
        }
    }

    /// The last of them has the id: what was not told to its end is told again.
    fn line_up(&mut self, told: Vec<(&'static str, Value)>) {
        let last = told.len();
        for (number, (name, data)) in (1..).zip(told) {
            let event = Event::default().event(name).data(data.to_string());
            self.ready.push_back(match number == last {
                true => event.id(self.feed.position().to_string()),
                false => event,
            });
        }
    }

    async fn told(&self, what: Told) -> Result<Vec<(&'static str, Value)>, ApiError> {
        let Told::Event(stored) = what else {
            return Ok(Vec::new());
        };
        let Some((run, step)) = self.step(&stored)? else {
            return Ok(Vec::new());
        };
        let mut told = match self.is_meant(&run.request.session_id) {
            true => self.of_run(&run, &step, stored.stored.sequence).await?,
            false => Vec::new(),
        };
        told.extend(self.of_hook(&run, stored.stored.sequence)?);
        Ok(told)
    }

    /// What the log says of a run that we know. Its steps only say when to look: what happened is told
    /// from the run as it stands, which nobody can forge.
    fn step(&self, stored: &StoredEvent) -> Result<Option<(Run, RunEvent)>, ApiError> {
        let subject = RunSubject::parse(&stored.stored.subject);
        let step = stored.stored.envelope::<RunStep>();
        let (Some(subject), Ok(step)) = (subject, step) else {
            return Ok(None);
        };
        let run = self.api.app.projections().run(&subject.run_id);
        let run = run.map_err(crate::app::AppError::from)?;
        Ok(run.map(|run| (run, step.event.step)))
    }

    fn is_meant(&self, session: &SessionId) -> bool {
        self.only.as_ref().is_none_or(|only| only == session)
    }

    async fn of_run(
        &self,
        run: &Run,
        step: &RunEvent,
        sequence: u64,
    ) -> Result<Vec<(&'static str, Value)>, ApiError> {
        let (app, session) = (&self.api.app, &run.request.session_id);
        let runs = app.runs_of_session(session)?;
        let view = || json!({"session": SessionView::of(app, &runs)});
        let updated = || ("session_updated", view());
        let event = |data| ("event", json!({"data": data}));
        Ok(match step {
            _ if run.first_sequence == sequence && run.request.kind.is_start() => {
                vec![("session_created", view())]
            }
            _ if run.ended_sequence == Some(sequence) => {
                let run = app.with_result(run.clone()).await?;
                let ended = session_events::at_end(&run).into_iter().map(event);
                ended.chain([updated()]).chain(failed(&run)).collect()
            }
            RunEvent::SessionDeleted if run.session_deleted_at.is_some() => {
                let deleted = json!({"session_id": session, "runs_deleted": runs.len()});
                vec![("session_deleted", deleted)]
            }
            RunEvent::Started { .. } => {
                let started = session_events::at_start(run).map(event);
                started.into_iter().chain([updated()]).collect()
            }
            RunEvent::ResultChunk { .. }
            | RunEvent::LateResult { .. }
            | RunEvent::CallbackNotMade { .. }
            | RunEvent::HookNotRun { .. } => Vec::new(),
            _ => vec![updated()],
        })
    }

    /// The beginning and the end of a hook's run belong to the session of the run it is for.
    fn of_hook(&self, hook: &Run, sequence: u64) -> Result<Vec<(&'static str, Value)>, ApiError> {
        let Some(HookOf { run_id, point }) = &hook.request.hook_of else {
            return Ok(Vec::new());
        };
        let run = self.api.app.projections().run(run_id);
        let run = run.map_err(crate::app::AppError::from)?;
        let Some(run) = run.filter(|run| self.is_meant(&run.request.session_id)) else {
            return Ok(Vec::new());
        };
        let mut told = session_events::of_its_hook(&run, *point, hook).into_iter();
        let told = match (
            hook.first_sequence == sequence,
            hook.ended_sequence == Some(sequence),
        ) {
            (true, _) => told.next(),
            (_, true) => told.nth(1),
            _ => None,
        };
        Ok(told
            .map(|data| ("event", json!({"data": data})))
            .into_iter()
            .collect())
    }
}

fn failed(run: &Run) -> Option<(&'static str, Value)> {
    let request = &run.request;
    let failed = (run.state.status == RunStatus::Failed).then(
        || json!({"run_id": request.run_id, "error": run.error, "session_id": request.session_id}),
    );
    failed.map(|failed| ("run_failed", failed))
}
