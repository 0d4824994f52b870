//! The runners that the server lets in, one user each. They are kept in a file as well, so that a
//! server that starts again lets them in before anybody has read the log. Who they are is decided
//! elsewhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::FileError;
use super::accounts::{RunnerUser, render};
use super::credentials::UserKey;
use super::files::{Folder, read_if_there, write_private};
use super::keeper::Reload;

/// A runner and the public half of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerKey {
    /// One word of a subject.
    pub id: String,
    pub key: String,
}

/// Lets runners in and shuts them out while the server runs; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Roster {
    pub(super) folder: Folder,
    pub(super) app: UserKey,
    pub(super) reload: Reload,
}

impl Roster {
    /// Lets these runners in and nobody else. Connections of those who stay are not disturbed; who
    /// is gone from the list is cut off. Takes a write to the disk, and a few milliseconds of the
    /// server after that.
    pub fn admit(&self, runners: &[RunnerKey]) -> Result<(), FileError> {
        let text = serde_json::to_string(runners).unwrap_or_default();
        write_private(&self.folder.roster(), &text)?;
        write_private(&self.folder.accounts_conf(), &accounts(&self.app, runners))?;
        self.reload.now();
        Ok(())
    }
}

/// The runners that were let in last. A file that says nothing readable is none: the log says it
/// again.
pub(super) fn kept(folder: &Folder) -> Result<Vec<RunnerKey>, FileError> {
    let text = read_if_there(&folder.roster())?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// `accounts.conf` with these runners. The server takes no file in which a key stands twice, or
/// one is none: such a runner is left out, rather than all others with it.
#[must_use]
pub fn accounts(app: &UserKey, runners: &[RunnerKey]) -> String {
    let mut seen = BTreeSet::from([app.to_string()]);
    let mut users = Vec::new();
    for RunnerKey { id, key } in runners {
        match key.parse::<UserKey>() {
            Ok(user) if is_word(id) && seen.insert(key.clone()) => {
                users.push(RunnerUser::of(id, user));
            }
            _ => {
                tracing::error!(%id, "a runner's key cannot be given to the broker; it has to join again");
            }
        }
    }
    render(app, &users)
}

/// Nothing that means more than itself in a subject, or in the server's configuration.
fn is_word(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    !id.is_empty() && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nkeys::KeyPair;

    fn runner(id: &str, key: &str) -> RunnerKey {
        let (id, key) = (id.to_owned(), key.to_owned());
        RunnerKey { id, key }
    }

    #[test]
    fn what_the_server_would_not_take_is_left_out() {
        let key = || KeyPair::new_user().public_key();
        let (app, one, two) = (key(), key(), key());
        let text = accounts(
            &app.parse().unwrap(),
            &[
                runner("good", &one),
                runner("again", &one),
                runner("coordinator-key", &app),
                runner("a.>", &two),
                runner("broken", "UXX\" } ]"),
            ],
        );
        assert_eq!(text.matches("nkey:").count(), 2, "{text}");
        assert!(text.contains("run.*.*.good"));
    }
}
