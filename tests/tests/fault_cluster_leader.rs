//! A coordinator on a broker of three servers: it keeps three copies of everything, and whichever server
//! is killed, again and again under load, every acknowledged change and run is stored once, and every run
//! ends.

use events::catalog::CatalogEvent;
use events::log::jetstream::{Connection, STREAMS};
use events::subject::{RunSubject, Stream, Writer};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::cluster::Cluster;
use tests::coordinator::{Answer, Coordinator};
use tests::eventually::within;
use tests::oracle;
use tests::runner::Settings;

/// Shorter and, in a soak, also longer than the others take to elect a leader.
fn away_ms() -> u64 {
    match std::env::var_os("COORDINATOR_SOAK") {
        Some(_) => 8_000,
        None => 2_000,
    }
}

/// Three servers on a busy machine elect, start and catch up; nothing is measured by this.
const ELECTED_WITHIN: Duration = Duration::from_secs(120);
/// Longer than any answer is waited for by a coordinator.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

async fn on(cluster: &Cluster, connection: &Connection) -> Coordinator {
    within(ELECTED_WITHIN, "the cluster has a leader", async || {
        connection.all_stream_facts().await.ok()
    })
    .await;
    Coordinator::start_with(&["--nats-url", &cluster.url(), "--replicas", "3"]).await
}

/// The server that leads `CATALOG`, once all three have all of every stream.
async fn leader(connection: &Connection) -> String {
    within(ELECTED_WITHIN, "all servers have everything", async || {
        let facts = connection.all_stream_facts().await.ok()?;
        let kept: Option<Vec<_>> = facts.iter().map(|facts| facts.kept_by.clone()).collect();
        let kept = kept.filter(|kept| kept.len() == STREAMS.len())?;
        let whole = kept
            .iter()
            .all(|kept| kept.leader.is_some() && kept.current.len() == 2);
        let catalog = facts.iter().position(|facts| facts.name == "CATALOG")?;
        kept[catalog].leader.clone().filter(|_| whole)
    })
    .await
}

/// Somebody who asks until there is an answer that says something.
struct Caller {
    client: Client,
    url: String,
    token: String,
}

impl Caller {
    fn of(coordinator: &Coordinator) -> Self {
        let client = Client::builder().timeout(ANSWERED_WITHIN).build().unwrap();
        Self {
            client,
            url: coordinator.url(),
            token: coordinator.token(),
        }
    }

    /// The status and body, and whether nothing was asked in vain before.
    async fn ask(&self, path: &str, body: &Value, key: &str) -> (Answer, bool) {
        let mut tries = 0;
        let answer = within(ELECTED_WITHIN, path, async || {
            tries += 1;
            let request = self
                .client
                .request(Method::POST, format!("{}{path}", self.url));
            let request = request
                .bearer_auth(&self.token)
                .header("idempotency-key", key);
            let answer = Answer::of(request.json(body).send().await.ok()?)
                .await
                .ok()?;
            (answer.status.as_u16() < 500).then_some(answer)
        })
        .await;
        (answer, tries == 1)
    }
}

/// Scripts and runs that were acknowledged.
#[derive(Default)]
struct Acknowledged {
    scripts: BTreeSet<String>,
    runs: BTreeSet<String>,
}

async fn load(caller: &Caller, done: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("s{number}");
        let script = json!({"name": name, "description": "", "script_file": "s.sh", "script_content": "true\n"});
        let (answer, at_once) = caller.ask("/scripts", &script, &name).await;
        // Asked again, it may be there from the time before.
        let stored = answer.status == 201 || (answer.status == 409 && !at_once);
        assert!(stored, "{answer:?}");
        acknowledged.scripts.insert(name);
        let run = json!({"agent_name": "quick", "parameters": {}});
        let (answer, _) = caller.ask("/runs", &run, &format!("r{number}")).await;
        assert!([200, 201].contains(&answer.status.as_u16()), "{answer:?}");
        let id = answer.body["run_id"].as_str().unwrap();
        acknowledged.runs.insert(id.to_owned());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    acknowledged
}

async fn kill_leaders(cluster: &mut Cluster, connection: &Connection, done: &AtomicBool) {
    let mut random = oracle::random();
    for _ in 0..oracle::disturbances() {
        let leading = leader(connection).await;
        oracle::pause(&mut random, 0, 1_000).await;
        cluster.kill(&leading);
        oracle::pause(&mut random, 0, away_ms()).await;
        cluster.start_again(&leading).await;
    }
    leader(connection).await;
    done.store(true, Ordering::Relaxed);
}

#[tokio::test]
async fn fault_leaders_die_again_and_again_and_nothing_is_lost_or_doubled() {
    let mut cluster = Cluster::start().await;
    let connection = oracle::connect(&cluster.url()).await;
    let coordinator = on(&cluster, &connection).await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("quick", "true\n").await;
    let status = coordinator.get("/status").await.body;
    assert_eq!(status["broker"]["durability"], "node_loss", "{status:#}");

    let (caller, done) = (Caller::of(&coordinator), AtomicBool::new(false));
    let ((), acknowledged) = tokio::join!(
        kill_leaders(&mut cluster, &connection, &done),
        load(&caller, &done)
    );

    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    for (_, change) in oracle::catalog(&connection).await {
        if let CatalogEvent::ScriptCreated(script) = change {
            *created.entry(script.document.name.to_string()).or_default() += 1;
        }
    }
    let stored: BTreeSet<String> = created.keys().cloned().collect();
    assert_eq!(created.values().copied().max(), Some(1), "no double");
    let lost: Vec<_> = acknowledged.scripts.difference(&stored).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");

    let mut requested: BTreeMap<String, usize> = BTreeMap::new();
    for message in oracle::all(&connection, Stream::Runs).await {
        let subject = RunSubject::parse(&message.subject).unwrap();
        if subject.writer == Writer::Request {
            *requested.entry(subject.run_id.to_string()).or_default() += 1;
        }
    }
    for run in &acknowledged.runs {
        assert_eq!(requested.get(run), Some(&1), "{run}");
        let ended = coordinator.ends(run).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
    }
    let status = coordinator.get("/status").await.body;
    assert_eq!(status["projection"]["quarantined"], 0, "{status:#}");
}
