//! `/scripts`: list, show, create, replace, patch, delete. How a folder arrives is `script_upload`'s,
//! how it leaves `download`'s.

use super::condition::{OnlyIf, Tagged};
use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::page_link::Page;
use super::params::{self, Caller, InPath, QueryOf};
use super::patch::PatchBody;
use super::script_upload::ScriptFolder;
use super::script_view::{ScriptSummary, ScriptView};
use super::state::Api;
use crate::app::{Change, Script, Written};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use events::catalog::{Entry, Kind, ScriptVersion};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// How the name begins.
    #[serde(default)]
    prefix: String,
    /// Demand tags separated by commas; a script must demand all of them.
    #[serde(default)]
    tags: String,
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
    page: Page,
    At(at): At,
) -> Result<Response, ApiError> {
    let tags = params::tags(&query.tags)?;
    let wanted = |entry: &Entry<ScriptVersion>| {
        let document = &entry.current.document;
        let has = |tag| document.demands.tags.contains(tag);
        document.name.as_str().starts_with(&query.prefix) && tags.iter().all(has)
    };
    let summaries = |mut scripts: Vec<Entry<ScriptVersion>>| {
        scripts.retain(wanted);
        let cut = page.cut(scripts, |entry| entry.current.document.name.to_string());
        let listed = cut.shown(|scripts| {
            let summaries = scripts.into_iter().map(ScriptSummary::from);
            summaries.collect::<Vec<_>>()
        });
        listed.into_response()
    };
    match at {
        None => Ok(summaries(api.app.scripts())),
        Some(moment) => {
            let (as_of, scripts) = api.app.scripts_at(moment).await?;
            Ok(listed_then(as_of, summaries(scripts)))
        }
    }
}

pub async fn show(
    State(api): State<Api>,
    InPath(name): InPath,
    At(at): At,
) -> Result<Response, ApiError> {
    match at {
        None => Ok(tagged(StatusCode::OK, api.app.script(&name).await?).into_response()),
        Some(moment) => {
            let (as_of, script) = api.app.script_at(&name, moment).await?;
            Ok(then(as_of, ScriptView::from(script)))
        }
    }
}

pub async fn create(
    State(api): State<Api>,
    Caller(actor): Caller,
    request: Request,
) -> Result<Tagged<ScriptView>, ApiError> {
    let ScriptFolder(folder) = ScriptFolder::read(request, None).await?;
    let written = api.app.create_script(&actor, folder).await?;
    Ok(answer(written))
}

pub async fn put(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    request: Request,
) -> Result<Tagged<ScriptView>, ApiError> {
    let ScriptFolder(folder) = ScriptFolder::read(request, Some(&name)).await?;
    let app = api.app.only_if(only_if.of(Kind::Script, &name));
    let written = app.put_script(&actor, &name, folder).await?;
    Ok(answer(written))
}

pub async fn patch(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    PatchBody(patch): PatchBody,
) -> Result<Tagged<ScriptView>, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Script, &name));
    let written = app.patch_script(&actor, &name, patch).await?;
    Ok(tagged(StatusCode::OK, written.now))
}

pub async fn delete(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
) -> Result<StatusCode, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Script, &name));
    app.delete_script(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(written: Written<Script>) -> Tagged<ScriptView> {
    let status = match written.change {
        Change::Created => StatusCode::CREATED,
        Change::Changed | Change::Unchanged => StatusCode::OK,
    };
    tagged(status, written.now)
}

fn tagged(status: StatusCode, script: Script) -> Tagged<ScriptView> {
    let body = ScriptView::from(script);
    Tagged {
        status,
        version: body.version(),
        body,
    }
}
