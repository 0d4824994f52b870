//! What a runner costs the broker while nothing is to be done: in many lanes it asks each less than
//! once in half a minute. Requests are counted where the broker gets them.
//!
//! The story waits for standing pulls to end, so `.config/nextest.toml` leaves it to `cargo soak`; in `cargo
//! verify` it is skipped, and the count on a clock of its own beside `runner::pulls` stands for it.

use events::log::jetstream::STANDING_PULL;
use futures::StreamExt as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::coordinator::Coordinator;
use tests::eventually::within;
use tests::nats::Nats;
use tests::runner::Settings;

const LANES: usize = 40;
/// Renewals of every lane's standing pull that are looked at.
const RENEWALS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60 * (RENEWALS as u64 + 2));

#[tokio::test]
async fn an_idle_lane_costs_one_request_each_time_a_standing_pull_ends() {
    assert!(STANDING_PULL >= Duration::from_secs(30));
    let nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut requests = client
        .subscribe("$JS.API.CONSUMER.MSG.NEXT.RUNS.*")
        .await
        .unwrap();
    client.flush().await.unwrap();
    let tags: Vec<String> = (0..LANES).map(|number| format!("lane-{number}")).collect();
    for tag in &tags {
        let more = json!({"script_content": "true\n", "demands": {"tags": ["bash", tag]}});
        coordinator.script(tag, &more).await;
    }
    let settings = Settings {
        tags: tags.join(","),
        max_runs: 1,
        ..Settings::default()
    };
    let _runner = coordinator.runner(settings).await;

    // Per lane, whether each request stood, from the first on that did.
    let mut asked: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    within(PATIENCE, "every lane's pull is renewed", async || {
        let request = requests.next().await?;
        let stands = request.payload.windows(7).any(|part| part == b"expires");
        let lane = asked.entry(request.subject.to_string()).or_default();
        if stands || !lane.is_empty() {
            lane.push(stands);
        }
        let all = asked.len() >= LANES && asked.values().all(|lane| lane.len() > RENEWALS);
        all.then_some(())
    })
    .await;
    let other = asked.values().flatten().filter(|stands| !**stands);
    assert_eq!(other.count(), 0, "a lane was asked besides: {asked:?}");
}
