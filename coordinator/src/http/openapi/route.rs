//! One route as it is listed.

use super::doc::Doc;
use super::operation::Operation;
use crate::http::needs::Needs;
use axum::http::Method;

#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub needs: Needs,
    pub doc: Doc,
    /// What its handler's types say.
    pub describe: fn(&mut Operation),
}
