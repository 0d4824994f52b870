//! `/metrics`.

use super::world::World;
use std::collections::BTreeMap;

impl World {
    /// Every series with its value.
    async fn series(&self) -> BTreeMap<String, f64> {
        let answer = self.ask("GET", "/metrics").await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
        pairs
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }
}

#[tokio::test]
async fn they_follow_what_happens() {
    let world = World::with_deployer().await;
    world.registered().await;
    let run_id = world.requested().await;
    let lane = r#"lane="52fa0bee2c988cf518cf62185c96f400",tags="{bash, type:procedural}""#;
    let waiting = format!("coordinator_lane_waiting_runs{{{lane}}}");
    let oldest = format!("coordinator_lane_oldest_waiting_seconds{{{lane}}}");

    let before = world.series().await;
    assert_eq!(before[r#"coordinator_runs{status="pending"}"#], 1.0);
    assert_eq!((before["coordinator_lanes"], before[&waiting]), (1.0, 1.0));
    assert!(before[&oldest] > 0.0);
    assert_eq!(before["coordinator_claim_seconds_count"], 0.0);
    assert_eq!(before["coordinator_broker_connected"], 1.0);
    assert_eq!(
        before[r#"coordinator_projection_lag_events{stream="RUNS"}"#],
        0.0
    );
    assert_eq!(before["coordinator_quarantined_messages_total"], 0.0);

    world.executed(&run_id).await;
    world.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    let after = world.series().await;
    assert_eq!(after[r#"coordinator_runs{status="pending"}"#], 0.0);
    assert_eq!(after[r#"coordinator_runs{status="completed"}"#], 1.0);
    assert_eq!((after[&waiting], after[&oldest]), (0.0, 0.0));
    assert_eq!(after["coordinator_claim_seconds_count"], 1.0);
    assert_eq!(after["coordinator_sync_seconds_count"], 0.0);
}

#[tokio::test]
async fn what_was_there_before_a_start_is_of_another_time() {
    let first = World::with_deployer().await;
    let run_id = first.requested().await;
    first.executed(&run_id).await;
    first.ask("GET", &format!("/runs/{run_id}?wait=60s")).await;
    let second = World::beside(&first).await;
    let series = second.series().await;
    assert_eq!(series[r#"coordinator_runs{status="completed"}"#], 1.0);
    assert_eq!(series["coordinator_claim_seconds_count"], 0.0);
}
