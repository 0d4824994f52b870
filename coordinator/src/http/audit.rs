//! `/audit/timeline/{kind}/{name}` and `/audit/who-ran/{what}`: what happened to something, through
//! somebody, and who ran what. A run's own steps are shown by `run_story`, the events themselves by
//! `event` and `audit_export`.

use super::error::ApiError;
use super::params::{self, QueryOf, Since};
use super::record::RecordView;
use super::run_story;
use super::state::Api;
use crate::app::{
    Before, EventFilter, EventLine, Line, Of, Ran, Timeline, TimelineQuery, Topic, TrailEntry,
    WhoRanQuery,
};
use axum::Json;
use axum::extract::{Path, State};
use events::run::RunStatus;
use events::subject::Stream;
use events::{Actor, RunId, Timestamp};
use schemars::JsonSchema;
use schemas::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

/// Lines on a page where the client does not say.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
pub struct TimeQuery {
    since: Option<Since>,
    until: Option<Since>,
    /// Types separated by commas.
    r#type: Option<String>,
    actor: Option<String>,
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct RunsQuery {
    /// A runner's id or host.
    runner: Option<String>,
    status: Option<RunStatus>,
}

/// What has a timeline.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
#[allow(dead_code)]
pub enum TopicKind {
    Script,
    Agent,
    Capability,
    Run,
    Runner,
    Actor,
}

/// The streams whose events are shown.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[allow(dead_code)]
pub enum StreamName {
    Catalog,
    Runs,
    History,
    Runners,
}

/// What happened, newest first.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct TimelineView {
    of: TopicView,
    /// Runs that have not ended.
    unfinished: Vec<RecordView>,
    entries: Vec<EntryView>,
    /// Where there are more.
    #[schemars(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Of a run: retention took its steps, and this is what HISTORY keeps.
    #[schemars(skip_serializing_if = "Option::is_none")]
    steps_gone: Option<bool>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    summary: Option<RecordView>,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct TopicView {
    kind: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename = "TimelineEntry")]
#[allow(dead_code)]
struct EntryView {
    stream: String,
    seq: u64,
    at: Timestamp,
    r#type: String,
    actor: Option<Actor>,
    kind: String,
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// For people.
    note: Option<String>,
    /// Of a run's step.
    #[schemars(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Of a run's end.
    #[schemars(skip_serializing_if = "Option::is_none")]
    run: Option<RecordView>,
}

/// Who ran it, newest first.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct WhoRanView {
    of: TopicView,
    unfinished: Vec<RecordView>,
    runs: Vec<RecordView>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl TimeQuery {
    fn read(&self, now: Timestamp) -> Result<TimelineQuery, ApiError> {
        let (since, until) = (
            self.since.map(|t| t.before(now)),
            self.until.map(|t| t.before(now)),
        );
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            let detail =
                format!("Nothing lies between {since} and {until}: since is the later one");
            return Err(ApiError::bad_request("times_swapped", detail));
        }
        let types = self.r#type.as_deref().unwrap_or_default().split(',');
        let types = types.map(str::trim).filter(|word| !word.is_empty());
        Ok(TimelineQuery {
            before: self
                .cursor
                .as_deref()
                .map(cursor)
                .transpose()?
                .unwrap_or_default(),
            since,
            until,
            filter: EventFilter {
                types: types.map(str::to_owned).collect(),
                actor: self.actor.clone().filter(|actor| !actor.is_empty()),
            },
            limit: self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX),
        })
    }
}

pub async fn timeline(
    State(api): State<Api>,
    Path((kind, name)): Path<(String, String)>,
    QueryOf(query): QueryOf<TimeQuery>,
) -> Result<Json<Value>, ApiError> {
    let query = query.read(api.app.now())?;
    if kind == "run" {
        let run_id = name.parse::<RunId>().map_err(|error| {
            ApiError::not_found("run_not_found", "Run not found").hint(error.to_string())
        })?;
        let story = api.app.run_story(&run_id, &query).await?;
        return Ok(Json(run_story::view(&run_id, story)));
    }
    let topic = topic(&kind, &name)?;
    let timeline = api.app.timeline(&topic, &query)?;
    let mut view = view(timeline);
    view["of"] = json!({"kind": kind, "name": name});
    Ok(Json(view))
}

pub async fn who_ran(
    State(api): State<Api>,
    Path(what): Path<String>,
    QueryOf(query): QueryOf<TimeQuery>,
    QueryOf(runs): QueryOf<RunsQuery>,
) -> Result<Json<Value>, ApiError> {
    let query = WhoRanQuery {
        time: query.read(api.app.now())?,
        runner: runs.runner.filter(|runner| !runner.is_empty()),
        status: runs.status,
    };
    let (of, Timeline { page, unfinished }) = api.app.who_ran(&ran(&what)?, &query).await?;
    let runs = page
        .entries
        .into_iter()
        .filter_map(|entry| match entry.line {
            Line::Run(run) => Some(RecordView::from(*run)),
            Line::Event(_) => None,
        });
    let mut answer = json!({
        "of": of_view(&of),
        "unfinished": records(unfinished),
        "runs": runs.collect::<Vec<_>>(),
    });
    if let Some(next) = page.next {
        answer["next_cursor"] = cursor_text(&next).into();
    }
    Ok(Json(answer))
}

/// `sha256:…`, `NAME@VERSION` or `NAME`.
fn ran(what: &str) -> Result<Ran, ApiError> {
    if what.starts_with("sha256:") {
        return Ok(Ran::Digest(what.to_owned()));
    }
    let Some((name, version)) = what.split_once('@') else {
        let name = params::name(what)?;
        return Ok(Ran::Name {
            name,
            version: None,
        });
    };
    let version = version.trim_start_matches('v').parse().map_err(|_| {
        let text = schemas::shown(what);
        ApiError::bad_request(
            "invalid_version",
            format!("{text} names no version; write NAME@3, NAME, or a digest as sha256:1a2b…"),
        )
    })?;
    Ok(Ran::Name {
        name: params::name(name)?,
        version: Some(version),
    })
}

fn topic(kind: &str, name: &str) -> Result<Topic, ApiError> {
    Ok(match kind {
        "script" => Topic::Script(params::name(name)?),
        "agent" => Topic::Agent(params::name(name)?),
        "capability" => Topic::Capability(params::name(name)?),
        "actor" => Topic::Actor(name.to_owned()),
        "runner" => Topic::Runner(name.parse().map_err(|error: events::id::InvalidId| {
            let text = format!("Runner not found: {}", schemas::shown(name));
            ApiError::not_found("runner_not_found", text).hint(error.to_string())
        })?),
        _ => {
            let kind = schemas::shown(kind);
            return Err(ApiError::bad_request(
                "unknown_kind",
                format!(
                    "{kind} has no timeline; there are those of script, agent, capability, run, runner and actor"
                ),
            ));
        }
    })
}

fn view(Timeline { page, unfinished }: Timeline) -> Value {
    let entries: Vec<Value> = page.entries.into_iter().map(entry).collect();
    let mut view = json!({"unfinished": records(unfinished), "entries": entries});
    if let Some(next) = page.next {
        view["next_cursor"] = cursor_text(&next).into();
    }
    view
}

fn entry(entry: TrailEntry) -> Value {
    let kind = entry.line.kind();
    let (stream, sequence) = (entry.stream.name(), entry.sequence);
    match entry.line {
        Line::Event(line) => {
            let EventLine {
                at,
                actor,
                kind,
                name,
                version,
                digest,
                note,
                r#type,
            } = line;
            json!({
                "stream": stream, "seq": sequence, "at": at, "type": r#type, "actor": actor,
                "kind": kind, "name": name, "version": version, "digest": digest, "note": note,
            })
        }
        Line::Run(run) => json!({
            "stream": stream, "seq": sequence, "at": run.ended_at, "type": kind,
            "actor": run.actor, "kind": "run", "name": run.run_id, "digest": run.digest,
            "version": run.script().map(|(_, version)| version), "note": null,
            "run": RecordView::from(*run),
        }),
    }
}

fn of_view(of: &Of) -> Value {
    match of {
        Of::Digest(digest) => json!({"kind": "digest", "digest": digest}),
        Of::Script { name, version } => {
            json!({"kind": "script", "name": name, "version": version})
        }
        Of::Agent { name, version } => json!({"kind": "agent", "name": name, "version": version}),
    }
}

fn records(runs: Vec<events::run::Run>) -> Vec<RecordView> {
    runs.into_iter().map(RecordView::from).collect()
}

/// `catalog-12.history-5`
pub fn cursor_text(before: &Before) -> String {
    let parts = before.0.iter();
    let parts = parts.map(|(stream, sequence)| format!("{}-{sequence}", stream.name()));
    parts.collect::<Vec<_>>().join(".").to_ascii_lowercase()
}

pub fn cursor(text: &str) -> Result<Before, ApiError> {
    let part = |part: &str| {
        let (stream, sequence) = part.split_once('-')?;
        Some((Stream::named(stream)?, sequence.parse().ok()?))
    };
    let before: Option<_> = text.split('.').map(part).collect();
    before.map(Before).ok_or_else(|| {
        let text = schemas::shown(text);
        ApiError::bad_request(
            "invalid_cursor",
            format!("{text} is no cursor; take the next_cursor of the page before"),
        )
    })
}
