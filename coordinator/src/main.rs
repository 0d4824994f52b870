//! Answers a shell that completes a line, else parses the command line and runs it. `serve`, `dev` and what
//! reads the log itself are handed in here, so that `cli` speaks nothing but HTTP.

#[cfg(feature = "jemalloc")]
mod allocator;

use coordinator::cli::{self, BrokerInitArgs};
use coordinator::{bench_api, bench_log, broker, dev, serve};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    startup::trust::install();
    cli::complete();
    let command_line = match cli::parse() {
        Ok(command_line) => command_line,
        Err(exit) => return exit,
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start working: {error}");
            return ExitCode::FAILURE;
        }
    };
    // On this very thread: children that have to end with us are tied to the thread that spawns them.
    let exit = runtime.block_on(cli::run(
        command_line,
        serve::run,
        dev::run,
        bench_log::run,
        bench_api::run,
        serve::restore,
        broker_folder,
    ));
    startup::traces::finish();
    exit
}

fn broker_folder(args: &BrokerInitArgs) -> anyhow::Result<Vec<PathBuf>> {
    let dir = std::path::absolute(&args.dir)?;
    let store = args.store_dir.clone().unwrap_or_else(|| dir.join("store"));
    Ok(broker::write_folder(&dir, args.listen, &store)?)
}
