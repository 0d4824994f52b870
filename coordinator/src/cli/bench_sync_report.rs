//! What a benchmark of distribution says: ours, the floor, and the ratio. Pure.

use serde_json::{Value, json};

use super::bench_stats::{Part, rounded};
use super::output::{Column, text};

pub const COLUMNS: &[Column] = &[
    Column::made("MEASURED", |report| text(&report["measured"])),
    Column::made("FLOOR", |report| figures(&report["floor"])),
    Column::made("READY ON DISK", |report| figures(&report["ready"])),
    Column::made("RATIO", |report| format!("{}", report["ratio"])),
    Column::made("PER RUNNER", |report| match &report["per_runner_ms"] {
        Value::Null => String::new(),
        each => format!("{each} ms"),
    }),
];

/// A change to so many runners. The ratio says how many floors its p99 is.
pub fn spread(count: u32, simulated: bool, floor: &Part, ready: &Part) -> Value {
    let kind = if simulated {
        "in one process"
    } else {
        "processes"
    };
    let ratio = ready.percentile(99).zip(floor.percentile(99));
    let rounds = (ready.count as f64 / f64::from(count)).max(1.);
    json!({
        "measured": format!("change to {count} runners, {kind}"),
        "runners": count,
        "simulated": simulated,
        "floor": part(floor),
        "ready": part(ready),
        "ratio": ratio.map(|(ours, bare)| rounded(ours / bare)),
        // Of the last runner's time, a round on average.
        "per_runner_ms": rounded(ready.wall.as_secs_f64() * 1e3 / rounds / f64::from(count)),
    })
}

/// Rebuilds of so many scripts. The ratio is that of the speeds: 1 is as fast as the floor.
pub fn rebuilt(scripts: usize, floor: &Part, ready: &Part) -> Value {
    let ratio = ready.percentile(50).zip(floor.percentile(50));
    json!({
        "measured": format!("rebuild of {scripts} scripts"),
        "scripts": scripts,
        "floor": part(floor),
        "ready": part(ready),
        "ratio": ratio.map(|(ours, bare)| rounded(bare / ours)),
    })
}

fn part(part: &Part) -> Value {
    json!({
        "count": part.count,
        "p50_ms": part.percentile(50).map(rounded),
        "p99_ms": part.percentile(99).map(rounded),
        "max_ms": part.percentile(100).map(rounded),
    })
}

fn figures(part: &Value) -> String {
    format!(
        "p50 {} ms, p99 {} ms, last {} ms",
        part["p50_ms"], part["p99_ms"], part["max_ms"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn took(milliseconds: &[u64]) -> Part {
        let latencies: Vec<Duration> = milliseconds
            .iter()
            .map(|ms| Duration::from_millis(*ms))
            .collect();
        Part {
            wall: latencies.iter().max().copied().unwrap_or_default(),
            count: latencies.len(),
            latencies,
        }
    }

    #[test]
    fn the_last_runner_s_time_is_shared_among_all() {
        let (mut floor, mut ready) = (took(&[1, 2]), took(&[10, 20]));
        floor.add(took(&[1, 2]));
        ready.add(took(&[10, 40]));
        let report = spread(2, true, &floor, &ready);
        assert_eq!(
            (&report["ratio"], &report["per_runner_ms"]),
            (&json!(20.), &json!(15.))
        );
    }

    #[test]
    fn a_rebuild_is_compared_by_its_speed() {
        assert_eq!(rebuilt(200, &took(&[50]), &took(&[80]))["ratio"], 0.625);
    }
}
