//! Lists that are whole unless `limit` is given; then a `Link` header leads to the next page.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `?limit=&offset=`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
pub struct Page {
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

/// The page of `items` that was asked for.
pub fn answer<T: Serialize>(uri: &Uri, page: Page, mut items: Vec<T>) -> (HeaderMap, Json<Vec<T>>) {
    let mut headers = HeaderMap::new();
    let Some(limit) = page.limit else {
        return (headers, Json(items));
    };
    let limit = limit.max(1);
    let end = page.offset.saturating_add(limit);
    if end < items.len()
        && let Ok(link) = HeaderValue::try_from(next(uri, limit, end))
    {
        headers.insert(header::LINK, link);
    }
    items.truncate(end);
    let items = items.split_off(page.offset.min(items.len()));
    (headers, Json(items))
}

/// The same query with another offset.
fn next(uri: &Uri, limit: usize, offset: usize) -> String {
    let query = uri.query().unwrap_or_default().split('&');
    let kept: Vec<&str> = query
        .filter(|pair| {
            !pair.is_empty() && !pair.starts_with("limit=") && !pair.starts_with("offset=")
        })
        .collect();
    let kept = kept.join("&");
    let and = if kept.is_empty() { "" } else { "&" };
    let path = uri.path();
    format!("<{path}?{kept}{and}limit={limit}&offset={offset}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(None, 0, &[1, 2, 3], None)]
    #[case(Some(2), 0, &[1, 2], Some("</agents?tags=a&limit=2&offset=2>; rel=\"next\""))]
    #[case(Some(2), 2, &[3], None)]
    #[case(Some(3), 0, &[1, 2, 3], None)]
    #[case(Some(0), 0, &[1], Some("</agents?tags=a&limit=1&offset=1>; rel=\"next\""))]
    #[case(Some(2), 9, &[], None)]
    fn pages(
        #[case] limit: Option<usize>,
        #[case] offset: usize,
        #[case] items: &[u8],
        #[case] link: Option<&str>,
    ) {
        let uri = Uri::from_static("/agents?tags=a&limit=2");
        let (headers, Json(page)) = answer(&uri, Page { limit, offset }, vec![1, 2, 3]);
        assert_eq!(page, items);
        assert_eq!(
            headers.get(header::LINK).map(|link| link.to_str().unwrap()),
            link
        );
    }
}
