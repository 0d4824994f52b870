//! Two coordinators on one broker, with writes that conflict: one of them is killed again and again at
//! random moments. Who asks the other notices nothing; no acknowledged change is lost, none is there
//! twice, versions count up without a gap, the hash chain holds, and what follows by itself still follows.

use events::catalog::CatalogEvent;
use events::subject::{RunSubject, Stream, Writer};
use rand::RngExt as _;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::coordinator::{Answer, Coordinator};
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::oracle;
use tests::runner::Settings;

/// Scripts that both change all the time.
const SHARED: [&str; 3] = ["one", "two", "three"];
/// Of each.
const WRITERS: usize = 2;
/// A killed coordinator does not answer; nothing is measured by this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// What a writer was told.
#[derive(Default)]
struct Told {
    /// By script and version, what its description then was.
    versions: BTreeMap<(String, u64), String>,
    created: BTreeSet<String>,
    runs: BTreeSet<String>,
    /// Requests without an answer that says something.
    unanswered: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        for (version, description) in other.versions {
            let before = self.versions.insert(version.clone(), description.clone());
            let same = before.is_none_or(|before| before == description);
            assert!(same, "two were told {version:?}");
        }
        let before = self.created.len() + other.created.len();
        self.created.extend(other.created);
        assert_eq!(self.created.len(), before, "two have created the same");
        self.runs.extend(other.runs);
        self.unanswered += other.unanswered;
    }
}

struct Writing<'a> {
    client: Client,
    url: String,
    token: String,
    name: String,
    done: &'a AtomicBool,
}

impl Writing<'_> {
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Option<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(&self.token).json(body);
        let answer = Answer::of(request.send().await.ok()?).await.ok()?;
        (answer.status.as_u16() < 500).then_some(answer)
    }

    async fn until_done(self) -> Told {
        let (mut told, mut number) = (Told::default(), 0_usize);
        while !self.done.load(Ordering::Relaxed) {
            number += 1;
            if self.round(number, &mut told).await.is_none() {
                told.unanswered += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        told
    }

    async fn round(&self, number: usize, told: &mut Told) -> Option<()> {
        let script = SHARED[number % SHARED.len()];
        let description = format!("{} {number}", self.name);
        let change = json!({ "description": description });
        let answer = self
            .ask(Method::PATCH, &format!("/scripts/{script}"), &change)
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let version = answer.body["version"].as_u64().unwrap();
        told.versions
            .insert((script.to_owned(), version), description);

        // All writers want the same names.
        let name = format!("new-{number}");
        let new = json!({"name": name, "description": "", "script_file": "s.sh", "script_content": "true\n"});
        let answer = self.ask(Method::POST, "/scripts", &new).await?;
        match answer.status.as_u16() {
            201 => drop(told.created.insert(name)),
            409 => {}
            _ => panic!("{answer:?}"),
        }
        let run = json!({"agent_name": "one", "parameters": {}});
        let answer = self.ask(Method::POST, "/runs", &run).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        told.runs.insert(answer.body["run_id"].as_str()?.to_owned());
        Some(())
    }
}

/// The writers of one coordinator.
async fn write(url: String, token: String, name: &str, done: &AtomicBool) -> Told {
    let writers = (0..WRITERS).map(|number| {
        let writing = Writing {
            client: Client::builder().timeout(ANSWERED_WITHIN).build().unwrap(),
            url: url.clone(),
            token: token.clone(),
            name: format!("{name}{number}"),
            done,
        };
        writing.until_done()
    });
    let mut all = Told::default();
    for told in futures::future::join_all(writers).await {
        all.add(told);
    }
    all
}

async fn kill_again_and_again(victim: &mut Coordinator, done: &AtomicBool) {
    let mut random = oracle::random();
    for _ in 0..oracle::disturbances() {
        oracle::pause(&mut random, 100, 2_000).await;
        victim.kill();
        let away = random.random_range(0..1_000);
        tokio::time::sleep(Duration::from_millis(away)).await;
        victim.start_again().await;
    }
    oracle::pause(&mut random, 200, 1_000).await;
    done.store(true, Ordering::Relaxed);
}

#[tokio::test]
async fn fault_one_of_two_coordinators_dies_again_and_again_and_the_other_notices_nothing() {
    let nats = Nats::start().await;
    let url = nats.url();
    let steady = Coordinator::start_with(&["--nats-url", &url]).await;
    let mut victim = Coordinator::start_with(&["--nats-url", &url]).await;
    let runner = steady.runner(Settings::default()).await;
    for name in SHARED {
        steady.bash(name, "true\n").await;
    }
    let done = AtomicBool::new(false);
    let steady_writes = write(steady.url(), steady.token(), "steady", &done);
    let victims_writes = write(victim.url(), victim.token(), "victim", &done);
    let (mut told, of_victim, ()) = tokio::join!(
        steady_writes,
        victims_writes,
        kill_again_and_again(&mut victim, &done)
    );
    assert_eq!(
        told.unanswered, 0,
        "the users of the other are not affected"
    );
    told.add(of_victim);
    assert!(!told.versions.is_empty() && !told.created.is_empty());

    let connection = oracle::connect(&url).await;
    let mut versions: BTreeMap<(String, u64), String> = BTreeMap::new();
    for (_, change) in oracle::catalog(&connection).await {
        if let CatalogEvent::ScriptCreated(script) | CatalogEvent::ScriptChanged(script) = change {
            let version = (script.document.name.to_string(), u64::from(script.version));
            let twice = versions.insert(version.clone(), script.document.description.clone());
            assert_eq!(twice, None, "{version:?} is there twice");
        }
    }
    for (version, description) in &told.versions {
        assert_eq!(versions.get(version), Some(description), "{version:?}");
    }
    for name in SHARED {
        let mut of_one = versions.keys().filter(|(script, _)| script == name);
        let gapless = (1..)
            .zip(&mut of_one)
            .all(|(count, (_, version))| count == *version);
        assert!(gapless, "{name}: a version is missing");
    }
    for name in &told.created {
        assert!(versions.contains_key(&(name.clone(), 1)), "{name} is lost");
    }
    let mut requests: BTreeMap<String, usize> = BTreeMap::new();
    for message in oracle::all(&connection, Stream::Runs).await {
        let subject = RunSubject::parse(&message.subject).unwrap();
        if subject.writer == Writer::Request {
            *requests.entry(subject.run_id.to_string()).or_default() += 1;
        }
    }
    for run in &told.runs {
        assert_eq!(requests.get(run), Some(&1), "{run}");
        for coordinator in [&steady, &victim] {
            assert_eq!(coordinator.ends(run).await["status"], "completed");
        }
    }
    for name in SHARED {
        eventually("the last version is where it belongs", async || {
            let rollout = victim.get(&format!("/scripts/{name}/rollout")).await.body;
            (rollout["done"] == true).then_some(())
        })
        .await;
    }
    for coordinator in [&steady, &victim] {
        let status = coordinator.get("/status").await.body;
        assert_eq!(status["projection"]["quarantined"], 0, "{status:#}");
    }
    drop(runner);
}
