//! What a request addresses means one thing only, to us and to every proxy in front of us: a path
//! that could be read in two ways is refused before anything looks at it.

use super::error::ApiError;
use axum::http::HeaderMap;
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH, ORIGIN,
};

/// Who sends one of these twice wants us to read one and somebody else the other.
const ONCE: [HeaderName; 5] = [AUTHORIZATION, CONTENT_TYPE, ORIGIN, IF_MATCH, IF_NONE_MATCH];

/// # Errors
/// 400, with what is ambiguous.
pub fn check(path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
    if !is_plain(path) {
        let detail =
            "The path has `//`, `.`, `..`, or a slash, backslash or control character in a name";
        return Err(ApiError::bad_request("invalid_path", detail)
            .hint("write each name once, between single slashes"));
    }
    match ONCE
        .iter()
        .find(|name| headers.get_all(*name).iter().count() > 1)
    {
        Some(twice) => {
            let detail = format!("The header {twice} stands there more than once");
            Err(ApiError::bad_request("repeated_header", detail))
        }
        None => Ok(()),
    }
}

fn is_plain(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    // The last one may be empty: `/` itself, and what ends in a slash, which is nowhere.
    !path.contains("//") && segments.split('/').all(is_plain_segment)
}

fn is_plain_segment(segment: &str) -> bool {
    let Some(decoded) = decoded(segment.as_bytes()) else {
        return false;
    };
    let harmless = |b: &u8| !matches!(b, b'/' | b'\\' | 0x7f) && *b >= b' ';
    decoded != b"." && decoded != b".." && decoded.iter().all(harmless)
}

/// Percent signs taken off once, as the router does; none where one is followed by no number.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        bytes.extend(byte);
        rest = after;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/", true)]
    #[case("/scripts", true)]
    #[case("/scripts/", true)]
    #[case("/agents/a%20b", true)]
    #[case("/sessions/a.b:c", true)]
    #[case("/sessions/..a", true)]
    #[case("/scripts/%ff", true)]
    #[case("//scripts", false)]
    #[case("/scripts//x", false)]
    #[case("/scripts/../tokens", false)]
    #[case("/scripts/.", false)]
    #[case("/scripts/%2e%2E/tokens", false)]
    #[case("/scripts/.%2e", false)]
    #[case("/scripts/a%2fb", false)]
    #[case("/scripts/..%5c..", false)]
    #[case("/scripts/a\\b", false)]
    #[case("/scripts/a%00", false)]
    #[case("/scripts/a%0d%0aX:y", false)]
    #[case("/scripts/%", false)]
    #[case("/scripts/%zz", false)]
    #[case("*", false)]
    #[case("", false)]
    fn only_plain_paths(#[case] path: &str, #[case] plain: bool) {
        assert_eq!(check(path, &HeaderMap::new()).is_ok(), plain);
    }

    #[test]
    fn a_header_that_counts_stands_there_once() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "Bearer a".parse().unwrap());
        assert!(check("/", &headers).is_ok());
        headers.append(AUTHORIZATION, "Bearer b".parse().unwrap());
        assert!(check("/", &headers).is_err());
    }
}
