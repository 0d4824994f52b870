//! `GET /broker/accounts`: the accounts and users that a broker of your own needs for the runners that
//! have joined by now. No secrets: public keys only.

use super::state::Api;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

pub async fn accounts(State(api): State<Api>) -> Response {
    let text = (api.broker.accounts)(&api.app.members());
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
