//! What the runner and a guard say to each other: one JSON document per line, over a stream socket.
//!
//! The runner sends [`Command`]s, a guard answers with [`Event`]s. A stream has no limit on the size of a
//! message, a datagram has (about 200 KiB). Not here: who reads and writes when.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::sandbox::Rule;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest accepted line. The kernel takes about 2 MiB of arguments and environment, which JSON's escapes can
/// make six times as long.
const LINE_LIMIT: usize = 16 * 1024 * 1024;

/// One process to start. Complete: the process inherits nothing else from the runner.
///
/// Has no `Debug`: the environment may hold secrets.
#[derive(Serialize, Deserialize)]
pub struct Spec {
    /// Absolute path of the program.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub umask: u32,
    pub limits: ResourceLimits,
    /// What it may reach; `None` for whatever its user can.
    pub sandbox: Option<Vec<Rule>>,
    /// How long the tree may take to end after TERM, before KILL.
    pub grace: Duration,
}

/// Limits of the script and of what it starts. A value above the runner's own hard limit means that one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    pub open_files: Option<u64>,
    /// Counted by the kernel per user, not per run.
    pub processes: Option<u64>,
    pub file_size_bytes: Option<u64>,
    pub address_space_bytes: Option<u64>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// The one number a shell would show: the exit code, or 128 + signal.
    #[must_use]
    pub fn return_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Why a program was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    NoProgram,
    NotExecutable,
    NoWorkingDirectory,
    NoSandbox,
    Other,
}

/// What a runner asks of a guard, in this order; the first comes with the script's stdout and stderr.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "spec", rename_all = "snake_case")]
pub(super) enum Command {
    /// Make ready whatever does not start anything.
    Prepare(Box<Spec>),
    /// Start the script.
    Go,
    Stop,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event {
    /// The script lacks nothing but the word to start.
    Ready,
    Spawned {
        pid: u32,
    },
    SpawnFailed {
        reason: Refusal,
        message: String,
    },
    /// The script's own process ended; what it left behind may still live.
    Exited {
        exit: Exit,
    },
    /// Nothing of the tree is left.
    Gone {
        swept: u32,
        max_rss_bytes: u64,
    },
    /// The launcher died; the guard has ended the tree because of it.
    LauncherGone,
}

/// `message` as one line. Serialised JSON holds no line break of its own.
pub(super) fn line(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Bytes that arrived, taken apart into lines.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// How much of `pending` is known to hold no line break.
    searched: usize,
}

impl Lines {
    pub fn extend(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.pending.len() + bytes.len() > LINE_LIMIT {
            return Err(io::Error::other("a control message is over the limit"));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next message, if a whole line is there.
    pub fn next<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        let unsearched = &self.pending[self.searched..];
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.pending.len();
            return Ok(None);
        };
        let end = self.searched + found;
        let message = serde_json::from_slice(&self.pending[..end]);
        self.pending.drain(..=end);
        self.searched = 0;
        Ok(Some(message?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_cut() {
        let sent = [
            Event::Spawned { pid: 7 },
            Event::Exited {
                exit: Exit::Signal(9),
            },
            Event::LauncherGone,
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(|e| line(e).unwrap()).collect();
        for cut in 0..bytes.len() {
            let mut lines = Lines::default();
            let mut received = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                lines.extend(part).unwrap();
                while let Some(event) = lines.next::<Event>().unwrap() {
                    received.push(event);
                }
            }
            assert_eq!(received, sent, "cut at {cut}");
        }
    }

    #[test]
    fn a_signal_is_shown_as_a_shell_shows_it() {
        assert_eq!(Exit::Signal(15).return_code(), 143);
        assert_eq!(Exit::Code(3).return_code(), 3);
    }
}
