//! Parses the command line and runs it. `serve` and `dev` are handed in here, so that `cli` itself
//! speaks nothing but HTTP.

use clap::Parser as _;
use coordinator::cli::{self, Cli};
use coordinator::{dev, serve};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse(), serve::run, dev::run).await
}
