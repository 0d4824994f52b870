//! Parses the command line and runs it. `serve`, `dev` and what reads the log itself are handed in here,
//! so that `cli` speaks nothing but HTTP.

use clap::Parser as _;
use coordinator::cli::{self, Cli};
use coordinator::{bench_log, dev, serve};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(
        Cli::parse(),
        serve::run,
        dev::run,
        bench_log::run,
        serve::restore,
    )
    .await
}
