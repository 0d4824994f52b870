//! Every run that ends leaves exactly one summary, whichever coordinator is killed when: between the end
//! and the summary, while nobody is there, or with two at work at once.

use events::EventId;
use events::history::HistoryEvent;
use events::log::jetstream::{Access, Connection};
use events::log::{Append, Expect, Log as _};
use events::subject::{self, Stream};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::coordinator::Coordinator;
use tests::eventually::{eventually, within};
use tests::nats::Nats;
use tests::runner::Settings;

/// Kills in the quick form of the story; a soak takes more.
const KILLS: u32 = 5;
const KILLS_SOAK: u32 = 50;
/// Runs requested between two kills.
const RUNS_PER_KILL: usize = 6;

async fn connected(nats: &Nats) -> Connection {
    let access = Access {
        url: nats.url(),
        nkey_seed: None,
        name: "story".to_owned(),
        inbox_prefix: subject::inbox_prefix("story"),
        owns_streams: true,
    };
    Connection::open(access).await.unwrap()
}

/// How many summaries each run has.
async fn summaries(connection: &Connection) -> BTreeMap<String, usize> {
    let (mut counts, mut from) = (BTreeMap::new(), 1);
    loop {
        let filter = Stream::History.subjects();
        let page = connection.page(Stream::History, filter, from, 500);
        let page = page.await.unwrap();
        let Some(last) = page.last() else {
            return counts;
        };
        from = last.sequence + 1;
        for stored in page {
            let HistoryEvent::RunEnded(run) = stored.envelope::<HistoryEvent>().unwrap().event;
            *counts.entry(run.run_id.to_string()).or_default() += 1;
        }
    }
}

async fn all_summarised(connection: &Connection, runs: &[String]) {
    let patience = Duration::from_secs(120);
    within(patience, "every run has its summary", async || {
        let counts = summaries(connection).await;
        runs.iter()
            .all(|run| counts.contains_key(run))
            .then_some(())
    })
    .await;
}

fn kills() -> u32 {
    match std::env::var_os("COORDINATOR_SOAK") {
        Some(_) => KILLS_SOAK,
        None => KILLS,
    }
}

/// Requests runs by whichever coordinator answers.
async fn requested(coordinators: &[&Coordinator], runs: &mut Vec<String>) {
    for number in 0..RUNS_PER_KILL {
        let key = format!("{}-{number}", runs.len());
        let id = eventually("somebody takes the request", async || {
            for coordinator in coordinators {
                let body = json!({"agent_name": "quick", "parameters": {}});
                let request = coordinator.http(reqwest::Method::POST, "/runs").json(&body);
                let answer = request.header("Idempotency-Key", &key).send().await.ok();
                let answer = tests::coordinator::Answer::of(answer?).await.ok()?;
                if answer.status == 201 {
                    return answer.body["run_id"].as_str().map(str::to_owned);
                }
            }
            None
        })
        .await;
        runs.push(id);
    }
}

#[tokio::test]
async fn two_coordinators_that_are_killed_leave_one_summary_each() {
    let nats = Nats::start().await;
    let options = ["--nats-url", &nats.url()].map(str::to_owned);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut one = Coordinator::start_with(&options).await;
    let mut other = Coordinator::start_with(&options).await;
    let _runner = other.runner(Settings::default()).await;
    one.bash("quick", "true\n").await;
    let connection = connected(&nats).await;
    let mut runs = Vec::new();
    for round in 0..kills() {
        requested(&[&one, &other], &mut runs).await;
        let (random, both) = (rand::random::<u64>() % 120, round % 2 == 1);
        // Somewhere between the requests and their summaries.
        tokio::time::sleep(Duration::from_millis(random)).await;
        one.kill();
        if both {
            other.kill();
            other.start_again().await;
        }
        one.start_again().await;
    }
    all_summarised(&connection, &runs).await;
    for run in &runs {
        one.ends(run).await;
    }
    let counts = summaries(&connection).await;
    let twice = counts.iter().filter(|(_, count)| **count != 1);
    assert_eq!(twice.count(), 0, "{counts:?}");
    assert_eq!(counts.len(), runs.len());
    for coordinator in [&one, &other] {
        let path = "/audit/who-ran/quick?limit=1000";
        eventually("both know of all", async || {
            let told = coordinator.get(path).await.body["runs"].as_array()?.len();
            (told == runs.len()).then_some(())
        })
        .await;
        let status = coordinator.get("/status").await.body;
        assert_eq!(status["projection"]["quarantined"], 0, "{status:#}");
        let verified = coordinator.cli(&["audit", "verify", "--rebuild"]);
        assert!(verified.status.success(), "{verified:?}");
    }
}

#[tokio::test]
async fn what_ended_while_nobody_was_there_is_summarised_later() {
    let nats = Nats::start().await;
    let mut coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    let runner = coordinator.runner(Settings::default()).await;
    let script = "while [ ! -e go ]; do sleep 0.05; done\n";
    coordinator.bash("wait", script).await;
    let id = coordinator.request("wait", json!({})).await;
    coordinator.reaches(&id, "running").await;
    coordinator.kill();
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    let connection = connected(&nats).await;
    eventually("the runner has stored the end", async || {
        let last = connection.last(Stream::Runs, Stream::Runs.subjects()).await;
        let payload = last.ok()??.payload;
        String::from_utf8_lossy(&payload)
            .contains("completed")
            .then_some(())
    })
    .await;
    assert!(summaries(&connection).await.is_empty());
    coordinator.start_again().await;
    all_summarised(&connection, &[id]).await;
}

/// A coordinator that is wrong, or somebody by hand, writes a summary a second time.
#[tokio::test]
async fn a_second_summary_is_counted_and_changes_nothing() {
    let nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("quick", "true\n").await;
    let id = coordinator.request("quick", json!({})).await;
    coordinator
        .post(&format!("/runs/{id}/stop"), json!({}))
        .await;
    let connection = connected(&nats).await;
    all_summarised(&connection, std::slice::from_ref(&id)).await;
    let first = connection.last(Stream::History, "history.quick").await;
    let first = first.unwrap().unwrap();
    let told = async || coordinator.get("/audit/who-ran/quick").await.body["runs"].clone();
    let before = told().await;
    let mut again = first.envelope::<HistoryEvent>().unwrap();
    let HistoryEvent::RunEnded(summary) = &mut again.event;
    summary.agent = "other".parse().unwrap();
    for payload in [again.to_bytes(), "rubbish".into()] {
        let append = Append {
            stream: Stream::History,
            subject: first.subject.clone(),
            id: EventId::fresh(),
            payload,
            expect: Expect::Nothing,
        };
        connection.append(append).await.unwrap();
    }
    eventually("both are counted", async || {
        let status = coordinator.get("/status").await.body;
        (status["projection"]["quarantined"] == 2).then_some(())
    })
    .await;
    assert_eq!(told().await, before);
    let other = coordinator.get("/audit/who-ran/other").await;
    assert_eq!(other.refusal(), (404, "nothing_named"));
}
