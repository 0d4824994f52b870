//! `coordinator bench api`: its arguments, and how its report is shown. What it measures is handed in by
//! the binary, for it runs a coordinator itself.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::global::GlobalArgs;
use super::output::{Column, text};

const FIELDS: &[Column] = &[
    Column::made("ONE SCRIPT", |report| rate(&report["script"])),
    Column::made("A PAGE OF RUNS", |report| rate(&report["runs"])),
    Column::made("IDLE RUNNERS", |report| {
        let idle = &report["idle"];
        format!(
            "{} that wait take {} of a core",
            text(&idle["runners"]),
            text(&idle["cores"])
        )
    }),
];

/// Measure what the API answers per second, beside a bare route of the same framework
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator bench api
  coordinator bench api --requests 50000 -o json | jq .script.rate_ratio

It needs no coordinator: it starts one in a temporary folder, with a broker, and removes it. The bare
route answers a constant of the same size in the same process; both are asked by turns. Runners that
wait over HTTP are counted with the client that plays them.")]
pub struct ApiArgs {
    /// Requests per round and address
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub requests: usize,

    /// Connections that ask at the same time
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub connections: usize,

    /// Runners that wait for work by long polls
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub pollers: usize,

    /// How long the waiting runners are watched
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub idle_seconds: u64,
}

pub fn show(global: &GlobalArgs, report: &Value) -> Result<(), Failure> {
    global.output().show(report, "script", FIELDS)
}

fn rate(measured: &Value) -> String {
    format!(
        "{} requests/s, {} of the bare rate of {} ({} bytes)",
        text(&measured["per_second"]),
        text(&measured["rate_ratio"]),
        text(&measured["bare_per_second"]),
        text(&measured["bytes"])
    )
}
