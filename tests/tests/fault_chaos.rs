//! Runners and coordinators are killed, paused and started again at random moments, for as long as
//! there is work: every run ends, once; what may not be repeated starts at most once; nothing of
//! any script is left; and every runner has all its slots afterwards.
//!
//! Starts are counted by what the scripts themselves leave behind. The lease is short, so that much
//! happens in little time. `cargo verify` does it with 40 runs, `cargo soak` with 500 and more seeds;
//! `CHAOS_SEED` repeats one, as far as the machine's own timing allows.

use events::log::Log as _;
use events::log::jetstream::{Access, Connection};
use events::run::{RunEvent, RunState, RunStep};
use events::subject::{self, RunSubject, Stream};
use events::{Envelope, RunId};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::coordinator::Coordinator;
use tests::eventually::{eventually, within};
use tests::nats::Nats;
use tests::process::Process;
use tests::runner::{Runner, Settings};

/// Leaves a file for its start, works for a while with children that do not want to be found, and
/// says its number. What it starts has the folder in its arguments or its environment.
const WORKS: &str = r#"
number="$2" dir="$4" pause="$6"
mktemp "$dir/start-$number-$ATTEMPT-XXXXXXXX" > /dev/null
export CHAOS_MARK="$dir"
(setsid sleep 1000 > /dev/null 2>&1 &)
sleep "$pause"
echo "$number"
"#;
/// Stays until it is let go; to see how many of them a runner takes at once.
const STAYS: &str = r#"
dir="$2"
mktemp "$dir/stays-XXXXXXXX" > /dev/null
while [ ! -e "$dir/go" ]; do sleep 0.1; done
"#;

/// The shortest lease there is, so that what is lost is found soon.
const LEASE: &str = "3s";
/// Slots of each runner.
const SLOTS: u32 = 3;
/// The tags of the runners: every lane has two that serve it, at least.
const RUNNERS: [&str; 4] = ["a,b", "a", "b", "a,b"];
/// What the scripts demand beside `bash`.
const LANES: [&[&str]; 4] = [&[], &["a"], &["b"], &["a", "b"]];
/// A coordinator that is paused does not answer; another may.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// For all that was begun to end, once nothing is disturbed any more.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

fn is_soak() -> bool {
    std::env::var_os("COORDINATOR_SOAK").is_some()
}

fn runs() -> usize {
    if is_soak() { 500 } else { 40 }
}

fn seed() -> u64 {
    let given = std::env::var("CHAOS_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    eprintln!("CHAOS_SEED={seed}");
    seed
}

/// What is disturbed: it can be signalled, killed and started again.
trait Victim {
    fn process(&mut self) -> &mut Process;
    async fn start_again(&mut self);
}

impl Victim for Runner {
    fn process(&mut self) -> &mut Process {
        Runner::process(self)
    }

    async fn start_again(&mut self) {
        Runner::start_again(self);
    }
}

impl Victim for Coordinator {
    fn process(&mut self) -> &mut Process {
        Coordinator::process(self)
    }

    async fn start_again(&mut self) {
        Coordinator::start_again(self).await;
    }
}

/// Disturbs one process until there is no work any more; leaves it running.
async fn disturb(victim: &mut impl Victim, seed: u64, done: &AtomicBool) {
    let mut random = StdRng::seed_from_u64(seed);
    while !done.load(Ordering::Relaxed) {
        pause(&mut random, 200, 4_000).await;
        match random.random_range(0..5) {
            0 | 1 => {
                victim.process().kill();
                pause(&mut random, 0, 2_000).await;
                victim.start_again().await;
            }
            // Sometimes less than a lease, sometimes so long that it is given up.
            2 | 3 => {
                victim.process().signal(Signal::SIGSTOP);
                pause(&mut random, 50, 9_000).await;
                victim.process().signal(Signal::SIGCONT);
            }
            _ => {
                victim.process().signal(Signal::SIGTERM);
                pause(&mut random, 0, 1_000).await;
                victim.process().kill();
                victim.start_again().await;
            }
        }
    }
}

async fn pause(random: &mut StdRng, from_ms: u64, to_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(from_ms..to_ms))).await;
}

/// Somebody who asks whichever coordinator answers.
struct Caller {
    client: Client,
    coordinators: Vec<(String, String)>,
}

impl Caller {
    fn of(coordinators: &[Coordinator]) -> Self {
        let each = coordinators.iter().map(|c| (c.url(), c.token()));
        Self {
            client: Client::builder().timeout(ANSWERS_WITHIN).build().unwrap(),
            coordinators: each.collect(),
        }
    }

    /// The answer of the first that has one.
    async fn ask(&self, method: Method, path: &str, body: &Value, key: &str) -> (u16, Value) {
        let mut turn = self.coordinators.iter().cycle();
        within(ENDS_WITHIN, path, async || {
            let (url, token) = turn.next().unwrap();
            let mut request = self
                .client
                .request(method.clone(), format!("{url}{path}"))
                .bearer_auth(token)
                .header("idempotency-key", key);
            if method == Method::POST {
                request = request.json(body);
            }
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            // Not now: it may be stored or not, and the same key makes it one run.
            (status < 500).then_some((status, answer.json().await.ok()?))
        })
        .await
    }

    async fn request(&self, run: &Wanted, dir: &Path) -> String {
        let body = json!({"agent_name": run.agent, "parameters": {
            "number": run.number, "dir": dir, "pause": f64::from(run.pause_ms) / 1_000.0,
        }});
        let key = format!("chaos-{}", run.number);
        let (status, answer) = self.ask(Method::POST, "/runs", &body, &key).await;
        assert!([200, 201].contains(&status), "{status} {answer:#}");
        answer["run_id"].as_str().unwrap().to_owned()
    }
}

/// A run to be asked for.
struct Wanted {
    number: u32,
    agent: String,
    may_repeat: bool,
    pause_ms: u32,
    stopped: bool,
}

fn wanted(number: u32, random: &mut StdRng) -> Wanted {
    let may_repeat = random.random_bool(0.5);
    let lane = random.random_range(0..LANES.len());
    Wanted {
        number,
        agent: agent(lane, may_repeat),
        may_repeat,
        pause_ms: random.random_range(0..1_500),
        stopped: random.random_bool(0.1),
    }
}

fn agent(lane: usize, may_repeat: bool) -> String {
    format!("work-{lane}-{may_repeat}")
}

/// Names one runner.
fn profile(number: usize) -> String {
    format!("runner-{number}")
}

async fn scripts(coordinator: &Coordinator) {
    for (lane, tags) in LANES.iter().enumerate() {
        for may_repeat in [false, true] {
            let tags: Vec<&str> = ["bash"].iter().chain(*tags).copied().collect();
            let script = json!({
                "script_content": WORKS, "idempotent": may_repeat, "demands": {"tags": tags},
                "parameters_schema": {"type": "object", "properties": {
                    "number": {}, "dir": {}, "pause": {},
                }},
            });
            coordinator.script(&agent(lane, may_repeat), &script).await;
        }
    }
    coordinator.bash("stays", STAYS).await;
}

/// Asks for all runs, one after the other, and for a stop of some.
async fn work(
    caller: &Caller,
    dir: &Path,
    seed: u64,
    done: &AtomicBool,
) -> BTreeMap<String, Wanted> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut asked = BTreeMap::new();
    for number in 1..=u32::try_from(runs()).unwrap() {
        let run = wanted(number, &mut random);
        let id = caller.request(&run, dir).await;
        if run.stopped {
            pause(&mut random, 0, 1_000).await;
            let stop = format!("/runs/{id}/stop");
            caller.ask(Method::POST, &stop, &json!({}), &stop).await;
        }
        assert!(asked.insert(id, run).is_none(), "two requests, one run");
        pause(&mut random, 0, 300).await;
    }
    done.store(true, Ordering::Relaxed);
    asked
}

/// Every stored step of every run, in order.
async fn stored(nats: &Nats) -> BTreeMap<RunId, Vec<RunStep>> {
    let access = Access {
        url: nats.url(),
        nkey_seed: None,
        name: "chaos".to_owned(),
        inbox_prefix: subject::inbox_prefix("chaos"),
        owns_streams: true,
    };
    let connection = Connection::open(access).await.unwrap();
    let mut steps: BTreeMap<RunId, Vec<RunStep>> = BTreeMap::new();
    let mut from = 1;
    loop {
        let all = Stream::Runs.subjects();
        let page = connection.page(Stream::Runs, all, from, 1_000).await;
        let page = page.unwrap();
        let Some(last) = page.last() else {
            return steps;
        };
        from = last.sequence + 1;
        for message in page {
            let run = RunSubject::parse(&message.subject).unwrap().run_id;
            let envelope = Envelope::<RunStep>::from_bytes(&message.payload).unwrap();
            steps.entry(run).or_default().push(envelope.event);
        }
    }
}

/// The run's state, folded anew; every step has to follow from the one before, and one of them ends it.
fn folded(id: &RunId, steps: &[RunStep]) -> RunState {
    let mut state = RunState::requested();
    let mut ends = 0;
    for step in &steps[1..] {
        let next = state
            .after(&step.step)
            .unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(next, step.state, "{id}: {}", step.step.name());
        ends += usize::from(next.status.is_final() && !state.status.is_final());
        state = next;
    }
    assert_eq!(ends, 1, "{id} ends once: {:?}", names(steps));
    state
}

fn names(steps: &[RunStep]) -> Vec<&'static str> {
    steps.iter().map(|step| step.step.name()).collect()
}

/// `(attempt, how often it started)`
fn starts(dir: &Path, number: u32) -> BTreeMap<u32, usize> {
    let prefix = format!("start-{number}-");
    let mut starts = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(rest) = name.strip_prefix(&prefix) {
            let attempt = rest.split('-').next().unwrap().parse().unwrap();
            *starts.entry(attempt).or_default() += 1;
        }
    }
    starts
}

fn started_as_it_may(run: &Wanted, state: &RunState, steps: &[RunStep], dir: &Path) {
    let starts = starts(dir, run.number);
    let told = || format!("run {}: {starts:?} {:?}", run.number, names(steps));
    assert!(
        starts.values().all(|count| *count == 1),
        "an attempt started twice; {}",
        told()
    );
    if !run.may_repeat {
        assert!(starts.len() <= 1, "a second start; {}", told());
    }
    let attempts = steps.iter().filter_map(|step| match step.step {
        RunEvent::Started { attempt, .. } => Some(attempt),
        _ => None,
    });
    let attempts: Vec<u32> = attempts.collect();
    assert!(
        starts.keys().all(|attempt| attempts.contains(attempt)),
        "not told; {}",
        told()
    );
    let last = &steps
        .iter()
        .rev()
        .find(|step| step.step.name() == "completed");
    if let Some(RunStep {
        step: RunEvent::Completed { outcome, .. },
        ..
    }) = last
    {
        assert_eq!(outcome.result_data, json!(run.number), "{}", told());
        assert!(starts.contains_key(&state.attempt), "{}", told());
    }
}

/// Processes that have the folder in their arguments or their environment.
fn processes_of(dir: &Path) -> Vec<String> {
    let mark = dir.to_str().unwrap().as_bytes();
    let holds = |file: PathBuf| {
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes.windows(mark.len()).any(|part| part == mark)
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let marked = processes.filter_map(|entry| {
        let path = entry.unwrap().path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        (holds(path.join("cmdline")) || holds(path.join("environ"))).then(|| {
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            format!("{path:?} {}", String::from_utf8_lossy(&line))
        })
    });
    marked.collect()
}

/// As many runs as a runner has slots are at work on it at once.
async fn has_all_slots(caller: &Caller, profile: &str, folder: &Path) {
    let dir = folder.join(profile);
    std::fs::create_dir(&dir).unwrap();
    let mut ids = Vec::new();
    for slot in 0..SLOTS {
        let body = json!({
            "agent_name": "stays", "parameters": {"dir": dir},
            "additional_demands": {"executor_profile": profile},
        });
        let key = format!("slot-{profile}-{slot}");
        let (status, answer) = caller.ask(Method::POST, "/runs", &body, &key).await;
        assert_eq!(status, 201, "{answer:#}");
        ids.push(answer["run_id"].as_str().unwrap().to_owned());
    }
    eventually(&format!("{profile} uses all its slots"), async || {
        let at_work = std::fs::read_dir(&dir).unwrap().count();
        (at_work == SLOTS as usize).then_some(())
    })
    .await;
    std::fs::write(dir.join("go"), "").unwrap();
    for id in ids {
        let run = ended(caller, &id).await;
        assert_eq!(run["status"], "completed", "{run:#}");
    }
}

async fn ended(caller: &Caller, id: &str) -> Value {
    let path = format!("/runs/{id}");
    within(ENDS_WITHIN, &format!("{id} ends"), async || {
        let (_, run) = caller.ask(Method::GET, &path, &Value::Null, "").await;
        let status = run["status"].as_str().unwrap_or_default();
        ["completed", "failed", "stopped"]
            .contains(&status)
            .then_some(run)
    })
    .await
}

#[tokio::test]
async fn fault_whatever_is_killed_or_paused_every_run_ends_once() {
    let times = if is_soak() { 3 } else { 1 };
    for _ in 0..times {
        chaos(seed()).await;
    }
}

async fn chaos(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("starts");
    std::fs::create_dir(&dir).unwrap();
    let nats = Nats::start().await;
    let url = nats.url();
    let options = [
        "--nats-url",
        url.as_str(),
        "--lease",
        LEASE,
        "--log",
        "warn",
    ];
    let mut coordinators = Vec::new();
    for _ in 0..2 {
        coordinators.push(Coordinator::start_with(&options).await);
    }
    scripts(&coordinators[0]).await;
    let mut runners = Vec::new();
    for (number, tags) in RUNNERS.iter().enumerate() {
        let settings = Settings {
            tags: (*tags).to_owned(),
            profile: profile(number),
            max_runs: SLOTS,
            grace_seconds: 2,
            // Starts of all runners are counted in one place.
            options: vec![
                "--allow-write".to_owned(),
                folder.path().display().to_string(),
            ],
            ..Settings::default()
        };
        runners.push(coordinators[0].runner(settings).await);
    }
    let caller = Caller::of(&coordinators);
    let done = AtomicBool::new(false);
    let [one, other] = &mut coordinators[..] else {
        unreachable!()
    };
    let disturbed = runners.iter_mut().zip(1..);
    let disturbed = disturbed.map(|(runner, n)| disturb(runner, seed.wrapping_add(n), &done));
    let (asked, _, (), ()) = tokio::join!(
        work(&caller, &dir, seed, &done),
        futures::future::join_all(disturbed),
        disturb(one, seed.wrapping_add(100), &done),
        disturb(other, seed.wrapping_add(200), &done),
    );

    for id in asked.keys() {
        ended(&caller, id).await;
    }
    eventually("every process of every script is gone", async || {
        processes_of(&dir).is_empty().then_some(())
    })
    .await;
    for number in 0..RUNNERS.len() {
        has_all_slots(&caller, &profile(number), folder.path()).await;
    }
    let stored = stored(&nats).await;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for (id, run) in &asked {
        let id = id.parse().unwrap();
        let steps = &stored[&id];
        let state = folded(&id, steps);
        started_as_it_may(run, &state, steps, &dir);
        let shown = format!("{:?} {:?}", state.status, state.reason);
        *ends.entry(shown).or_default() += 1;
        assert_eq!(
            caller
                .ask(Method::GET, &format!("/runs/{id}"), &Value::Null, "")
                .await
                .1["status"],
            json!(state.status)
        );
    }
    assert_eq!(
        stored.len(),
        asked.len() + runners.len() * SLOTS as usize,
        "one run per request"
    );
    eprintln!("ended: {ends:?}");
}
