//! `/pins` and `/scripts/{name}/pins`: scripts that were sent somewhere by hand.

use super::body::JsonBody;
use super::error::ApiError;
use super::moment::{At, listed_then};
use super::page_link::Page;
use super::params::{self, Caller, InPath, QueryOf};
use super::state::Api;
use crate::app::{Change, Moment, PinnedScript, Rejection};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use events::catalog::{Pin, Place};
use events::{Lane, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::{Name, Tag};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One runner, or the tags that runners offer.
#[derive(Deserialize, JsonSchema)]
pub struct PlaceBody {
    runner: Option<RunnerId>,
    #[serde(default)]
    tags: BTreeSet<Tag>,
}

/// The same in a query; tags are separated by commas.
#[derive(Deserialize, JsonSchema)]
pub struct PlaceQuery {
    runner: Option<RunnerId>,
    #[serde(default)]
    tags: String,
}

#[derive(Serialize, JsonSchema)]
pub struct PinView {
    script: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<RunnerId>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<Tag>,
    pinned_at: Timestamp,
    lane: Lane,
    /// Online, and holding the script for this pin's sake.
    runners: BTreeSet<RunnerId>,
}

/// One place that a script is, or was, pinned to.
#[derive(Serialize, JsonSchema)]
pub struct PlaceView {
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<RunnerId>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<Tag>,
}

/// A pin as it was: who was online then is not known.
#[derive(Serialize, JsonSchema)]
pub struct PinThenView {
    script: Name,
    #[serde(flatten)]
    place: PlaceView,
    pinned_at: Timestamp,
    lane: Lane,
}

pub async fn list(State(api): State<Api>, page: Page, At(at): At) -> Result<Response, ApiError> {
    pins(&api, None, &page, at).await
}

pub async fn of_script(
    State(api): State<Api>,
    InPath(name): InPath,
    page: Page,
    At(at): At,
) -> Result<Response, ApiError> {
    pins(&api, Some(&name), &page, at).await
}

async fn pins(
    api: &Api,
    script: Option<&Name>,
    page: &Page,
    at: Option<Moment>,
) -> Result<Response, ApiError> {
    let Some(moment) = at else {
        let pins = api.app.pins(script)?.into_iter().map(PinView::from);
        let cut = page.cut(pins.collect(), |pin| {
            place_of(&pin.script, pin.pinned_at, &pin.lane)
        });
        return Ok(cut.shown(|pins| pins).into_response());
    };
    let (as_of, pins) = api.app.pins_at(script, moment).await?;
    let pins = PinThenView::all(&pins);
    let cut = page.cut(pins, |pin| place_of(&pin.script, pin.pinned_at, &pin.lane));
    Ok(listed_then(as_of, cut.shown(|pins| pins).into_response()))
}

/// Its place in the list: by script, oldest first.
fn place_of(script: &Name, pinned_at: Timestamp, lane: &Lane) -> String {
    // With as many digits as the latest time there is has.
    format!("{script} {:020} {lane}", pinned_at.as_microsecond())
}

pub async fn pin(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    JsonBody(body): JsonBody<PlaceBody>,
) -> Result<(StatusCode, Json<PinView>), ApiError> {
    let place = place(body.runner, body.tags)?.ok_or_else(nowhere)?;
    let written = api.app.pin_script(&actor, &name, place).await?;
    let status = match written.change {
        Change::Created => StatusCode::CREATED,
        Change::Changed | Change::Unchanged => StatusCode::OK,
    };
    Ok((status, Json(written.now.into())))
}

/// One pin where the query names its place, else all of the script's.
pub async fn unpin(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    QueryOf(query): QueryOf<PlaceQuery>,
) -> Result<StatusCode, ApiError> {
    let tags = params::tags(&query.tags)?.into_iter().collect();
    let place = place(query.runner, tags)?;
    api.app.unpin_script(&actor, &name, place).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn place(runner: Option<RunnerId>, tags: BTreeSet<Tag>) -> Result<Option<Place>, ApiError> {
    match (runner, tags.is_empty()) {
        (Some(runner_id), true) => Ok(Some(Place::Runner { runner_id })),
        (None, false) => Ok(Some(Place::Tags { tags })),
        (None, true) => Ok(None),
        (Some(_), false) => Err(nowhere()),
    }
}

fn nowhere() -> ApiError {
    crate::app::AppError::from(Rejection::PinnedNowhere).into()
}

impl From<Place> for PlaceView {
    fn from(place: Place) -> Self {
        let (runner, tags) = match place {
            Place::Runner { runner_id } => (Some(runner_id), BTreeSet::new()),
            Place::Tags { tags } => (None, tags),
        };
        Self { runner, tags }
    }
}

impl PinThenView {
    /// By script, oldest first.
    pub fn all(pins: &BTreeMap<Name, Vec<Pin>>) -> Vec<Self> {
        let pins = pins.iter();
        let pins = pins.flat_map(|(script, pins)| pins.iter().map(move |pin| (script, pin)));
        pins.map(|(script, pin)| Self {
            script: script.clone(),
            lane: pin.place.lane_tags().lane(),
            place: pin.place.clone().into(),
            pinned_at: pin.pinned_at,
        })
        .collect()
    }
}

impl From<PinnedScript> for PinView {
    fn from(pinned: PinnedScript) -> Self {
        let lane = pinned.pin.place.lane_tags().lane();
        let PlaceView { runner, tags } = pinned.pin.place.into();
        Self {
            script: pinned.script,
            runner,
            tags,
            pinned_at: pinned.pin.pinned_at,
            lane,
            runners: pinned.runners,
        }
    }
}
