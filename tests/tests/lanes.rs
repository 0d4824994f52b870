//! Lanes come when something needs them and go when nothing does, and whatever goes is made again
//! before a request can get lost.

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use futures::TryStreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

/// A lane that nothing needs goes after a second.
const HASTY: [&str; 2] = ["--retire-lanes-after", "1s"];

async fn on(nats: &Nats, options: &[&str]) -> Coordinator {
    let url = nats.url();
    Coordinator::start_with(&[&["--nats-url", &url], options].concat()).await
}

async fn runs(nats: &Nats) -> jetstream::stream::Stream {
    let client = async_nats::connect(nats.url()).await.unwrap();
    jetstream::new(client).get_stream("RUNS").await.unwrap()
}

/// The lanes' consumers; those by which coordinators follow the stream have other names.
async fn queues(runs: &jetstream::stream::Stream) -> Vec<String> {
    let names: Vec<String> = runs.consumer_names().try_collect().await.unwrap();
    let of_lanes = names
        .into_iter()
        .filter(|name| name.parse::<events::Lane>().is_ok());
    of_lanes.collect()
}

async fn lanes(coordinator: &Coordinator) -> Vec<Value> {
    let lanes = coordinator.get("/lanes").await.body;
    lanes.as_array().unwrap().clone()
}

async fn ends_well(coordinator: &Coordinator, agent: &str) {
    let run = coordinator.request(agent, json!({})).await;
    let run = coordinator.ends(&run).await;
    assert_eq!(run["status"], "completed", "{run}");
}

async fn delete(coordinator: &Coordinator, path: &str) {
    let answer = coordinator.send(Method::DELETE, path, None).await;
    assert_eq!(answer.status, 204, "{path}: {answer:?}");
}

#[tokio::test]
async fn a_lane_says_what_it_holds_who_serves_it_and_what_waits() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("one", "sleep 600\n").await;
    let alone = &lanes(&coordinator).await[0];
    assert_eq!(
        (&alone["runners"], &alone["waiting"]),
        (&json!([]), &json!(0))
    );
    let busy = Settings {
        max_runs: 1,
        ..Settings::default()
    };
    let _runner = coordinator.runner(busy).await;
    let first = coordinator.request("one", json!({})).await;
    coordinator.reaches(&first, "running").await;
    let second = coordinator.request("one", json!({})).await;
    let second = coordinator.run(&second).await;
    let lane = &lanes(&coordinator).await[0];
    assert_eq!(lane["tags"], json!(["bash", "type:procedural"]));
    assert_eq!((&lane["waiting"], &lane["running"]), (&json!(1), &json!(1)));
    assert_eq!(lane["waiting_since"], second["created_at"]);
    assert_eq!(lane["runners"].as_array().unwrap().len(), 1);
    let script = coordinator.get("/scripts/one").await.body;
    assert_eq!(lane["scripts"][0]["digest"], script["digest"]);
    let id = lane["lane"].as_str().unwrap();
    let shown = coordinator.cli(&["lane", "show", &id[..8]]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("{bash, type:procedural}") && shown.contains("one"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_lane_goes_and_comes_back() {
    let nats = Nats::start().await;
    let coordinator = on(&nats, &HASTY).await;
    let runner = coordinator.runner(Settings::default()).await;
    let runs = runs(&nats).await;
    coordinator.bash("one", "true\n").await;
    ends_well(&coordinator, "one").await;
    let link = runner.project_dir().join("scripts/one");
    for _ in 0..2 {
        let status = json!({"status": "inactive"});
        coordinator
            .send(Method::PATCH, "/agents/one/status", Some(status))
            .await;
        eventually("the queue goes", async || {
            queues(&runs).await.is_empty().then_some(())
        })
        .await;
        eventually("the script goes", async || (!link.exists()).then_some(())).await;
        assert_eq!(lanes(&coordinator).await, Vec::<Value>::new());
        let status = json!({"status": "active"});
        coordinator
            .send(Method::PATCH, "/agents/one/status", Some(status))
            .await;
        ends_well(&coordinator, "one").await;
        // The run brings its own bundle; the link follows.
        eventually("the script comes back", async || {
            link.exists().then_some(())
        })
        .await;
    }
    // A lane of a request's own making goes with its run.
    let body = json!({"type": "start_session", "agent_name": "one", "parameters": {},
        "additional_demands": {"tags": ["python3"]}});
    let run = coordinator.post("/runs", body).await.body;
    let run = coordinator.ends(run["run_id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "completed", "{run}");
    eventually("one queue is left", async || {
        (queues(&runs).await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_retired_lane_does_not_repeat_what_ended_in_it() {
    let nats = Nats::start().await;
    let coordinator = on(&nats, &HASTY).await;
    let _runner = coordinator.runner(Settings::default()).await;
    let runs = runs(&nats).await;
    coordinator.bash("one", "true\n").await;
    for _ in 0..3 {
        ends_well(&coordinator, "one").await;
    }
    let ended = runs.get_info().await.unwrap().state.last_sequence;
    delete(&coordinator, "/agents/one").await;
    eventually("the queue goes", async || {
        queues(&runs).await.is_empty().then_some(())
    })
    .await;
    let agent = json!({"name": "one", "type": "procedural", "description": "", "script": "one"});
    coordinator.post("/agents", agent).await;
    ends_well(&coordinator, "one").await;
    let name = queues(&runs).await.remove(0);
    let queue = runs.consumer_info(&name).await.unwrap();
    // A run that cannot be claimed at once is handed out again; the old ones never are.
    let DeliverPolicy::ByStartSequence { start_sequence } = queue.config.deliver_policy else {
        panic!("{:?}", queue.config);
    };
    assert!(
        start_sequence > ended,
        "{start_sequence} is one of the first {ended}"
    );
}

#[tokio::test]
async fn a_queue_that_is_deleted_by_hand_is_made_again() {
    let nats = Nats::start().await;
    let coordinator = on(&nats, &[]).await;
    coordinator.bash("one", "true\n").await;
    let waiting = coordinator.request("one", json!({})).await;
    let runs = runs(&nats).await;
    let name = queues(&runs).await.remove(0);
    runs.delete_consumer(&name).await.unwrap();
    eventually("the queue is back", async || {
        (queues(&runs).await == [name.clone()]).then_some(())
    })
    .await;
    // With it all that waits, and what is requested from now on.
    let _runner = coordinator.runner(Settings::default()).await;
    assert_eq!(coordinator.ends(&waiting).await["status"], "completed");
    ends_well(&coordinator, "one").await;
}

/// While one coordinator takes lanes away as fast as it can, the other one's requests all end.
#[tokio::test]
async fn no_request_is_lost_between_two_coordinators() {
    let nats = Nats::start().await;
    let (one, other) = (on(&nats, &HASTY).await, on(&nats, &HASTY).await);
    let _runner = one.runner(Settings::default()).await;
    one.bash("one", "true\n").await;
    eventually("the other knows the agent", async || {
        (other.get("/agents/one").await.status == 200).then_some(())
    })
    .await;
    let runs = runs(&nats).await;
    for round in 0..8 {
        // A lane of its own, which only unfinished runs need: it goes as soon as they ended.
        let body = json!({"type": "start_session", "agent_name": "one", "parameters": {},
            "additional_demands": {"tags": ["python3"]}});
        let asked = if round % 2 == 0 { &one } else { &other };
        let run = asked.post("/runs", body).await.body;
        let run = asked.ends(run["run_id"].as_str().unwrap()).await;
        assert_eq!(run["status"], "completed", "{run}");
        if round % 4 == 3 {
            eventually("the lane goes", async || {
                (queues(&runs).await.len() == 1).then_some(())
            })
            .await;
        }
    }
}
