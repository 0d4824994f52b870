//! `/scripts`: list, show, create, replace, patch, delete. How a folder arrives is `script_upload`'s,
//! how it leaves `download`'s.

use super::error::ApiError;
use super::params::{Caller, InPath};
use super::patch::PatchBody;
use super::script_upload::ScriptFolder;
use super::script_view::{ScriptSummary, ScriptView};
use super::state::Api;
use crate::app::{Change, Script, Written};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;

pub async fn list(State(api): State<Api>) -> Json<Vec<ScriptSummary>> {
    Json(
        api.app
            .scripts()
            .into_iter()
            .map(ScriptSummary::from)
            .collect(),
    )
}

pub async fn show(
    State(api): State<Api>,
    InPath(name): InPath,
) -> Result<Json<ScriptView>, ApiError> {
    Ok(Json(api.app.script(&name).await?.into()))
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
