//! `cargo verify` and `cargo soak`: the steps, in order, up to the first that fails.

use crate::checkout::Checkout;
use crate::command::{Output, answers, run};
use crate::fuzzer;
use crate::step::{Outcome, Stopped, step};
use crate::test_runner::{Selection, TestRunner};
use crate::tools;

pub fn verify(checkout: &Checkout) -> Result<(), Stopped> {
    tools::step(checkout)?;
    fuzzer::step(checkout)?;
    cargo(checkout, "format", &["fmt", "--all", "--check"])?;
    cargo(
        checkout,
        "lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    dependencies(checkout)?;
    build(checkout)?;
    cargo(
        checkout,
        "doc tests",
        &["test", "--workspace", "--doc", "--locked"],
    )?;
    // Last, so that the runner's summary ends the output.
    TestRunner::installed(checkout).step(checkout, Selection::Everything)
}

pub fn soak(checkout: &Checkout) -> Result<(), Stopped> {
    tools::step(checkout)?;
    build(checkout)?;
    TestRunner::installed(checkout).step(checkout, Selection::Soak)
}

/// The tests start the binaries, so they are built before any test is. With the tests
/// themselves: built alone, the dependencies would be built again with the tests' features.
fn build(checkout: &Checkout) -> Result<(), Stopped> {
    let arguments = ["build", "--workspace", "--all-targets", "--locked"];
    cargo(checkout, "build", &arguments)
}

fn dependencies(checkout: &Checkout) -> Result<(), Stopped> {
    step("licences and advisories", || {
        if !answers(checkout.cargo(&["deny", "--version"])) {
            return Ok(Outcome::Skipped("cargo-deny is not installed"));
        }
        run(
            &mut checkout.cargo(&["deny", "--workspace", "--locked", "check"]),
            Output::progress(),
        )
    })
}

fn cargo(checkout: &Checkout, name: &str, arguments: &[&str]) -> Result<(), Stopped> {
    step(name, || {
        run(&mut checkout.cargo(arguments), Output::progress())
    })
}
