//! Scripts, and how they reach hosts.

use super::{FETCH, Needs};
use crate::app::Rollout;
use crate::http::openapi::{Doc, How};
use crate::http::script_upload::{self, ScriptBody};
use crate::http::script_view::{ScriptSummary, ScriptView};
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::{download, rollout, scripts, sync};
use axum::extract::DefaultBodyLimit;
use axum::http::Method;

const MISSING: &[&str] = &["script_not_found"];
/// What a script may be refused for, beside its shape.
const REFUSED: &[&str] = &[
    "invalid_name",
    "invalid_script",
    "invalid_schema",
    "folder_refused",
    "conflicting_demands",
];
const FILES: &[&str] = &[
    "application/zstd",
    "application/gzip",
    "application/x-tar",
    "multipart/form-data",
];

pub fn routes(table: Table<Api>) -> Table<Api> {
    distribution(changes(reads(table)))
}

fn reads(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts",
            scripts::list,
            Doc::of("listScripts", "All scripts, by name").answers::<Vec<ScriptSummary>>(200)
                .refuses(400, &["invalid_tag"]),
        )
        .route(
            FETCH,
            Method::GET,
            "/scripts/{name}",
            scripts::show,
            Doc::of("showScript", "A script with the content of its file")
                .answers::<ScriptView>(200)
                .tagged()
                .refuses(404, MISSING),
        )
        .route(
            FETCH,
            Method::GET,
            "/scripts/{name}/download",
            download::download,
            Doc::of("downloadScript", "A script's folder as a file")
                .about("tar.gz with members under the script's name, or with format=zst the stored bytes, whose digest is the script's.")
                .sends("application/gzip")
                .sends("application/zstd")
                .refuses(400, &["two_versions"])
                .refuses(404, &["script_not_found", "version_not_found"])
                .refuses(409, &["bundle_gone"]),
        )
}

fn changes(table: Table<Api>) -> Table<Api> {
    let upload = || DefaultBodyLimit::max(script_upload::UPLOAD_MAX_BYTES);
    table
        .wrapped(
            Needs::AUTHOR,
            Method::POST,
            "/scripts",
            scripts::create,
            Doc::of("createScript", "Store a new script")
                .about("As JSON with the content of its one file, as an archive with script.json in it, or as one part per file.")
                .takes_files::<ScriptBody>(How::Whole, FILES)
                .with(&[201])
                .refuses(400, REFUSED)
                .refuses(409, &["already_exists"])
                .refuses(415, &["unsupported_media_type"])
                .refuses(422, &["invalid_request"]),
            |route| route.layer(upload()),
        )
        .wrapped(
            Needs::AUTHOR,
            Method::PUT,
            "/scripts/{name}",
            scripts::put,
            Doc::of("putScript", "Store a script, whether it is new or not")
                .takes_files::<ScriptBody>(How::Named, FILES)
                .with(&[200, 201])
                .refuses(400, REFUSED)
                .refuses(400, &["name_differs"])
                .refuses(415, &["unsupported_media_type"])
                .refuses(422, &["invalid_request"]),
            |route| route.layer(upload()),
        )
        .route(
            Needs::AUTHOR,
            Method::PATCH,
            "/scripts/{name}",
            scripts::patch,
            Doc::of("patchScript", "Change some fields of a script")
                .about("What is absent or null stays. `parameters_schema: {}` and all-empty `demands` remove.")
                .patches::<ScriptBody>()
                .refuses(400, REFUSED)
                .refuses(404, MISSING),
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/scripts/{name}",
            scripts::delete,
            Doc::of("deleteScript", "Delete a script")
                .with(&[204])
                .refuses(404, MISSING)
                .refuses(409, &["referenced_by_agents", "referenced_by_capabilities"]),
        )
}

fn distribution(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER.streaming(),
            Method::GET,
            "/scripts/{name}/rollout",
            rollout::rollout,
            Doc::of("showRollout", "How far a script's present version has come")
                .about("As events: `rollout`, then `progress` with the runners whose line is new.")
                .answers::<Rollout>(200)
                .streams()
                .refuses(404, MISSING),
        )
        .route(
            Needs::OPERATOR,
            Method::POST,
            "/scripts/sync/trigger",
            sync::trigger,
            Doc::of("triggerSync", "Have runners look at their scripts at once")
                .with(&[202])
                .refuses(404, &["script_not_found", "runner_not_found"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/sync/trigger/{id}",
            sync::answers,
            Doc::of("showSync", "What each runner answered")
                .segment::<String>("id", "The `sync_id` of the request")
                .refuses(404, &["sync_not_found"]),
        )
}
