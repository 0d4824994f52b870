//! One message of every kind, from one story: alice brings `send-notification` and its agent
//! `notifier`, bob runs it.

use events::control::{Command, Done};
use events::question::{Answer, Question};
use events::runner::{
    Held, Holding, OverHttp, Presence, Registration, RunnerEvent, RunnerOrder, Sandbox, SyncError,
};
use events::{Actor, Envelope, EventId, LaneTags, RunId, RunnerId, Timestamp, Via};
use schemas::{AgentKind, CommandAgent, Digest, Tag};
use serde::Serialize;

/// Samples by the `type` they have on the wire, one row per variant. A variant without a row does
/// not compile, and a row whose sample is another variant fails.
macro_rules! samples {
    ($($type:literal: $variant:pat => $sample:expr),+ $(,)?) => {{
        let named = |sample: &_| match sample {
            $($variant => $type),+
        };
        let samples = vec![$(($type, $sample)),+];
        for (name, sample) in &samples {
            assert_eq!(named(sample), *name);
            assert_eq!(serde_json::to_value(sample).unwrap()["type"], *name);
        }
        samples
    }};
}

mod catalog;
mod history;
mod runs;

pub use catalog::{catalog, lanes};
pub use history::history;
pub use runs::{output, runs};

pub fn runners() -> Vec<(&'static str, Envelope<RunnerEvent>)> {
    let events = samples! {
        "registered": RunnerEvent::Registered(_) => RunnerEvent::Registered(Registration {
            hostname: "web1.example.com".to_owned(),
            project_dir: "/srv/project".to_owned(),
            executor_profile: "script".to_owned(),
            executor_type: AgentKind::Procedural,
            tags: tags(&[
                "bash",
                "dir:/srv/project",
                "host:web1.example.com",
                "messaging-team",
                "profile:script",
                "runner:web-1",
                "type:procedural",
                "uv",
            ]),
            one_of: tags(&["messaging-team", "runner:web-1"]),
            max_runs: 4,
            version: "0.1.0".to_owned(),
            sandbox: Some(Sandbox::Landlock {
                abi: 7,
                partial: false,
            }),
            agents: vec![backup()],
            agent_faults: vec!["/srv/agents/broken.json: the key \"name\" is missing".to_owned()],
            over_http: Some(Box::new(OverHttp {
                executor: executor(),
                token: "web1".to_owned(),
                silence_seconds: 150,
            })),
        }),
        "synced": RunnerEvent::Synced { .. } => RunnerEvent::Synced {
            whole: false,
            scripts: [("send-notification".parse().unwrap(), holding())].into(),
            gone: ["old-notification".parse().unwrap()].into(),
        },
        "left": RunnerEvent::Left => RunnerEvent::Left,
    };
    enveloped(60, &Actor::runner(&runner()), events)
}

/// What a coordinator says to a runner, in bob's name.
pub fn runner_orders() -> Vec<(&'static str, Envelope<RunnerOrder>)> {
    let events = samples! {
        "drained": RunnerOrder::Drained { .. } => RunnerOrder::Drained {
            reason: Some("new disk".to_owned()),
        },
        "resumed": RunnerOrder::Resumed => RunnerOrder::Resumed,
        "forgotten": RunnerOrder::Forgotten => RunnerOrder::Forgotten,
    };
    enveloped(64, &Actor::new("bob", Via::Cli), events)
}

/// Sent as it is, and never stored.
pub fn presence() -> Vec<(&'static str, Presence)> {
    let presence = Presence {
        runner_id: runner(),
        at: at(70),
        runs: [run()].into(),
        max_runs: 4,
        draining: false,
        silence_seconds: Some(150),
    };
    vec![("presence", presence)]
}

fn executor() -> serde_json::Map<String, serde_json::Value> {
    let executor = serde_json::json!({"type": "procedural", "command": "executor --verbose"});
    executor.as_object().unwrap().clone()
}

/// The first version is in place, the second is not.
fn holding() -> Holding {
    Holding {
        held: Some(Held {
            digest: bundle(1),
            version: Some(1),
            since: at(61),
        }),
        error: Some(SyncError {
            message: "disk full".to_owned(),
            since: at(62),
        }),
    }
}

/// Sent as it is, and never stored.
pub fn commands() -> Vec<(&'static str, Command)> {
    samples! {
        "resync": Command::Resync { .. } => Command::Resync {
            scripts: ["send-notification".parse().unwrap()].into(),
        },
    }
}

/// Sent as it is, and never stored.
pub fn done() -> Vec<(&'static str, Done)> {
    samples! {
        "resynced": Done::Resynced { .. } => Done::Resynced {
            current: 4,
            behind: 1,
            repaired: 2,
            scripts: [("send-notification".parse().unwrap(), holding())].into(),
        },
    }
}

/// Sent as it is, and never stored.
pub fn questions() -> Vec<(&'static str, Question)> {
    samples! {
        "holds_run": Question::HoldsRun { .. } => Question::HoldsRun { run_id: run(), attempt: 1 },
    }
}

/// Sent as it is, and never stored.
pub fn answers() -> Vec<(&'static str, Answer)> {
    samples! {
        "yes": Answer::Yes => Answer::Yes,
        "no": Answer::No => Answer::No,
    }
}

fn enveloped<E: Serialize>(
    first: u64,
    actor: &Actor,
    events: Vec<(&'static str, E)>,
) -> Vec<(&'static str, Envelope<E>)> {
    let numbered = (first..).zip(events);
    numbered
        .map(|(number, (name, event))| (name, envelope(number, actor.clone(), event)))
        .collect()
}

fn envelope<E>(number: u64, actor: Actor, event: E) -> Envelope<E> {
    // A UUID of version 7, made at the time of `at`.
    const FIRST: u128 = 0x019c_c000_0000_7000_8000_0000_0000_0000;
    Envelope {
        id: EventId::from_bits(FIRST + u128::from(number)),
        at: at(number),
        actor,
        previous: None,
        event,
    }
}

fn at(number: u64) -> Timestamp {
    let minutes = jiff::Span::new().minutes(i64::try_from(number).unwrap());
    "2026-03-06T08:15:04.120348Z"
        .parse::<Timestamp>()
        .unwrap()
        .checked_add(minutes)
        .unwrap()
}

/// The digest of a version of `send-notification`.
fn bundle(version: u32) -> Digest {
    Digest::of(format!("send-notification, version {version}").as_bytes())
}

/// An agent of the runner's own.
fn backup() -> CommandAgent {
    let document = serde_json::json!({
        "name": "backup",
        "description": "Save the database of this host",
        "command": ["/srv/agents/backup.sh", "--all databases"],
        "parameters_schema": {
            "type": "object",
            "properties": { "level": { "type": "integer", "default": 1 } },
        },
        "output_schema": { "type": "object" },
        "tags": ["internal"],
        "timeout_seconds": 900,
    });
    serde_json::from_value(document).unwrap()
}

fn tags<C: FromIterator<Tag>>(texts: &[&str]) -> C {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn lane_tags() -> LaneTags {
    // As an agent's demands make it; nobody may write `type:` by hand.
    tags(&["messaging-team", "type:procedural", "uv"])
}

fn runner() -> RunnerId {
    "web-1".parse().unwrap()
}

fn run() -> RunId {
    RunId::from_bits(0x3f9a_1c07_52be_d864)
}
