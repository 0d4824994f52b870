//! `/capabilities`: list, show, create, replace, patch, delete.

use super::body::{JsonValue, parse};
use super::condition::{OnlyIf, Tagged};
use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::page_link::Page;
use super::params::{self, Caller, InPath, QueryOf};
use super::patch::PatchBody;
use super::state::Api;
use crate::app::{Change, Written};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use events::Timestamp;
use events::catalog::{CapabilityVersion, Entry, Kind};
use schemars::JsonSchema;
use schemas::{CapabilityDocument, CapabilityKind, Name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Serialize, JsonSchema)]
pub struct CapabilityView {
    name: Name,
    description: String,
    r#type: CapabilityKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    mcp_servers: Map<String, Value>,
    created_at: Timestamp,
    modified_at: Timestamp,
    // Ours.
    version: u32,
}

#[derive(Serialize, JsonSchema)]
pub struct CapabilitySummary {
    name: Name,
    description: String,
    r#type: CapabilityKind,
    has_script: bool,
    script_name: Option<Name>,
    has_text: bool,
    has_mcp: bool,
    mcp_server_names: Vec<String>,
    created_at: Timestamp,
    modified_at: Timestamp,
    // Ours.
    version: u32,
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// How the name begins.
    #[serde(default)]
    prefix: String,
    r#type: Option<CapabilityKind>,
    /// The script it brings.
    script: Option<Name>,
}

impl ListQuery {
    fn wants(&self, entry: &Entry<CapabilityVersion>) -> bool {
        let document = &entry.current.document;
        document.name.as_str().starts_with(&self.prefix)
            && self.r#type.is_none_or(|kind| kind == document.kind)
            && (self.script.is_none() || self.script == document.script)
    }
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
    page: Page,
    At(at): At,
) -> Result<Response, ApiError> {
    let answer = |mut capabilities: Vec<Entry<CapabilityVersion>>| {
        capabilities.retain(|entry| query.wants(entry));
        let cut = page.cut(capabilities, |entry| {
            entry.current.document.name.to_string()
        });
        let listed = cut.shown(|capabilities| {
            let summaries = capabilities.into_iter().map(CapabilitySummary::from);
            summaries.collect::<Vec<_>>()
        });
        listed.into_response()
    };
    match at {
        None => Ok(answer(api.app.capabilities())),
        Some(moment) => {
            let (as_of, capabilities) = api.app.capabilities_at(moment).await?;
            Ok(listed_then(as_of, answer(capabilities)))
        }
    }
}

pub async fn show(
    State(api): State<Api>,
    InPath(name): InPath,
    At(at): At,
) -> Result<Response, ApiError> {
    match at {
        None => Ok(tagged(StatusCode::OK, api.app.capability(&name)?).into_response()),
        Some(moment) => {
            let (as_of, capability) = api.app.capability_at(&name, moment).await?;
            Ok(then(as_of, CapabilityView::from(capability)))
        }
    }
}

pub async fn create(
    State(api): State<Api>,
    Caller(actor): Caller,
    JsonValue(body): JsonValue,
) -> Result<Tagged<CapabilityView>, ApiError> {
    let document = document(body, None)?;
    Ok(answer(api.app.create_capability(&actor, document).await?))
}

pub async fn put(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    JsonValue(body): JsonValue,
) -> Result<Tagged<CapabilityView>, ApiError> {
    let document = document(body, Some(&name))?;
    let app = api.app.only_if(only_if.of(Kind::Capability, &name));
    let written = app.put_capability(&actor, &name, document).await?;
    Ok(answer(written))
}

pub async fn patch(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    PatchBody(patch): PatchBody,
) -> Result<Tagged<CapabilityView>, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Capability, &name));
    let written = app.patch_capability(&actor, &name, patch).await?;
    Ok(tagged(StatusCode::OK, written.now))
}

pub async fn delete(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
) -> Result<StatusCode, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Capability, &name));
    app.delete_capability(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(written: Written<Entry<CapabilityVersion>>) -> Tagged<CapabilityView> {
    let status = match written.change {
        Change::Created => StatusCode::CREATED,
        Change::Changed | Change::Unchanged => StatusCode::OK,
    };
    tagged(status, written.now)
}

fn tagged(status: StatusCode, entry: Entry<CapabilityVersion>) -> Tagged<CapabilityView> {
    Tagged {
        status,
        version: entry.current.version,
        body: entry.into(),
    }
}

/// A name that cannot be one is 400, all else that does not fit is 422.
fn document(mut body: Value, in_path: Option<&Name>) -> Result<CapabilityDocument, ApiError> {
    if let (Some(name), Value::Object(fields)) = (in_path, &mut body) {
        fields.entry("name").or_insert_with(|| name.as_str().into());
    }
    if let Some(name) = body["name"].as_str() {
        params::name(name)?;
    }
    parse(&body)
}

impl From<Entry<CapabilityVersion>> for CapabilityView {
    fn from(entry: Entry<CapabilityVersion>) -> Self {
        let CapabilityVersion {
            version, document, ..
        } = entry.current;
        Self {
            name: document.name,
            description: document.description,
            r#type: document.kind,
            script: document.script,
            text: document.text,
            mcp_servers: document.mcp_servers,
            created_at: entry.created_at,
            modified_at: entry.modified_at,
            version,
        }
    }
}

impl From<Entry<CapabilityVersion>> for CapabilitySummary {
    fn from(entry: Entry<CapabilityVersion>) -> Self {
        let CapabilityVersion {
            version, document, ..
        } = entry.current;
        Self {
            name: document.name,
            description: document.description,
            r#type: document.kind,
            has_script: document.script.is_some(),
            script_name: document.script,
            has_text: document.text.is_some(),
            has_mcp: !document.mcp_servers.is_empty(),
            mcp_server_names: document.mcp_servers.keys().cloned().collect(),
            created_at: entry.created_at,
            modified_at: entry.modified_at,
            version,
        }
    }
}
