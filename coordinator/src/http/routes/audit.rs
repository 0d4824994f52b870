//! The past: who did what, and whether the log is what was written.

use super::Needs;
use crate::http::openapi::Doc;
use crate::http::proof::{CheckpointView, ProofView};
use crate::http::replay::CatalogView;
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::told::EventView;
use crate::http::{audit, audit_export, event, proof, replay};
use axum::http::Method;

const TWO_TIMES: &[&str] = &["times_swapped", "invalid_cursor"];
const POSITION: &[&str] = &[
    "unknown_stream",
    "invalid_position",
    "two_beginnings",
    "sequence_without_stream",
];
const ELSEWHERE: &[&str] = &["position_of_other_stream", "position_ahead"];

pub fn routes(table: Table<Api>) -> Table<Api> {
    events(proofs(trails(table)))
}

fn trails(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/timeline/{kind}/{name}",
            audit::timeline,
            Doc::of(
                "showTimeline",
                "What happened to something, or through somebody",
            )
            .segment::<audit::TopicKind>("kind", "Of what")
            .segment::<String>("name", "Its name or id")
            .answers::<audit::TimelineView>(200)
            .refuses(400, &["unknown_kind", "invalid_name"])
            .refuses(400, TWO_TIMES)
            .refuses(404, &["run_not_found", "runner_not_found", "nothing_known"])
            .refuses(410, &["run_gone"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/who-ran/{what}",
            audit::who_ran,
            Doc::of(
                "showWhoRan",
                "Who had what executed, where, when, and how it ended",
            )
            .segment::<String>("what", "`NAME`, `NAME@3`, or a digest as `sha256:1a2b…`")
            .answers::<audit::WhoRanView>(200)
            .refuses(400, &["invalid_name", "invalid_version", "several_digests"])
            .refuses(400, TWO_TIMES)
            .refuses(
                404,
                &["nothing_named", "nothing_with_digest", "version_not_found"],
            ),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/export",
            audit_export::export,
            Doc::of(
                "exportEvents",
                "The events of the log as lines of JSON, from a position on",
            )
            .sends("application/x-ndjson")
            .refuses(400, POSITION)
            .refuses(409, ELSEWHERE),
        )
}

fn proofs(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER.streaming(),
            Method::GET,
            "/audit/verify",
            proof::verify,
            Doc::of("verifyLog", "Whether the log is what was written")
                .about("Reads all of it. As events: `progress`, then `result` or `error`.")
                .answers::<ProofView>(200)
                .streams()
                .refuses(400, &["invalid_checkpoint"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/checkpoint",
            proof::checkpoint,
            Doc::of("takeCheckpoint", "The log's head, to be kept elsewhere")
                .answers::<CheckpointView>(200)
                .refuses(404, &["empty_log"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/replay",
            replay::replay,
            Doc::of("replay", "The whole catalogue as it was").answers::<CatalogView>(200),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/audit/diff",
            replay::diff,
            Doc::of("compareMoments", "What changed between two moments")
                .refuses(400, &["invalid_time", "in_the_future", "no_such_sequence"]),
        )
}

fn events(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER.streaming(),
            Method::GET,
            "/events",
            event::list,
            Doc::of("listEvents", "The newest events of the log")
                .about("As events: every one that is stored from now on, or after Last-Event-ID.")
                .answers::<event::EventsView>(200)
                .streams()
                .refuses(400, POSITION)
                .refuses(400, TWO_TIMES)
                .refuses(409, ELSEWHERE),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/events/{stream}/{seq}",
            event::show,
            Doc::of("showEvent", "One event with the bytes that are stored")
                .segment::<audit::StreamName>("stream", "Of which stream")
                .segment::<u64>("seq", "Its sequence there, from 1 on")
                .answers::<EventView>(200)
                .refuses(400, &["unknown_stream", "invalid_sequence"])
                .refuses(404, &["event_not_found"]),
        )
}
