//! Lanes, and the pins that send a script to a place by hand.

use super::Needs;
use crate::http::lanes::LaneView;
use crate::http::openapi::Doc;
use crate::http::pins::PinView;
use crate::http::state::Api;
use crate::http::table::Table;
use crate::http::{lanes as handlers, pins as pin_handlers};
use axum::http::Method;

pub fn lanes(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/lanes",
            handlers::list,
            Doc::of(
                "listLanes",
                "What each lane holds, who serves it, what waits in it",
            )
            .answers::<Vec<LaneView>>(200)
            .refuses(400, &["invalid_tag"]),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/lanes/{id}",
            handlers::show,
            Doc::of("showLane", "A lane").answers::<LaneView>(200),
        )
}

pub fn pins(table: Table<Api>) -> Table<Api> {
    table
        .route(
            Needs::VIEWER,
            Method::GET,
            "/pins",
            pin_handlers::list,
            Doc::of("listPins", "All pins").answers::<Vec<PinView>>(200),
        )
        .route(
            Needs::VIEWER,
            Method::GET,
            "/scripts/{name}/pins",
            pin_handlers::of_script,
            Doc::of("listScriptPins", "Where a script is pinned")
                .answers::<Vec<PinView>>(200)
                .refuses(404, &["script_not_found"]),
        )
        .route(
            Needs::AUTHOR,
            Method::POST,
            "/scripts/{name}/pins",
            pin_handlers::pin,
            Doc::of(
                "pinScript",
                "Send a script to a runner, or to those that offer some tags",
            )
            .with(&[200, 201])
            .refuses(
                400,
                &["pinned_nowhere", "conflicting_demands", "invalid_tag"],
            )
            .refuses(404, &["script_not_found", "runner_not_found"]),
        )
        .route(
            Needs::AUTHOR,
            Method::DELETE,
            "/scripts/{name}/pins",
            pin_handlers::unpin,
            Doc::of(
                "unpinScript",
                "Take a pin back; all of the script's where the query names no place",
            )
            .with(&[204])
            .refuses(400, &["pinned_nowhere", "invalid_tag"])
            .refuses(404, &["script_not_found", "pin_not_found"]),
        )
}
