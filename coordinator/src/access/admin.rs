//! The admin token: made at the first start, kept in the data folder for its owner only, and
//! compared without telling by the time it takes how much of a guess was right. It belongs to one
//! coordinator and is in no event, so that there is always a way in.

use super::secret::{PREFIX, Secret};
use sha2::{Digest as _, Sha256};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// In the data folder; the CLI on the same host reads it.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// What a file must hold at least to count as a token: 128 bits' worth of text.
const SHORTEST: usize = PREFIX.len() + 22;
const OWNER_ONLY: u32 = 0o600;

/// The token that may do everything.
#[derive(Clone)]
pub struct AdminToken {
    text: String,
    hash: [u8; 32],
}

/// A token that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot {action} the admin token {}; check that the data folder belongs to this user and its disk has space", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold a token (it should begin with {PREFIX}); delete it to have a new one made at the next start", path.display())]
    Damaged { path: PathBuf },
}

impl AdminToken {
    /// The name under which its holder stands in events.
    pub const HOLDER: &str = "admin";

    /// The token in the data folder; makes one where there is none.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(ADMIN_TOKEN_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                protect(&path).map_err(failed("protect", &path))?;
                Self::parse(text.trim()).ok_or(TokenError::Damaged { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = Self::of(Secret::fresh().expose().to_owned());
                write(&path, &token.text).map_err(failed("write", &path))?;
                Ok(token)
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// A token from its text, where that is one.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        (text.starts_with(PREFIX) && text.len() >= SHORTEST && plain)
            .then(|| Self::of(text.to_owned()))
    }

    /// Whether the presented text is this token.
    pub fn is(&self, presented: &str) -> bool {
        // Hashes have one length, and a difference in any byte takes the same time.
        let presented = Sha256::digest(presented);
        let pairs = self.hash.iter().zip(presented);
        pairs.fold(0, |difference, (ours, theirs)| difference | (ours ^ theirs)) == 0
    }

    /// The token itself, for whoever acts in its name.
    pub fn expose(&self) -> &str {
        &self.text
    }

    fn of(text: String) -> Self {
        let hash = Sha256::digest(&text).into();
        Self { text, hash }
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Whole or not at all: a crash in between leaves no half token.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(&unfinished)?;
    // The mode above counts only for a file that is new.
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

/// A copy or a backup may have left it open to others.
fn protect(path: &Path) -> io::Result<()> {
    let mode = path.metadata()?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the admin token was readable by others; delete it for a new one if somebody may have read it");
    fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TokenError {
    let path = path.to_path_buf();
    move |source| TokenError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let made = AdminToken::load_or_create(dir.path()).unwrap();
        let file = dir.path().join(ADMIN_TOKEN_FILE);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let read = AdminToken::load_or_create(dir.path()).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(read.is(made.expose()));
        assert!(made.expose().len() > 40);
    }

    #[test]
    fn only_the_whole_token_is_it() {
        let dir = tempfile::tempdir().unwrap();
        let token = AdminToken::load_or_create(dir.path()).unwrap();
        let text = token.expose().to_owned();
        for wrong in ["", PREFIX, &text[..text.len() - 1], &format!("{text}x")] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&text));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(ADMIN_TOKEN_FILE), "cor_x\n").unwrap();
        let error = AdminToken::load_or_create(dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("admin.token") && error.contains("delete it"),
            "{error}"
        );
    }
}
