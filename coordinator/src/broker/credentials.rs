//! The keys with which coordinator and runners prove who they are to the broker.
//!
//! A key pair is made at the first start and kept; the server only ever learns public keys.
//! What a key may do is `accounts`' matter.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nkeys::{KeyPair, KeyPairType};

use super::files::{FileError, read_if_there, write_private};

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{} does not hold a user's seed (it should begin with SU); restore it from a backup, or \
         delete it to have a new one made at the next start", path.display()
    )]
    Damaged { path: PathBuf },
}

/// A user's public key (`U…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKey(String);

impl UserKey {
    /// Text that stands for a key that the reader has to put there.
    #[must_use]
    pub fn placeholder(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Text that is no user's public key.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a user's public key (56 letters and digits that begin with U)")]
pub struct InvalidUserKey {
    text: String,
}

impl FromStr for UserKey {
    type Err = InvalidUserKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match KeyPair::from_public_key(text) {
            Ok(pair) if pair.key_pair_type() == KeyPairType::User => Ok(Self(text.to_owned())),
            _ => Err(InvalidUserKey {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user's secret seed (`SU…`). Printing it for debugging does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(String);

impl Seed {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Seed {
    /// The public half of a seed that came from elsewhere.
    #[must_use]
    pub fn public(text: &str) -> Option<UserKey> {
        Credential::parse(text).map(|credential| credential.key)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// One user: the secret and what the server may know of it.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    pub seed: Seed,
    pub key: UserKey,
}

impl Credential {
    /// Reads the seed from `path`; where there is none, makes one and stores it there.
    pub fn load_or_create(path: &Path) -> Result<Self, CredentialError> {
        match read_if_there(path)? {
            Some(text) => Self::parse(text.trim()).ok_or_else(|| CredentialError::Damaged {
                path: path.to_path_buf(),
            }),
            None => Self::create(path),
        }
    }

    fn create(path: &Path) -> Result<Self, CredentialError> {
        let pair = KeyPair::new_user();
        // A new pair always has its private half.
        let seed = pair.seed().map_err(|_| CredentialError::Damaged {
            path: path.to_path_buf(),
        })?;
        write_private(path, &format!("{seed}\n"))?;
        Ok(Self {
            key: UserKey(pair.public_key()),
            seed: Seed(seed),
        })
    }

    fn parse(seed: &str) -> Option<Self> {
        let pair = KeyPair::from_seed(seed).ok()?;
        (pair.key_pair_type() == KeyPairType::User).then(|| Self {
            key: UserKey(pair.public_key()),
            seed: Seed(seed.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_seed_is_made_once_and_then_reused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.nk");
        let first = Credential::load_or_create(&path).unwrap();
        let second = Credential::load_or_create(&path).unwrap();
        assert!(first.seed.expose().starts_with("SU"));
        assert_eq!(first.key, second.key);
        assert_eq!(first.seed, second.seed);
    }

    #[rstest]
    #[case::empty("")]
    #[case::text("not a seed")]
    #[case::account_seed(&KeyPair::new_account().seed().unwrap())]
    #[case::public_key(&KeyPair::new_user().public_key())]
    fn what_is_no_user_seed_is_refused_and_left_alone(#[case] text: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.nk");
        std::fs::write(&path, text).unwrap();
        let error = Credential::load_or_create(&path).unwrap_err();
        assert!(
            error.to_string().contains("app.nk does not hold"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn only_a_users_public_key_is_one() {
        let user = KeyPair::new_user();
        assert!(user.public_key().parse::<UserKey>().is_ok());
        let account = KeyPair::new_account().public_key();
        for text in ["", "U", &account, &user.seed().unwrap(), "U\" } ] } # "] {
            assert!(text.parse::<UserKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let user = Credential::load_or_create(&folder.path().join("x.nk")).unwrap();
        assert!(!format!("{user:?}").contains(user.seed.expose()));
    }
}
