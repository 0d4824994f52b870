//! What a benchmark's times add up to. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Some runs or spawns: how long they took together, and each by itself where that is known.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub wall: Duration,
    pub count: usize,
    pub latencies: Vec<Duration>,
}

impl Part {
    pub fn add(&mut self, other: Self) {
        self.wall += other.wall;
        self.count += other.count;
        self.latencies.extend(other.latencies);
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    /// Nearest rank, in milliseconds.
    pub fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted
            .get(rank - 1)
            .map(|latency| latency.as_secs_f64() * 1e3)
    }

    pub fn report(&self) -> Value {
        json!({
            "count": self.count,
            "seconds": rounded(self.wall.as_secs_f64()),
            "runs_per_second": rounded(self.rate()),
            "p50_ms": self.percentile(50).map(rounded),
            "p90_ms": self.percentile(90).map(rounded),
            "p99_ms": self.percentile(99).map(rounded),
        })
    }
}

/// The machine-readable report: both parts, the ratio of their rates, the difference of their p50.
/// In a burst the p50 is mostly waiting in the queue: no difference is drawn from it.
pub fn compare(
    count: u32,
    concurrency: u32,
    burst: bool,
    agent: &str,
    floor: &Part,
    measured: &Part,
) -> Value {
    let difference = measured
        .percentile(50)
        .zip(floor.percentile(50))
        .filter(|_| !burst)
        .map(|(ours, bare)| ours - bare);
    json!({
        "mode": if burst { "burst" } else { "closed loop" },
        "agent": agent,
        "count": count,
        "concurrency": concurrency,
        "floor": floor.report(),
        "measured": measured.report(),
        "rate_ratio": rounded(measured.rate() / floor.rate()),
        "p50_difference_ms": difference.map(rounded),
    })
}

/// From created to ended, by the server's clock.
pub fn served_in(run: &Value) -> Option<Duration> {
    let at = |field: &str| run[field].as_str()?.parse::<Timestamp>().ok();
    Duration::try_from(at("completed_at")?.duration_since(at("created_at")?)).ok()
}

/// When lanes got their turn, each given by its claims: the first and the last of each, in percent of
/// the time from the first claim of all to the last.
pub fn spread(lanes: impl Iterator<Item = Vec<Timestamp>>) -> Value {
    let mut lanes: Vec<Vec<Timestamp>> = lanes.filter(|lane| !lane.is_empty()).collect();
    lanes.iter_mut().for_each(|lane| lane.sort_unstable());
    let (firsts, lasts): (Vec<_>, Vec<_>) = lanes
        .iter()
        .map(|lane| (lane[0], lane[lane.len() - 1]))
        .unzip();
    let (Some(begin), Some(end)) = (firsts.iter().min(), lasts.iter().max()) else {
        return Value::Null;
    };
    let whole = end.duration_since(*begin).as_secs_f64();
    let percent = |at: Option<&Timestamp>| {
        at.map(|at| rounded(at.duration_since(*begin).as_secs_f64() / whole.max(1e-9) * 100.))
    };
    let range = |of: &[Timestamp]| json!({"min_percent": percent(of.iter().min()), "max_percent": percent(of.iter().max())});
    json!({"seconds": rounded(whole), "first": range(&firsts), "last": range(&lasts)})
}

pub fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(wall_ms: u64, latencies_ms: impl IntoIterator<Item = u64>) -> Part {
        let latencies: Vec<_> = latencies_ms
            .into_iter()
            .map(Duration::from_millis)
            .collect();
        Part {
            wall: Duration::from_millis(wall_ms),
            count: latencies.len(),
            latencies,
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred = part(1_000, (1..=100).rev());
        assert_eq!(
            [50, 90, 99].map(|percent| hundred.percentile(percent)),
            [Some(50.), Some(90.), Some(99.)]
        );
        assert_eq!(part(1, [7]).percentile(1), Some(7.));
        assert_eq!(Part::default().percentile(50), None);
    }

    #[test]
    fn rates_and_medians_are_compared() {
        let mut floor = part(50, [2]);
        floor.add(part(50, [2]));
        let report = compare(4, 1, false, "bench-noop", &floor, &part(250, [5, 5, 5, 5]));
        assert_eq!(report["floor"]["runs_per_second"], 20.);
        assert_eq!(report["rate_ratio"], 0.8);
        assert_eq!(report["p50_difference_ms"], 3.);
        assert!(compare(4, 1, true, "x", &floor, &floor)["p50_difference_ms"].is_null());
    }

    #[test]
    fn lanes_are_told_apart_by_when_they_got_their_turn() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let even = spread([vec![at(0), at(9)], vec![at(10), at(1)]].into_iter());
        assert_eq!(
            even["first"],
            json!({"min_percent": 0., "max_percent": 10.})
        );
        assert_eq!(
            even["last"],
            json!({"min_percent": 90., "max_percent": 100.})
        );
        assert!(spread([Vec::new()].into_iter()).is_null());
    }

    #[test]
    fn the_server_s_times_give_a_latency() {
        let run =
            json!({"created_at": "2026-11-20T10:00:00Z", "completed_at": "2026-11-20T10:00:01.5Z"});
        assert_eq!(served_in(&run), Some(Duration::from_millis(1_500)));
        assert_eq!(served_in(&json!({"created_at": null})), None);
    }
}
