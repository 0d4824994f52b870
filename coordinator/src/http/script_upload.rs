//! How a script's folder arrives: as JSON with the one file's content, as an archive, or as one part
//! per file. Whatever it was, it leaves as a checked folder with `script.json` in it.

use super::body::{media_type, parse, read, read_json};
use super::error::ApiError;
use crate::app::{AppError, Rejection};
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use schemas::bundle::{ArchiveRefused, File, Folder};
use schemas::{FilePath, Name, ScriptDocument};
use serde::Deserialize;
use serde_json::Value;

/// An archive of 10 MiB; the rest is for what multipart and an uncompressed tar write around it.
pub const UPLOAD_MAX_BYTES: usize = 11 * 1024 * 1024;

const TAKEN: &str =
    "application/json, application/zstd, application/gzip, application/x-tar, multipart/form-data";

/// A script's folder out of a request.
pub struct ScriptFolder(pub Folder);

/// The one-file form: the fields of `script.json`, and the file's content.
#[derive(JsonSchema)]
pub struct ScriptBody {
    #[serde(flatten)]
    _document: ScriptDocument,
    /// The text of `script_file`.
    #[serde(rename = "script_content")]
    _script_content: String,
}

/// What the one-file form has beside the fields of `script.json`.
#[derive(Deserialize)]
struct OneFile {
    script_content: String,
}

impl ScriptFolder {
    /// `name` is what the path says the script is called, where it says so.
    pub async fn read(request: Request, name: Option<&Name>) -> Result<Self, ApiError> {
        let folder = match media_type(request.headers()).as_str() {
            "application/json" => one_file(read_json(&read(request, &()).await?)?, name)?,
            "multipart/form-data" => parts(request).await?,
            "application/zstd" => unpacked(request, name, Folder::unpack).await?,
            "application/gzip" | "application/x-gzip" => {
                let read = |bytes: &[u8], under: Option<&Name>| {
                    Folder::read_tar(MultiGzDecoder::new(bytes), under)
                };
                unpacked(request, name, read).await?
            }
            "application/x-tar" | "application/tar" => {
                unpacked(request, name, |bytes, under| Folder::read_tar(bytes, under)).await?
            }
            _ => return Err(ApiError::unsupported(TAKEN)),
        };
        Ok(Self(folder))
    }
}

fn one_file(mut body: Value, name: Option<&Name>) -> Result<Folder, ApiError> {
    if let (Some(name), Value::Object(fields)) = (name, &mut body) {
        fields.entry("name").or_insert_with(|| name.as_str().into());
    }
    let document: ScriptDocument = named(&body)?;
    let OneFile { script_content } = parse(&body)?;
    let file = (document.script_file.clone(), File::plain(script_content));
    Folder::script(&document, [file]).map_err(refused)
}

/// A name that cannot be one is 400, all else that does not fit is 422.
fn named(body: &Value) -> Result<ScriptDocument, ApiError> {
    if let Some(name) = body["name"].as_str() {
        super::params::name(name)?;
    }
    parse(body)
}

/// Unpacking takes processor time, so it happens beside the threads that serve others.
async fn unpacked(
    request: Request,
    name: Option<&Name>,
    unpack: impl FnOnce(&[u8], Option<&Name>) -> Result<Folder, ArchiveRefused> + Send + 'static,
) -> Result<Folder, ApiError> {
    let bytes = read(request, &()).await?;
    let name = name.cloned();
    let unpacked = tokio::task::spawn_blocking(move || unpack(&bytes, name.as_ref()));
    match unpacked.await {
        Ok(folder) => folder.map_err(refused),
        Err(panic) => Err(AppError::Internal(panic.into()).into()),
    }
}

/// The file names are the paths; what the parts themselves are called does not count.
async fn parts(request: Request) -> Result<Folder, ApiError> {
    let mut multipart = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| malformed(&rejection.body_text()))?;
    let mut folder = Folder::default();
    while let Some(part) = multipart
        .next_field()
        .await
        .map_err(|error| unread(&error))?
    {
        let path = part.file_name().unwrap_or_default().to_owned();
        let path: FilePath = path
            .parse()
            .map_err(|error| refused(ArchiveRefused::Path(error)))?;
        let bytes = part.bytes().await.map_err(|error| unread(&error))?;
        folder.insert(path, File::plain(bytes)).map_err(refused)?;
    }
    Ok(folder)
}

fn refused(refused: ArchiveRefused) -> ApiError {
    AppError::Rejected(Rejection::Folder(refused)).into()
}

fn unread(error: &MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => super::body::too_large(),
        _ => malformed(&error.body_text()),
    }
}

fn malformed(why: &str) -> ApiError {
    ApiError::shape("multipart_invalid", &["body".into()], why, &Value::Null)
}
