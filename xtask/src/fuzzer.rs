//! Fetches schemathesis, which fuzzes the API by its description, into `.tools/schemathesis`, once per
//! content of `fuzz.txt`. Only the tests need it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::checkout::Checkout;
use crate::command::{Output, run};
use crate::step::{self, Failure, Outcome, Stopped};

/// Versions and hashes.
const REQUIREMENTS: &str = include_str!("../fuzz.txt");

/// Holds `REQUIREMENTS` as they were when the fetch had ended.
const STAMP: &str = "fetched.txt";

/// The oldest that its packages run on.
const PYTHON: &str = ">=3.11";

/// After nats-server and uv: it is uv that fetches.
pub fn step(checkout: &Checkout) -> Result<(), Stopped> {
    step::step("fetch schemathesis", || fetch(checkout))
}

fn fetch(checkout: &Checkout) -> Result<Outcome, Failure> {
    let folder = checkout.tools().join("schemathesis");
    if is_complete(&folder) {
        return Ok(Outcome::ThereAlready);
    }
    // With the stamp, which is written last: a fetch that was cut short is begun again.
    match fs::remove_dir_all(&folder) {
        Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::io(
                "remove an earlier .tools/schemathesis",
                &problem,
            ));
        }
        _ => {}
    }
    let mut venv = uv(checkout);
    venv.args(["venv", "--quiet", "--python", PYTHON])
        .arg(&folder);
    run(&mut venv, Output::OnFailure).map_err(with_advice)?;
    let mut install = uv(checkout);
    install
        .args(["pip", "install", "--quiet", "--require-hashes"])
        .args(["--only-binary", ":all:", "--requirement", "xtask/fuzz.txt"])
        .arg("--python")
        .arg(folder.join("bin/python"));
    run(&mut install, Output::OnFailure).map_err(with_advice)?;
    fs::write(folder.join(STAMP), REQUIREMENTS)
        .map_err(|problem| Failure::io("write into .tools/schemathesis", &problem))?;
    Ok(Outcome::Done)
}

fn is_complete(folder: &Path) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == REQUIREMENTS)
}

fn uv(checkout: &Checkout) -> Command {
    checkout.with_tools(Command::new(checkout.tools().join("bin/uv")))
}

fn with_advice(failure: Failure) -> Failure {
    failure.advise(
        "The tests fuzz the API with schemathesis, fetched from PyPI by uv, on a Python of 3.11 or later.\n\
         Without a way to PyPI: point uv to a mirror (UV_DEFAULT_INDEX) and try again.\n\
         xtask/fuzz.txt has the versions.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_pinned_to_one_version_and_its_hashes() {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        let packages = lines.filter(|line| !line.starts_with("    --hash=sha256:"));
        for package in packages {
            assert!(
                package.contains("==") && package.ends_with('\\'),
                "{package}"
            );
        }
        assert!(REQUIREMENTS.contains("\nschemathesis==4.32.5 \\\n"));
    }
}
