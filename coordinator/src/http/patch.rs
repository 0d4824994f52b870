//! The body of a `PATCH`: an object with the fields to change. What each means is `domain::Patch`'s.

use super::body::JsonValue;
use super::error::ApiError;
use super::map;
use crate::app::Patch;
use axum::extract::{FromRequest, Request};

/// The fields to change.
pub struct PatchBody(pub Patch);

impl<S: Send + Sync> FromRequest<S> for PatchBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonValue(body) = JsonValue::from_request(request, state).await?;
        Patch::from_value(body)
            .map(Self)
            .map_err(|error| map::document(&error))
    }
}
