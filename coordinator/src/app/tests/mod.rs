//! The use cases on the log in memory.

mod catalog;
mod feed;
mod hooks;
mod observed;
mod runs;

use super::testing::{app, app_on};
use super::{
    App, AppError, Change, OutputQuery, Patch, Rejection, RunCommand, RunQuery, StopOutcome,
};
use crate::domain::testing::{agent, folder, name, script};
use crate::testing::{actor, envelope};
use events::log::memory::MemoryLog;
use events::log::{Append, Expect, Log as _};
use events::output::{OutputBatch, OutputChunk, OutputStream};
use events::run::{Outcome, Run, RunEvent, RunStatus};
use events::runner::RunnerEvent;
use events::subject::{self, RunSubject, Stream, Writer};
use events::{RunnerId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};
use schemas::bundle::{File, Folder};
use schemas::{AgentStatus, Demands};
use serde_json::json;
use std::time::Duration;

/// Longer than any test takes: nothing here waits for it to pass.
const LONG: Duration = Duration::from_secs(600);

async fn with_agent(app: &App) {
    let created = app.create_script(&actor(), folder("deploy", "true")).await;
    assert_eq!(created.unwrap().change, Change::Created);
    let created = app.create_agent(&actor(), agent("nightly", "deploy")).await;
    created.unwrap();
}

fn command() -> RunCommand {
    crate::testing::command("nightly")
}

fn rejection<T: std::fmt::Debug>(answer: Result<T, AppError>) -> Rejection {
    match answer {
        Err(AppError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

fn runner() -> RunnerId {
    "a".parse().unwrap()
}

/// Appends a runner's step, as a runner would.
async fn step(log: &MemoryLog, run: &Run, event: RunEvent) -> u64 {
    let (lane, run_id) = (run.request.lane_tags.lane(), run.request.run_id.clone());
    let last = log
        .last(Stream::Runs, &subject::run_all(&lane, &run_id))
        .await;
    let stored = last.unwrap().unwrap();
    let before = events::Envelope::<events::run::RunStep>::from_bytes(&stored.payload);
    let next = envelope(
        Timestamp::now(),
        event.after(&before.unwrap().event.state).unwrap(),
    );
    let subject = RunSubject {
        writer: Writer::Runner(runner()),
        run_id: run_id.clone(),
        lane: lane.clone(),
    };
    let append = Append {
        stream: Stream::Runs,
        subject: subject.as_string(),
        id: next.id,
        payload: next.to_bytes(),
        expect: Expect::Subjects {
            filter: subject::run_all(&lane, &run_id),
            sequence: stored.sequence,
        },
    };
    log.append(append).await.unwrap().sequence
}

fn claimed() -> RunEvent {
    RunEvent::Claimed {
        runner_id: runner(),
        attempt: 1,
    }
}

fn started() -> RunEvent {
    RunEvent::Started {
        runner_id: runner(),
        attempt: 1,
    }
}

fn completed() -> RunEvent {
    RunEvent::Completed {
        runner_id: runner(),
        attempt: 1,
        outcome: Outcome {
            exit_code: 0,
            result_data: json!({"ok": true}),
            result_chunks: None,
            duration_ms: 1,
        },
    }
}
