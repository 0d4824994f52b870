//! The contexts that were saved: named coordinators with their address, token file and authorities, in one file
//! of the user's. Which of them a command asks is `settings`'.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failure::Failure;

const FILE: &str = "contexts.toml";
/// Beside it: one file per context whose token was given as text.
const TOKENS: &str = "tokens";
const OWNER_ONLY: u32 = 0o600;
const FOLDER_OWNER_ONLY: u32 = 0o700;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default, rename = "context")]
    pub named: BTreeMap<String, Named>,
}

/// A coordinator as it was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Named {
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Contexts {
    /// Those in the user's folder; none where there is no file.
    pub fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let refused = || Failure::usage(format!("cannot read the contexts in {}", path.display()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(refused().because(error)),
        };
        toml::from_str(&text).map_err(|error| {
            refused()
                .because(error.message().to_owned())
                .hint("delete what is wrong in it, or the file")
        })
    }

    pub fn save(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(FILE);
        let text = toml::to_string(self);
        let written = text
            .map_err(io::Error::other)
            .and_then(|text| write(&path, &text));
        written.map_err(|error| unwritable(&path, error))
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Result<&Named, Failure> {
        self.named.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.named.keys().map(String::as_str).collect();
            let known = match names.is_empty() {
                true => "there are none yet".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            Failure::usage(format!("there is no context `{name}`; {known}"))
                .hint("coordinator context add NAME URL")
        })
    }
}

/// Keeps a token for its owner only; gives the file it is in.
pub fn keep_token(folder: &Path, name: &str, token: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(TOKENS).join(name);
    write(&path, &format!("{token}\n")).map_err(|error| unwritable(&path, error))?;
    Ok(path)
}

/// Takes away the token that was kept for a context; one in a file of the user's own stays.
pub fn forget_token(folder: &Path, name: &str) {
    // One that is not there is gone.
    let _ = fs::remove_file(folder.join(TOKENS).join(name));
}

/// Whole or not at all, and for its owner only.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        let mut make = DirBuilder::new();
        make.recursive(true)
            .mode(FOLDER_OWNER_ONLY)
            .create(folder)?;
    }
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, path)
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::refused(format!("cannot write {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_saved_is_read_back_and_nobody_else_may() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/coordinator");
        assert_eq!(Contexts::load(&folder).unwrap(), Contexts::default());
        let token = keep_token(&folder, "ops", "cor_1").unwrap();
        let mut contexts = Contexts {
            current: Some("ops".to_owned()),
            ..Contexts::default()
        };
        let ops = Named {
            url: "https://ops:8765".to_owned(),
            token_file: Some(token.clone()),
            ca: None,
        };
        contexts.named.insert("ops".to_owned(), ops);
        contexts.save(&folder).unwrap();
        assert_eq!(Contexts::load(&folder).unwrap(), contexts);
        for path in [token, folder.join(FILE)] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_name_that_is_none_is_told_those_there_are() {
        let mut contexts = Contexts::default();
        let here = Named {
            url: "http://127.0.0.1:8765".to_owned(),
            token_file: None,
            ca: None,
        };
        contexts.named.insert("here".to_owned(), here);
        let report = contexts.find("there").unwrap_err().report();
        assert!(report.contains("there are here"), "{report}");
    }
}
