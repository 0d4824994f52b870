//! Lists that are whole unless `limit` is given; then a `Link` header leads to the next page. A cursor
//! says after which entry a page begins, so what comes and goes in between shifts nothing.

use super::error::ApiError;
use super::page_cache::SentPage;
use super::params::{Limit, QueryOf};
use axum::Json;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The page that is asked for.
pub struct Page {
    uri: Uri,
    query: PageQuery,
    after: Option<String>,
}

#[derive(Clone, Deserialize, JsonSchema)]
pub struct PageQuery {
    /// Entries on a page; without it the list is whole.
    limit: Option<Limit>,
    /// Where the page begins, as the `Link` of the page before has it.
    cursor: Option<String>,
}

/// A list, or a page of it.
pub struct Listed<T> {
    body: Body<T>,
    /// The address of the next page.
    next: Option<String>,
}

enum Body<T> {
    Made(T),
    /// As it was sent before.
    Sent(Bytes),
}

/// Entries of one page.
pub struct Cut<T> {
    entries: Vec<T>,
    next: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let QueryOf(query) = QueryOf::<PageQuery>::from_request_parts(parts, state).await?;
        let after = query.cursor.as_deref().map(read).transpose()?;
        let uri = parts.uri.clone();
        Ok(Self { uri, query, after })
    }
}

impl Page {
    /// The entries of this page out of all, which `key` puts in their order.
    pub fn cut<T>(&self, mut entries: Vec<T>, key: impl Fn(&T) -> String) -> Cut<T> {
        let begin = self.after.as_ref().map_or(0, |after| {
            entries.partition_point(|entry| key(entry) <= *after)
        });
        let mut entries = entries.split_off(begin);
        let limit = self
            .query
            .limit
            .map_or(usize::MAX, |Limit(limit)| limit.get());
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        let next = last.map(|last| self.next(&URL_SAFE_NO_PAD.encode(key(last))));
        Cut { entries, next }
    }

    /// The same address with another cursor.
    fn next(&self, cursor: &str) -> String {
        next(&self.uri, cursor)
    }
}

/// The same address with another cursor.
pub fn next(uri: &Uri, cursor: &str) -> String {
    let query = uri.query().unwrap_or_default().split('&');
    let kept = query.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let cursor = format!("cursor={cursor}");
    let query: Vec<&str> = kept.chain([cursor.as_str()]).collect();
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))
}

impl<T> Cut<T> {
    /// The answer that is made of the entries.
    pub fn shown<V>(self, view: impl FnOnce(Vec<T>) -> V) -> Listed<V> {
        Listed {
            body: Body::Made(view(self.entries)),
            next: self.next,
        }
    }
}

impl<T> From<SentPage> for Listed<T> {
    fn from(page: SentPage) -> Self {
        Self {
            body: Body::Sent(page.body),
            next: page.next,
        }
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Body::Made(body) => Json(body).into_response(),
            Body::Sent(json) => {
                ([(header::CONTENT_TYPE, "application/json")], json).into_response()
            }
        };
        let link = self.next.map(HeaderValue::try_from);
        if let Some(Ok(link)) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

fn read(cursor: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| {
        let cursor = schemas::shown(cursor);
        ApiError::bad_request(
            "invalid_cursor",
            format!("{cursor} is no cursor; follow the Link of the page before"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(uri: &str) -> Page {
        let uri: Uri = uri.parse().unwrap();
        let query = axum::extract::Query::<PageQuery>::try_from_uri(&uri);
        let query = query.unwrap().0;
        let after = query
            .cursor
            .as_deref()
            .map(|cursor| read(cursor).unwrap_or_else(|_| panic!()));
        Page { uri, query, after }
    }

    fn address(link: &str) -> &str {
        let (address, rest) = link.trim_start_matches('<').split_once('>').unwrap();
        assert_eq!(rest, "; rel=\"next\"");
        address
    }

    #[test]
    fn a_list_is_whole_where_no_limit_is_given() {
        let cut = page("/agents?tags=a").cut(vec![1, 2, 3], ToString::to_string);
        assert_eq!((cut.entries, cut.next), (vec![1, 2, 3], None));
    }

    #[test]
    fn what_goes_in_between_shifts_nothing() {
        let first = page("/agents?tags=a&limit=2").cut(vec![1, 2, 3], ToString::to_string);
        let next = first.next.unwrap();
        assert!(
            address(&next).starts_with("/agents?tags=a&limit=2&cursor="),
            "{next}"
        );
        let second = page(address(&next)).cut(vec![1, 3], ToString::to_string);
        assert_eq!((second.entries, second.next), (vec![3], None));
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list(
            names in prop::collection::btree_set("[a-z]{1,3}", 0..30),
            limit in 1_usize..8,
        ) {
            let all: Vec<String> = names.into_iter().collect();
            let mut uri = format!("/x?limit={limit}");
            let mut seen = Vec::new();
            loop {
                let cut = page(&uri).cut(all.clone(), Clone::clone);
                prop_assert!(cut.entries.len() <= limit);
                seen.extend(cut.entries);
                let Some(next) = cut.next else { break };
                uri = address(&next).to_owned();
            }
            prop_assert_eq!(seen, all);
        }
    }

    #[test]
    fn no_cursor() {
        assert!(read("%").is_err());
    }
}
