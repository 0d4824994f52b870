//! A script's folder as a file: `tar.gz` as existing clients unpack it, or the bundle as it is
//! stored.

use super::error::ApiError;
use super::moment::At;
use super::params::{InPath, QueryOf};
use super::state::Api;
use crate::app::{AppError, Moment, PackedScript};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use events::catalog::ScriptVersion;
use flate2::Compression;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use schemas::{Digest, Name};
use serde::Deserialize;
use std::io::{self, Write as _};

#[derive(Deserialize, JsonSchema)]
pub struct DownloadQuery {
    #[serde(default)]
    format: Format,
    /// An older version, by its digest or its number.
    digest: Option<Digest>,
    version: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Members under `{name}/`.
    #[default]
    Gz,
    /// The stored bytes, whose digest is the script's.
    Zst,
}

pub async fn download(
    State(api): State<Api>,
    InPath(name): InPath,
    QueryOf(query): QueryOf<DownloadQuery>,
    At(at): At,
) -> Result<Response, ApiError> {
    let wanted = wanted(&api, &name, &query, at).await?;
    let packed = api.app.script_bundle(&name, wanted.as_ref()).await?;
    let digest = packed.digest.to_string();
    match query.format {
        Format::Zst => Ok(file(
            &name,
            "zst",
            "application/zstd",
            &digest,
            packed.bytes,
        )),
        Format::Gz => {
            let zipped = zipped(name.clone(), packed).await?;
            Ok(file(&name, "gz", "application/gzip", &digest, zipped))
        }
    }
}

/// The digest of an older version; none for the present one.
async fn wanted(
    api: &Api,
    name: &Name,
    query: &DownloadQuery,
    at: Option<Moment>,
) -> Result<Option<Digest>, ApiError> {
    match (query.version, query.digest, at) {
        (None, digest, None) => Ok(digest),
        (None, None, Some(moment)) => {
            let (_, then) = api.app.script_entry_at(name, moment).await?;
            Ok(Some(then.current.digest))
        }
        (Some(version), None, None) => {
            let found = api.app.version::<ScriptVersion>(name, version).await?;
            Ok(Some(found.is.digest))
        }
        _ => Err(ApiError::bad_request(
            "two_versions",
            "A download is of one version: give its number, its digest or a moment, and no two of them",
        )),
    }
}

/// Compressing takes processor time, so it happens beside the threads that serve others.
async fn zipped(name: Name, packed: PackedScript) -> Result<Vec<u8>, ApiError> {
    let zip = move || -> io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&packed.folder.tar(Some(&name)))?;
        encoder.finish()
    };
    match tokio::task::spawn_blocking(zip).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(AppError::Internal(error.into()).into()),
        Err(panic) => Err(AppError::Internal(panic.into()).into()),
    }
}

fn file(name: &Name, suffix: &str, media: &str, digest: &str, bytes: impl Into<Body>) -> Response {
    let disposition = format!("attachment; filename=\"{name}.tar.{suffix}\"");
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::ETAG, format!("\"{digest}\"")),
    ];
    (headers, bytes.into()).into_response()
}
