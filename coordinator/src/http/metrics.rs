//! `GET /metrics`: how things are, in the text that Prometheus and OpenTelemetry collectors read.

use super::state::Api;
use crate::app::{App, Gauges, LaneView};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use events::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// Lanes with most that wait, each with its numbers: beyond, a series per lane helps nobody and costs
/// everybody. The sums over all of them are always there.
const LANES_MAX: usize = 500;

pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStream {
    stream: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLane {
    lane: String,
    tags: String,
}

type Counts<L> = Family<L, Gauge>;

pub async fn metrics(State(api): State<Api>) -> Response {
    let gauges = api.app.gauges().await;
    let mut registry = Registry::with_prefix("coordinator");
    own(&mut registry, &api);
    broker(&mut registry, &gauges);
    work(&mut registry, &gauges, &api.app);
    lanes(&mut registry, gauges.lanes, api.app.now());
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
}

/// Which program this is.
fn own(registry: &mut Registry, api: &Api) {
    let build = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "Which program answers", Info::new(build));
    let uptime = ConstGauge::new(api.started.elapsed().as_secs_f64());
    registry.register("uptime_seconds", "Since it was started", uptime);
}

fn broker(registry: &mut Registry, gauges: &Gauges) {
    let connected = ConstGauge::new(i64::from(gauges.connected));
    registry.register("broker_connected", "1 while the broker answers", connected);
    let lag: Counts<OfStream> = Family::default();
    for stream in &gauges.streams {
        if let Some(last) = stream.last {
            let label = OfStream {
                stream: stream.stream.name(),
            };
            lag.get_or_create(&label)
                .set(whole(last.saturating_sub(stream.applied)));
        }
    }
    let help = "Events that are stored and that this coordinator has not applied; none while the broker is away";
    registry.register("projection_lag_events", help, lag);
    let quarantined = ConstCounter::new(gauges.quarantined);
    let help = "Messages skipped since the start because they cannot be what they claim";
    registry.register("quarantined_messages", help, quarantined);
    let breaks = ConstGauge::new(whole(gauges.chain_breaks));
    let help = "Messages of the catalogue that do not continue its hash chain";
    registry.register("chain_breaks", help, breaks);
}

fn work(registry: &mut Registry, gauges: &Gauges, app: &App) {
    let runs: Counts<Status> = Family::default();
    for (status, count) in &gauges.runs {
        runs.get_or_create(&Status { status }).set(whole(*count));
    }
    registry.register("runs", "Runs that the log holds, by status", runs);
    let runners: Counts<Status> = Family::default();
    let fleet = gauges.fleet;
    for (status, count) in [
        ("online", fleet.online),
        ("draining", fleet.draining),
        ("stale", fleet.stale),
    ] {
        runners.get_or_create(&Status { status }).set(whole(count));
    }
    registry.register("runners", "Runners that have not left, by status", runners);
    for (name, help, count) in [
        ("scripts", "Scripts there are", gauges.scripts),
        ("agents", "Agents there are", gauges.agents),
    ] {
        registry.register(name, help, ConstGauge::new(whole(count)));
    }
    let help =
        "From a run's request to its claim, as far as it happened while this coordinator was up";
    registry.register("claim_seconds", help, app.pace().claims());
    let help = "From a script's change until a runner says that it holds it, likewise";
    registry.register("sync_seconds", help, app.pace().syncs());
}

fn lanes(registry: &mut Registry, mut lanes: Vec<LaneView>, now: Timestamp) {
    lanes.sort_by_key(|lane| std::cmp::Reverse((lane.waiting, lane.running)));
    let (waiting, running): (Counts<OfLane>, Counts<OfLane>) = Default::default();
    let oldest: Family<OfLane, Gauge<f64, AtomicU64>> = Family::default();
    let all = ConstGauge::new(whole(lanes.len()));
    for lane in lanes.iter().take(LANES_MAX) {
        let label = OfLane {
            lane: lane.lane.to_string(),
            tags: lane.tags.to_string(),
        };
        waiting.get_or_create(&label).set(whole(lane.waiting));
        running.get_or_create(&label).set(whole(lane.running));
        let since = lane.waiting_since.map(|since| now.duration_since(since));
        let seconds = since.map_or(0.0, |since| since.as_secs_f64().max(0.0));
        oldest.get_or_create(&label).set(seconds);
    }
    registry.register("lanes", "Lanes that something needs", all);
    let help = "Runs that nobody has claimed, in the 500 lanes that have most of them";
    registry.register("lane_waiting_runs", help, waiting);
    registry.register("lane_running_runs", "Runs that a runner holds", running);
    let help = "How long the oldest of the waiting runs has waited; 0 where none does";
    registry.register("lane_oldest_waiting_seconds", help, oldest);
}

/// More than an `i64` holds does not occur.
fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
