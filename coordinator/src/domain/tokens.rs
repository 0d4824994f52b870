//! Tokens: given out and taken back. Whose text hashes to what is not seen here.

use super::{Decision, Rejection};
use events::Timestamp;
use events::catalog::{Catalog, CatalogEvent, Kind};
use events::token::{Issued, Token};
use schemas::Name;

/// Every request looks through them; and whoever has a thousand has lost sight of them.
pub const TOKENS_MAX: usize = 1_000;

/// Who acts under these names holds no token of the catalogue.
pub const RESERVED: [&str; 2] = ["admin", "anonymous"];

/// A token of a new name. The name of one that has expired, or is used up, may be used again.
///
/// # Errors
/// When the name is taken or not to be had, the end is in the past, or there are too many.
pub fn create(catalog: &Catalog, token: &Token, now: Timestamp) -> Result<Decision, Rejection> {
    if RESERVED.contains(&token.name.as_str()) {
        let name = token.name.clone();
        return Err(Rejection::TokenNameReserved { name });
    }
    if token.expires_at.is_some_and(|end| end <= now) {
        return Err(Rejection::TokenLifetime);
    }
    let is_over = |issued: &Issued| issued.used.is_some() || issued.is_expired(now);
    match catalog.tokens.get(&token.name) {
        Some(issued) if !is_over(issued) => {
            let (kind, name) = (Kind::Token, token.name.clone());
            return Err(Rejection::Exists { kind, name });
        }
        None if catalog.tokens.len() >= TOKENS_MAX => return Err(Rejection::TooManyTokens),
        _ => {}
    }
    Ok(Decision::append(CatalogEvent::TokenCreated(token.clone())))
}

/// It opens nothing any more.
///
/// # Errors
/// When there is no such token.
pub fn revoke(catalog: &Catalog, name: &Name) -> Result<Decision, Rejection> {
    if !catalog.tokens.contains_key(name) {
        let (kind, name) = (Kind::Token, name.clone());
        return Err(Rejection::NotFound { kind, name });
    }
    let name = name.clone();
    Ok(Decision::append(CatalogEvent::TokenRevoked { name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{evolved, given, name};
    use events::Role;
    use schemas::Digest;

    const NOW: i64 = 1_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(name: &str, expires_at: Option<i64>) -> Token {
        Token {
            name: self::name(name),
            role: Role::Operator,
            hash: Digest::of(name.as_bytes()),
            expires_at: expires_at.map(at),
        }
    }

    fn with(token: Token) -> Catalog {
        given([CatalogEvent::TokenCreated(token)])
    }

    #[test]
    fn a_name_is_given_once_and_again_when_its_token_is_over() {
        let catalog = with(token("ci", Some(NOW + 1)));
        let again = |now| create(&catalog, &token("ci", None), at(now));
        assert!(matches!(again(NOW), Err(Rejection::Exists { .. })));
        assert!(again(NOW + 1).is_ok());
        let gone = evolved(catalog.clone(), revoke(&catalog, &name("ci")).unwrap());
        assert!(create(&gone, &token("ci", None), at(NOW)).is_ok());
        assert!(revoke(&gone, &name("ci")).is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let nothing = Catalog::default();
        for reserved in RESERVED {
            assert!(create(&nothing, &token(reserved, None), at(NOW)).is_err());
        }
        let past = create(&nothing, &token("ci", Some(NOW)), at(NOW));
        assert_eq!(past, Err(Rejection::TokenLifetime));
        let all =
            (0..TOKENS_MAX).map(|n| CatalogEvent::TokenCreated(token(&format!("t{n}"), None)));
        let full = create(&given(all), &token("ci", None), at(NOW));
        assert_eq!(full, Err(Rejection::TooManyTokens));
    }
}
