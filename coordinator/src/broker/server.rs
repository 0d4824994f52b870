//! One program that may be a nats-server: whether it is one, and new enough. Where to look for
//! programs is `locate`'s matter.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use semver::Version;

/// Older servers silently ignore the wildcard check that keeps a run from being claimed twice.
pub const OLDEST: Version = Version::new(2, 12, 0);
pub(super) const PROGRAM: &str = "nats-server";
/// `--version` answers in milliseconds; something else under that name may never answer.
const VERSION_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Far more than a version needs; whatever else answers to `--version` must not fill the memory.
const VERSION_LENGTH: u64 = 4096;

/// A nats-server that can carry us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub path: PathBuf,
    pub version: Version,
}

/// One place, and what was wrong there.
#[derive(Debug)]
pub struct Candidate {
    pub path: PathBuf,
    pub fault: Fault,
}

#[derive(Debug)]
pub enum Fault {
    Missing,
    NotExecutable,
    /// Found by walking upwards, and somebody else may have put it there.
    ForeignOwner,
    TooOld(Version),
    /// Starts, but is no nats-server; or does not start.
    Broken(String),
}

impl Server {
    /// Asks the program for its version.
    pub fn try_at(path: PathBuf) -> Result<Self, Candidate> {
        match ask_version(&path) {
            Ok(version) => Ok(Self { path, version }),
            Err(fault) => Err(Candidate { path, fault }),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not there"),
            Self::NotExecutable => f.write_str("not an executable file"),
            Self::ForeignOwner => {
                f.write_str("belongs to another user, so it is run only if --nats-server names it")
            }
            Self::TooOld(version) => write!(f, "version {version} is too old"),
            Self::Broken(how) => f.write_str(how),
        }
    }
}

fn ask_version(path: &Path) -> Result<Version, Fault> {
    let file = path.metadata().map_err(|_| Fault::Missing)?;
    if !file.is_file() || file.permissions().mode() & 0o111 == 0 {
        return Err(Fault::NotExecutable);
    }
    let answer = run_version(path)?;
    let version = answer
        .split_whitespace()
        .find_map(|word| Version::parse(word.trim_start_matches('v')).ok())
        .filter(|_| answer.starts_with(PROGRAM))
        .ok_or_else(|| {
            Fault::Broken(format!("does not say a version but {:?}", shorten(&answer)))
        })?;
    // A release candidate of the oldest has what we need.
    if (version.major, version.minor) < (OLDEST.major, OLDEST.minor) {
        return Err(Fault::TooOld(version));
    }
    Ok(version)
}

fn run_version(path: &Path) -> Result<String, Fault> {
    let cannot = |error: std::io::Error| Fault::Broken(format!("does not start ({error})"));
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    if !ends_in_time(&mut child).map_err(cannot)? {
        return Err(Fault::Broken("does not answer --version".to_owned()));
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(VERSION_LENGTH)
            .read_to_end(&mut answer)
            .map_err(cannot)?;
    }
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

/// Ends the process if it does not end by itself.
fn ends_in_time(child: &mut Child) -> std::io::Result<bool> {
    let deadline = Instant::now() + VERSION_PATIENCE;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait().map(|_| false)
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rstest::rstest;
    use std::fs::{self, Permissions};

    /// A shell script as `bin/nats-server` in the folder.
    pub fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("bin").join(PROGRAM);
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn says(text: &str) -> String {
        format!("#!/bin/sh\necho '{text}'\n")
    }

    #[rstest]
    #[case::current("nats-server: v2.15.1", Version::new(2, 15, 1))]
    #[case::oldest("nats-server: v2.12.0", Version::new(2, 12, 0))]
    #[case::candidate("nats-server: v2.12.0-RC.2", Version::parse("2.12.0-RC.2").unwrap())]
    fn new_enough_is_taken(#[case] text: &str, #[case] version: Version) {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), &says(text));
        assert_eq!(Server::try_at(path).unwrap().version, version);
    }

    #[rstest]
    #[case::debian(&says("nats-server: v2.9.10"), "version 2.9.10 is too old")]
    #[case::just_too_old(&says("nats-server: v2.11.99"), "version 2.11.99 is too old")]
    #[case::something_else(&says("bash 5.2.15"), "does not say a version but \"bash 5.2.15\"")]
    #[case::silent("#!/bin/sh\n", "does not say a version but \"\"")]
    #[case::no_interpreter("#!/no/such/interpreter\n", "does not start")]
    #[case::no_program("\u{7f}ELF", "does not start")]
    fn what_does_not_fit_says_why(#[case] script: &str, #[case] fault: &str) {
        let folder = tempfile::tempdir().unwrap();
        let candidate = Server::try_at(program(folder.path(), script)).unwrap_err();
        assert!(candidate.to_string().contains(fault), "{candidate}");
    }
}
