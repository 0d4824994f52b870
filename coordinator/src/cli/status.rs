//! `coordinator status`: is it there, is its broker there, has it caught up.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::global::Context;
use super::output::{Column, text};
use super::progress::size;
use super::when;

const EXAMPLES: &str = "\
Examples:
  coordinator status
  coordinator status -o json | jq .broker.durability";

const COLUMNS: &[Column] = &[
    Column::text("VERSION", "/version"),
    Column::made("UP", up),
    Column::made("BROKER", broker),
    Column::text("DURABILITY", "/broker/durability"),
    Column::made("READ MODEL", projection),
    Column::made("HASH CHAIN", chain),
    Column::made("KEPT", kept),
    Column::text("SCRIPTS", "/counts/scripts"),
    Column::text("AGENTS", "/counts/agents"),
    Column::text("LIVE RUNS", "/counts/runs_live"),
    Column::text("RUNNERS", "/counts/runners_online"),
];

/// Show the coordinator's state: broker, read model, counts
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {}

pub async fn run(context: &Context, _args: StatusArgs) -> Result<(), Failure> {
    let status = context.client.get(&["status"], &[]).await?;
    context.output.show(&status, "version", COLUMNS)
}

fn up(status: &Value) -> String {
    status["uptime_seconds"]
        .as_f64()
        .map_or_else(String::new, |seconds| when::compact(seconds as i64))
}

fn broker(status: &Value) -> String {
    let broker = &status["broker"];
    let state = match broker["connected"].as_bool() {
        Some(true) => "connected",
        Some(false) => "AWAY",
        None => "unknown",
    };
    let version = text(&broker["server_version"]);
    let mode = text(&broker["mode"]);
    [state, &mode, &text(&broker["url"]), &version]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn projection(status: &Value) -> String {
    let projection = &status["projection"];
    match projection["lag"].as_u64() {
        Some(0) => format!(
            "up to date (catalog {}, runs {})",
            text(&projection["catalog_seq"]),
            text(&projection["runs_seq"])
        ),
        Some(lag) => format!("{lag} events behind"),
        None => String::new(),
    }
}

/// Only where something is wrong with it.
fn chain(status: &Value) -> String {
    let projection = &status["projection"];
    match projection["chain_breaks"].as_u64() {
        None | Some(0) => String::new(),
        Some(_) => format!(
            "BROKEN at {}; see `coordinator audit verify`",
            text(&projection["chain_first_break"])
        ),
    }
}

/// What is not kept for ever, and how full what has a size is.
fn kept(status: &Value) -> String {
    let streams = status["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let limited = streams.iter().filter_map(|stream| {
        let time = stream["kept_seconds"].as_i64().map(when::compact);
        let room = stream["max_bytes"].as_u64().map(|max| {
            let bytes = stream["bytes"].as_u64().unwrap_or_default();
            format!("{} of {}", size(bytes), size(max))
        });
        let limits: Vec<String> = time.into_iter().chain(room).collect();
        let name = text(&stream["name"]).to_lowercase();
        (!limits.is_empty()).then(|| format!("{name} {}", limits.join(", ")))
    });
    limited.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_broker_that_is_away_stands_out() {
        let status = json!({"broker": {"mode": "embedded", "url": "nats://127.0.0.1:4222", "connected": false}});
        assert_eq!(broker(&status), "AWAY, embedded, nats://127.0.0.1:4222");
        assert_eq!(
            projection(&json!({"projection": {"lag": 3}})),
            "3 events behind"
        );
        let broken = json!({"projection": {"chain_breaks": 1, "chain_first_break": 7}});
        assert!(chain(&broken).starts_with("BROKEN at 7"));
        assert_eq!(chain(&json!({"projection": {"chain_breaks": 0}})), "");
    }
}
