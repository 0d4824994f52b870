//! What a token's text is made of, and what it hashes to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::Digest;
use std::fmt;

/// Makes a token recognisable in a leaked file or a log.
pub(super) const PREFIX: &str = "cor_";
/// 256 bits: nobody guesses it, so a fast hash of it gives nothing away.
const RANDOM_BYTES: usize = 32;

/// The text of a token that was just made. Printing it for debugging does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn fresh() -> Self {
        let bytes = rand::random::<[u8; RANDOM_BYTES]>();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// All that is kept of it.
    pub fn hash(&self) -> Digest {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What tokens are compared by. How long that takes says nothing: who guesses does not know what
/// a guess hashes to before they have the token.
pub fn hash(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike_and_none_is_shown() {
        let (one, two) = (Secret::fresh(), Secret::fresh());
        assert_ne!(one.hash(), two.hash());
        assert!(one.expose().starts_with(PREFIX) && one.expose().len() > 40);
        assert!(!format!("{one:?}").contains(one.expose()));
        assert_eq!(one.hash(), hash(one.expose()));
    }
}
