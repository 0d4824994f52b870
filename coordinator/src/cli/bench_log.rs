//! `coordinator bench log`: its arguments, and how its report is shown. What it measures is handed in by
//! the binary, for it reads the log itself.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::global::GlobalArgs;
use super::output::{Column, text};

const FIELDS: &[Column] = &[
    Column::made("EVENTS", |report| {
        format!(
            "{} of {} runs",
            text(&report["events"]),
            text(&report["runs"])
        )
    }),
    Column::made("BARE CONSUMER", |report| {
        format!("{} events/s", text(&report["rebuild"]["bare_per_second"]))
    }),
    Column::made("REBUILD", |report| {
        let rebuild = &report["rebuild"];
        let (rate, ratio) = (
            text(&rebuild["rebuilt_per_second"]),
            text(&rebuild["rate_ratio"]),
        );
        format!("{rate} events/s, {ratio} of the bare rate")
    }),
    Column::made("FEW RUNS", |report| costs(&report["few"])),
    Column::made("MANY RUNS", |report| costs(&report["many"])),
    Column::made("MANY TO FEW", |report| {
        format!(
            "list {}, one {}, memory {}",
            text(&report["list_ratio"]),
            text(&report["one_ratio"]),
            text(&report["memory_ratio"])
        )
    }),
    Column::made("ONE SCRIPT THEN", |report| {
        let past = &report["past"];
        format!(
            "p50 {} ms ({} versions among {} events; a bare read of all: {} ms)",
            text(&past["one_p50_ms"]),
            text(&past["versions"]),
            text(&past["events"]),
            text(&past["whole_log_ms"])
        )
    }),
    Column::made("ALL SCRIPTS THEN", |report| {
        let past = &report["past"];
        format!(
            "{} ms, again {} ms",
            text(&past["list_ms"]),
            text(&past["list_again_ms"])
        )
    }),
];

/// Measure what reading the log costs, beside a bare consumer of the same client
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coordinator bench log
  coordinator bench log --events 1000000 -o json | jq .rebuild.rate_ratio

It needs no coordinator: it starts a broker of its own in a temporary folder, fills it, and removes it.
Rates are of building what the coordinator shows from the log, and of reading it only, by turns. Memory
and answers are those of a coordinator over 1,000 runs, and over all of them. A million events take some
minutes and 2 GB of disk.")]
pub struct LogArgs {
    /// How many events of runs, and how many of the catalogue
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(4_000..=10_000_000))]
    pub events: u64,

    /// How many versions one script has among them
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub versions: u32,
}

pub fn show(global: &GlobalArgs, report: &Value) -> Result<(), Failure> {
    global.output().show(report, "events", FIELDS)
}

fn costs(costs: &Value) -> String {
    format!(
        "{}: list p50 {} ms, one p50 {} ms, memory {} KiB",
        text(&costs["runs"]),
        text(&costs["list_p50_ms"]),
        text(&costs["one_p50_ms"]),
        text(&costs["rss_kib"])
    )
}
