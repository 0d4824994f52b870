//! `/scripts`: list, show, create, replace, patch, delete. How a folder arrives is `script_upload`'s,
//! how it leaves `download`'s.

use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::params::{Caller, InPath};
use super::patch::PatchBody;
use super::script_upload::ScriptFolder;
use super::script_view::{ScriptSummary, ScriptView};
use super::state::Api;
use crate::app::{Change, Script, Written};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use events::catalog::{Entry, ScriptVersion};

pub async fn list(State(api): State<Api>, At(at): At) -> Result<Response, ApiError> {
    let summaries = |scripts: Vec<Entry<ScriptVersion>>| {
        let scripts = scripts.into_iter().map(ScriptSummary::from);
        Json(scripts.collect::<Vec<_>>()).into_response()
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
        None => Ok(Json(ScriptView::from(api.app.script(&name).await?)).into_response()),
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
) -> Result<(StatusCode, Json<ScriptView>), ApiError> {
    let ScriptFolder(folder) = ScriptFolder::read(request, None).await?;
    let written = api.app.create_script(&actor, folder).await?;
    Ok(answer(written))
}

pub async fn put(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    request: Request,
) -> Result<(StatusCode, Json<ScriptView>), ApiError> {
    let ScriptFolder(folder) = ScriptFolder::read(request, Some(&name)).await?;
    let written = api.app.put_script(&actor, &name, folder).await?;
    Ok(answer(written))
}

pub async fn patch(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    PatchBody(patch): PatchBody,
) -> Result<Json<ScriptView>, ApiError> {
    let written = api.app.patch_script(&actor, &name, patch).await?;
    Ok(Json(written.now.into()))
}

pub async fn delete(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
) -> Result<StatusCode, ApiError> {
    api.app.delete_script(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(written: Written<Script>) -> (StatusCode, Json<ScriptView>) {
    let status = match written.change {
        Change::Created => StatusCode::CREATED,
        Change::Changed | Change::Unchanged => StatusCode::OK,
    };
    (status, Json(written.now.into()))
}
