//! The key by which the broker knows this runner: made here, kept in the state folder for its owner
//! only, and never sent to anybody. Where it opens something is `join`'s to find out.

use crate::private::{private_folder, write_private};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::{RunnerId, member};
use nkeys::{KeyPair, KeyPairType};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In the state folder.
const FILE: &str = "nkey.seed";

/// A key pair of this runner's own. Printing it for debugging does not show it.
pub struct Key {
    pair: KeyPair,
    seed: String,
}

impl Key {
    /// The kept one; makes one where there is none, or none that can be read.
    pub fn load_or_create(state_dir: &Path) -> io::Result<Self> {
        match Self::kept(state_dir)? {
            Some(key) => Ok(key),
            None => Self::fresh(state_dir),
        }
    }

    pub fn kept(state_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(file(state_dir)) {
            Ok(seed) => Ok(Self::of(seed.trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A new one in the place of the kept one. On the disk before anybody hears of it: a key that
    /// was let in and is lost would be a runner that cannot come back.
    pub fn fresh(state_dir: &Path) -> io::Result<Self> {
        let seed = KeyPair::new_user().seed().map_err(io::Error::other)?;
        private_folder(state_dir)?;
        write_private(&file(state_dir), format!("{seed}\n").as_bytes())?;
        Self::of(&seed).ok_or_else(|| io::Error::other("a new key is none"))
    }

    /// `U…`, for everybody to see.
    pub fn public(&self) -> String {
        self.pair.public_key()
    }

    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// What shows a coordinator that we hold this key: for the header `Authorization`, after `Nkey`.
    pub fn proof(&self, id: &RunnerId) -> io::Result<String> {
        let signed = self.pair.sign(&member::proof_text(id));
        let signed = signed.map_err(io::Error::other)?;
        let signed = URL_SAFE_NO_PAD.encode(signed);
        Ok(format!("{id}:{}:{signed}", self.public()))
    }

    fn of(seed: &str) -> Option<Self> {
        let pair = KeyPair::from_seed(seed).ok()?;
        (pair.key_pair_type() == KeyPairType::User).then(|| Self {
            pair,
            seed: seed.to_owned(),
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.public())
    }
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_kept_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert!(Key::kept(&state).unwrap().is_none());
        let made = Key::load_or_create(&state).unwrap();
        let again = Key::load_or_create(&state).unwrap();
        assert_eq!(made.public(), again.public());
        let mode = file(&state).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{made:?}").contains(made.seed()));
        let other = Key::fresh(&state).unwrap();
        assert_ne!(other.public(), made.public());
        fs::write(file(&state), "nothing").unwrap();
        assert_ne!(
            Key::load_or_create(&state).unwrap().public(),
            other.public()
        );
    }
}
