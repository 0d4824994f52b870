//! The proof that a runner holds the key it has joined with, instead of a token: its signature of a
//! fixed sentence with its id. Heard by others it opens nothing: the answer holds no secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::{BrokerKey, RunnerId, member};
use nkeys::{KeyPair, KeyPairType};

/// Longer than any: an id, a key and a signature.
const MAX_BYTES: usize = 256;

/// A runner that has shown that it holds this key; whether the key counts is known elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub runner_id: RunnerId,
    pub key: BrokerKey,
}

impl Proof {
    /// Of `<runner id>:<public key>:<signature>`, where the signature is right.
    pub fn checked(text: &str) -> Option<Self> {
        let mut parts = text.split(':').take(4);
        let (id, key, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || text.len() > MAX_BYTES {
            return None;
        }
        let runner_id: RunnerId = id.parse().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let pair = pair(key)?;
        pair.verify(&member::proof_text(&runner_id), &signature)
            .ok()?;
        let key = key.parse().ok()?;
        Some(Self { runner_id, key })
    }
}

/// Whether its checksum is right, so that a broker takes it.
pub fn is_key(key: &BrokerKey) -> bool {
    pair(key.as_str()).is_some()
}

fn pair(key: &str) -> Option<KeyPair> {
    let pair = KeyPair::from_public_key(key).ok()?;
    (pair.key_pair_type() == KeyPairType::User).then_some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(id: &str, pair: &KeyPair) -> String {
        let signed = pair
            .sign(&member::proof_text(&id.parse().unwrap()))
            .unwrap();
        let signed = URL_SAFE_NO_PAD.encode(signed);
        format!("{id}:{}:{signed}", pair.public_key())
    }

    #[test]
    fn only_who_holds_the_key_proves_it() {
        let (own, other) = (KeyPair::new_user(), KeyPair::new_user());
        let good = proof("web-1", &own);
        let checked = Proof::checked(&good).unwrap();
        assert_eq!(checked.runner_id.as_str(), "web-1");
        assert_eq!(checked.key.as_str(), own.public_key());
        let stolen = good.replace(&own.public_key(), &other.public_key());
        let renamed = good.replace("web-1", "web-2");
        let account = proof("web-1", &KeyPair::new_account());
        for bad in [&stolen, &renamed, &account, "", ":::", &format!("{good}:x")] {
            assert_eq!(Proof::checked(bad), None, "{bad}");
        }
    }
}
