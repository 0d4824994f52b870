//! The command line: one file per noun, each speaking HTTP to a coordinator. It knows no other
//! module of this crate; what `serve`, `dev` and `restore` do is handed in by the binary.
//!
//! stdout is data, stderr is everything else; the exit codes are `failure::Exit`.

mod agent;
mod agent_run;
mod apply;
mod apply_diff;
mod apply_report;
mod at;
mod audit;
mod audit_export;
mod audit_replay;
mod audit_timeline;
mod audit_verify;
mod audit_who_ran;
mod backup;
mod bench;
mod bench_api;
mod bench_children;
mod bench_lanes;
mod bench_links;
mod bench_log;
mod bench_spawn;
mod bench_stats;
mod bench_sync;
mod bench_sync_report;
mod broker;
mod capability;
mod client;
mod completion;
mod config;
mod context;
mod context_file;
mod diff;
mod doctor;
mod event;
mod event_tail;
mod export;
mod failure;
mod folder;
mod follow;
mod global;
mod init;
mod input;
mod lane;
mod names;
mod output;
mod plan;
mod progress;
mod prune;
mod refusal;
mod restore;
mod run;
mod run_explain;
mod run_id;
mod run_retry;
mod runner;
mod runner_id;
mod runner_orders;
mod script;
mod script_check;
mod script_edit;
mod script_new;
mod script_pin;
mod script_rollout;
mod script_sync;
mod script_syntax;
mod serve;
mod settings;
mod sse;
mod status;
mod terminal;
mod token;
mod versions;
mod wall;
mod watch;
mod when;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

pub use bench_api::ApiArgs;
pub use bench_log::LogArgs;
pub use broker::InitArgs as BrokerInitArgs;
pub use completion::complete;
use failure::{Exit, Failure};
pub use global::GlobalArgs;
pub use restore::RestoreArgs;
pub use serve::{BrokerArgs, DevArgs, ServeArgs};
pub use settings::parse;
use terminal::note;

/// One place for the scripts that automations and AI agents run
#[derive(Parser, Debug)]
#[command(
    name = "coordinator",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  coordinator dev
  coordinator init automations && coordinator apply -f automations
  coordinator agent run notifier -p message=hello -p channel=ops
  coordinator run list

Exit codes:
  0 ok, 1 refused or failed, 2 usage, 3 cannot reach, 4 not allowed,
  10 run failed, 11 run timed out, 12 run stopped, 13 no runner satisfies the demands,
  130 interrupted"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Serve(ServeArgs),
    Dev(DevArgs),
    Restore(RestoreArgs),
    Init(init::InitArgs),
    /// Contexts: named coordinators, each with its address and token
    #[command(subcommand, alias = "contexts")]
    Context(context::ContextCommand),
    /// Settings: which hold, who said so, and which there are
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Completion(completion::CompletionArgs),
    #[command(flatten)]
    Ask(Ask),
}

/// The commands that ask a running coordinator.
#[derive(Subcommand, Debug)]
pub enum Ask {
    Apply(apply::ApplyArgs),
    Backup(backup::BackupArgs),
    Diff(apply_diff::DiffArgs),
    Export(export::ExportArgs),
    /// Scripts: what the central store holds
    #[command(subcommand, alias = "scripts")]
    Script(script::ScriptCommand),
    /// Agents: what can be run
    #[command(subcommand, alias = "agents")]
    Agent(agent::AgentCommand),
    /// Capabilities: what agents can be given
    #[command(subcommand, alias = "capabilities")]
    Capability(capability::CapabilityCommand),
    /// Lanes: which scripts are held where, by whom, and what waits there
    #[command(subcommand, alias = "lanes")]
    Lane(lane::LaneCommand),
    /// Runs: what ran, what it said, and ending it
    #[command(subcommand, alias = "runs")]
    Run(run::RunCommand),
    /// Runners: the hosts that execute
    #[command(subcommand, alias = "runners")]
    Runner(runner::RunnerCommand),
    /// Audit: what happened, when, by whom, and whether the log still says so
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Events: the log, one by one
    #[command(subcommand, alias = "events")]
    Event(event::EventCommand),
    /// Tokens: who may do what, and until when
    #[command(subcommand, alias = "tokens")]
    Token(token::TokenCommand),
    /// The broker: what one of your own has to know
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    Status(status::StatusArgs),
    Doctor(doctor::DoctorArgs),
    /// Benchmarks
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Runs one command. `serve`, `dev` and `restore` get the data folder and their arguments; `bench_log`
/// and `bench_api` give the report to show, `broker_folder` the files it wrote.
pub async fn run(
    cli: Cli,
    serve: impl AsyncFnOnce(PathBuf, ServeArgs) -> anyhow::Result<()>,
    dev: impl AsyncFnOnce(PathBuf, DevArgs) -> anyhow::Result<()>,
    bench_log: impl AsyncFnOnce(LogArgs) -> anyhow::Result<Value>,
    bench_api: impl AsyncFnOnce(ApiArgs) -> anyhow::Result<Value>,
    restore: impl AsyncFnOnce(PathBuf, RestoreArgs) -> anyhow::Result<()>,
    broker_folder: impl FnOnce(&BrokerInitArgs) -> anyhow::Result<Vec<PathBuf>>,
) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => match cli.global.data_dir() {
            Ok(dir) => serve(dir, args).await.map_err(daemon),
            Err(failure) => Err(failure),
        },
        Command::Dev(args) => match cli.global.data_dir() {
            Ok(dir) => dev(dir, args).await.map_err(daemon),
            Err(failure) => Err(failure),
        },
        Command::Restore(args) => match cli.global.data_dir() {
            Ok(dir) => restore(dir, args).await.map_err(daemon),
            Err(failure) => Err(failure),
        },
        Command::Init(args) => init::run(&cli.global.output(), cli.global.quiet, &args),
        Command::Context(command) => context::run(&cli.global, command),
        Command::Config(command) => config::run(&cli.global, &command),
        Command::Completion(args) => completion::run(&cli.global.output(), &args),
        Command::Ask(Ask::Broker(broker::BrokerCommand::Init(args))) => {
            match broker_folder(&args).map_err(daemon) {
                Ok(files) => broker::written(&cli.global.output(), &files),
                Err(failure) => Err(failure),
            }
        }
        Command::Ask(Ask::Bench(bench::BenchCommand::Log(args))) => {
            match bench_log(args).await.map_err(daemon) {
                Ok(report) => bench_log::show(&cli.global, &report),
                Err(failure) => Err(failure),
            }
        }
        Command::Ask(Ask::Bench(bench::BenchCommand::Api(args))) => {
            match bench_api(args).await.map_err(daemon) {
                Ok(report) => bench_api::show(&cli.global, &report),
                Err(failure) => Err(failure),
            }
        }
        Command::Ask(command) => ask(&cli.global, command).await,
    };
    let exit = match done {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            let report = failure.report();
            if !report.is_empty() {
                note(report.trim_end());
            }
            failure.exit()
        }
    };
    exit.into()
}

async fn ask(global: &GlobalArgs, command: Ask) -> Result<(), Failure> {
    let context = global.context()?;
    match command {
        Ask::Apply(args) => apply::run(&context, &args).await,
        Ask::Backup(args) => backup::run(&context, &args).await,
        Ask::Diff(args) => apply_diff::run(&context, &args).await,
        Ask::Export(args) => export::run(&context, &args).await,
        Ask::Script(command) => script::run(&context, command).await,
        Ask::Agent(command) => agent::run(&context, command).await,
        Ask::Capability(command) => capability::run(&context, command).await,
        Ask::Lane(command) => lane::run(&context, command).await,
        Ask::Run(command) => run::run(&context, command).await,
        Ask::Runner(command) => runner::run(&context, command).await,
        Ask::Audit(command) => audit::run(&context, command).await,
        Ask::Event(command) => event::run(&context, command).await,
        Ask::Token(command) => token::run(&context, command).await,
        Ask::Doctor(args) => doctor::run(&context, global, &args).await,
        Ask::Broker(_) => broker::config(&context).await,
        Ask::Status(args) => status::run(&context, args).await,
        Ask::Bench(command) => bench::run(&context, command).await,
    }
}

fn daemon(error: anyhow::Error) -> Failure {
    let what = error.to_string();
    Failure::refused(what).because(error.into_boxed_dyn_error())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// The page in the tree is what the program says of itself now; `UPDATE=1` writes it.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let page = startup::reference::page(&Cli::command());
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/cli.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == page,
            "schemas/cli.md is out of date: run this test with UPDATE=1"
        );
    }

    /// Every command says what it does, shows examples, and explains each of its flags.
    #[test]
    fn every_command_explains_itself() {
        let mut silent = Vec::new();
        let mut todo = vec![Cli::command()];
        while let Some(command) = todo.pop() {
            let name = command.get_name().to_owned();
            if command.get_about().is_none() {
                silent.push(format!("{name}: about"));
            }
            let examples = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            if !command.has_subcommands() && !examples.contains("Examples:") {
                silent.push(format!("{name}: examples"));
            }
            let flags = command
                .get_arguments()
                .filter(|flag| flag.get_help().is_none());
            silent.extend(flags.map(|flag| format!("{name}: {}", flag.get_id())));
            todo.extend(command.get_subcommands().cloned());
        }
        assert!(silent.is_empty(), "without an explanation: {silent:?}");
    }
}
