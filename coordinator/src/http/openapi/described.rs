//! What a handler's own types say of its route: an extractor tells what it takes and how it refuses,
//! an answer what it looks like. So the document cannot forget a parameter.

use super::operation::Operation;
use crate::http::condition::Tagged;
use crate::http::error::ApiError;
use crate::http::page_link::Listed;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, SchemaGenerator};
use std::future::Future;

/// A part of a request.
pub trait Input {
    fn describe(operation: &mut Operation);
}

/// An answer.
pub trait Output {
    fn describe(operation: &mut Operation);
}

/// A handler. `T` are its parts, so that functions of any number of them may be one.
pub trait Described<T> {
    fn describe(operation: &mut Operation);
}

macro_rules! described {
    ($($part:ident)*) => {
        impl<F, Fut, $($part),*> Described<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Fut,
            Fut: Future<Output: Output>,
            $($part: Input,)*
        {
            fn describe(operation: &mut Operation) {
                $($part::describe(operation);)*
                <Fut::Output as Output>::describe(operation);
            }
        }
    };
}

described!();
described!(A);
described!(A B);
described!(A B C);
described!(A B C D);
described!(A B C D E);
described!(A B C D E G);
described!(A B C D E G H);

impl<T: JsonSchema> Output for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.answers(Some(SchemaGenerator::subschema_for::<T>));
    }
}

/// The status is the document's to say.
impl<T: JsonSchema> Output for (StatusCode, Json<T>) {
    fn describe(operation: &mut Operation) {
        Json::<T>::describe(operation);
    }
}

/// What was written, under its version.
impl<T: JsonSchema> Output for Tagged<T> {
    fn describe(operation: &mut Operation) {
        operation.gives("ETag", "The version, in quotation marks");
        Json::<T>::describe(operation);
    }
}

/// The page that asks for it says how it goes on.
impl<T: JsonSchema> Output for Listed<T> {
    fn describe(operation: &mut Operation) {
        Json::<T>::describe(operation);
    }
}

/// What only says that it was done.
impl Output for StatusCode {
    fn describe(operation: &mut Operation) {
        operation.answers(None);
    }
}

/// The document has to say what it is.
impl Output for Response {
    fn describe(_: &mut Operation) {}
}

impl<O: Output + IntoResponse> Output for Result<O, ApiError> {
    fn describe(operation: &mut Operation) {
        O::describe(operation);
    }
}
