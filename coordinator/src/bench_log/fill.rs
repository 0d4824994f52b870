//! Made-up history: runs that went well, and a catalogue in which one script has many versions. Events
//! are those of the product, byte for byte; only nobody decided on them.

use anyhow::Context as _;
use bytes::Bytes;
use events::catalog::{AgentVersion, CatalogEvent, ScriptVersion};
use events::log::jetstream::Connection;
use events::log::{Append, Bundles as _, Expect};
use events::run::{Outcome, RunEvent, RunRequest, RunStep};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Actor, Envelope, EventId, RunId, SessionId, Timestamp, Via};
use futures::{StreamExt as _, TryStreamExt as _};
use schemas::bundle::{File, Folder};
use schemas::{AgentDocument, Digest, ScriptDocument};
use serde::Serialize;
use serde_json::json;
use std::ops::Range;

/// Events of a run.
pub const STEPS: u64 = 4;
/// The script with many versions.
pub const CATALOG_SCRIPT: &str = "bench";
/// Names between which the other events of the catalogue are.
const OTHERS: u64 = 1_000;
/// Appends on their way at once.
const AT_ONCE: usize = 256;

pub struct Fill<'a>(&'a Connection);

impl<'a> Fill<'a> {
    pub fn new(connection: &'a Connection) -> Self {
        Self(connection)
    }

    /// Runs with these numbers, each requested, claimed, started and completed.
    pub async fn runs(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let runs = futures::stream::iter(numbers).map(|number| self.run(number));
        runs.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn run(&self, number: u64) -> anyhow::Result<()> {
        let request = request(number)?;
        let (lane, run_id) = (request.lane_tags.lane(), request.run_id.clone());
        let runner_id: events::RunnerId = "bench-1".parse()?;
        let mut step = RunStep::first(request);
        let outcome = Outcome {
            exit_code: 0,
            result_data: json!({"deployed": ["web", "worker"], "took_seconds": 12, "number": number}),
            result_chunks: None,
            duration_ms: 12_000,
        };
        let attempt = 1;
        let claimed = RunEvent::Claimed {
            runner_id: runner_id.clone(),
            attempt,
        };
        let started = RunEvent::Started {
            runner_id: runner_id.clone(),
            attempt,
        };
        let completed = RunEvent::Completed {
            runner_id: runner_id.clone(),
            attempt,
            outcome,
        };
        let mut writer = Writer::Request;
        for next in [Some(claimed), Some(started), Some(completed), None] {
            let subject = RunSubject {
                lane: lane.clone(),
                run_id: run_id.clone(),
                writer,
            };
            let subject = subject.as_string();
            self.append(Stream::Runs, subject, envelope(step.clone(), None))
                .await?;
            writer = Writer::Runner(runner_id.clone());
            if let Some(next) = next {
                step = next.after(&step.state)?;
            }
        }
        Ok(())
    }

    /// So many events, evenly among them the versions of one script.
    pub async fn catalog(&self, events: u64, versions: u64) -> anyhow::Result<()> {
        let document =
            json!({"name": CATALOG_SCRIPT, "description": "", "script_file": "bench.sh"});
        let document = ScriptDocument::from_value(document)?;
        let file = ("bench.sh".parse()?, File::executable("echo\n"));
        let bundle = Folder::script(&document, [file])?.pack()?;
        let digest = self.0.put(bundle.bytes.clone().into()).await?;
        let size = bundle.bytes.len() as u64;
        let mut previous = None;
        let mut version = 0;
        let messages = (0..=events).map(|number| {
            let event = match number * versions / events > (number.max(1) - 1) * versions / events
                || number == 0
            {
                true => {
                    version += 1;
                    let mut document = document.clone();
                    document.description = format!("Version {version}");
                    script(version, digest, size, document)
                }
                false => other(number)?,
            };
            let subject = subject::catalog(event.kind(), event.name());
            let (id, bytes) = envelope(event, previous);
            previous = Some(Digest::of(&bytes));
            anyhow::Ok((subject, (id, bytes)))
        });
        // Sent in order, and stored in order: a connection does not overtake itself.
        futures::stream::iter(messages)
            .map_ok(|(subject, envelope)| self.append(Stream::Catalog, subject, envelope))
            .try_buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn append(
        &self,
        stream: Stream,
        subject: String,
        (id, payload): (EventId, Bytes),
    ) -> anyhow::Result<()> {
        let append = Append {
            stream,
            subject,
            id,
            payload,
            expect: Expect::Nothing,
        };
        let stored = events::log::Log::append(self.0, append).await;
        stored.map(drop).context("the log cannot be filled")
    }
}

fn envelope<E: Serialize>(event: E, previous: Option<Digest>) -> (EventId, Bytes) {
    let envelope = Envelope {
        id: EventId::fresh(),
        at: Timestamp::now(),
        actor: Actor::new("bench", Via::Cli),
        previous,
        event,
    };
    (envelope.id, envelope.to_bytes())
}

fn script(version: u32, digest: Digest, size: u64, document: ScriptDocument) -> CatalogEvent {
    let script = ScriptVersion {
        version,
        digest,
        size,
        files: Vec::new(),
        document,
        rollback_of: None,
    };
    match version {
        1 => CatalogEvent::ScriptCreated(script),
        _ => CatalogEvent::ScriptChanged(script),
    }
}

fn other(number: u64) -> anyhow::Result<CatalogEvent> {
    let name = format!("other-{}", number % OTHERS);
    let document = json!({"name": name, "description": format!("As of {number}"),
        "type": "autonomous", "system_prompt": "Answers questions about deployments."});
    let version = u32::try_from(number / OTHERS + 1)?;
    Ok(CatalogEvent::AgentChanged(AgentVersion {
        version,
        document: AgentDocument::from_value(document)?,
        owner: None,
        rollback_of: None,
    }))
}

/// The id of the run with this number: all over the place, as real ones are, and no two the same.
pub fn run_id(number: u64) -> RunId {
    // Odd, so every number has a product of its own: 2^64 divided by the golden ratio.
    RunId::from_bits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn request(number: u64) -> anyhow::Result<RunRequest> {
    let request = json!({
        "run_id": run_id(number),
        "session_id": SessionId::from_bits(number),
        "agent": format!("agent-{}", number % OTHERS),
        "agent_version": 1,
        "program": {"type": "script", "name": "deploy", "version": 3, "file": "deploy.sh", "tags": ["bash"]},
        "digest": Digest::of(b"bench"),
        "lane_tags": ["bash", "type:procedural"],
        "parameters": {"target": "staging", "services": ["web", "worker"], "number": number},
        "arguments": ["--target", "staging", "--services", "web,worker"],
        "timeout_seconds": 300,
        "max_attempts": 1,
        "execution_mode": "async_poll",
    });
    Ok(serde_json::from_value(request)?)
}
