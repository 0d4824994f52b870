//! On the log in memory: after the catalogue has changed, the lanes are told; what nobody takes
//! is ended.

use super::Settings;
use crate::app::testing::app_on;
use crate::domain::testing::{agent, folder, name};
use crate::policy::Patience;
use crate::testing::{actor, command};
use events::distribution::LaneEvent;
use events::history::HistoryEvent;
use events::log::memory::MemoryLog;
use events::log::{Log as _, Stored};
use events::run::{FailureReason, RunStatus};
use events::subject::Stream;
use events::{Cadence, Envelope};
use futures::StreamExt as _;
use std::time::Duration;

async fn told(log: &MemoryLog, count: usize) -> Vec<LaneEvent> {
    let messages = log.follow(Stream::Lanes, 1).take(count);
    let messages: Vec<_> = messages.collect().await;
    let envelopes = messages
        .iter()
        .map(|m| Envelope::from_bytes(&m.payload).unwrap());
    envelopes.map(|envelope| envelope.event).collect()
}

#[tokio::test]
async fn a_lane_is_told_its_tags_then_its_scripts_then_what_goes() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    let (other, _other_folder) = app_on(&log).await;
    // Two coordinators do the same work without doing it twice.
    let _reactors = super::start(&app, Settings::of(Cadence::default()));
    let _others = super::start(&other, Settings::of(Cadence::default()));
    app.create_script(&actor(), folder("deploy", "1"))
        .await
        .unwrap();
    app.create_agent(&actor(), agent("nightly", "deploy"))
        .await
        .unwrap();
    let first = told(&log, 2).await;
    assert!(matches!(&first[0], LaneEvent::Tags { .. }), "{first:?}");
    assert!(
        matches!(
            &first[1],
            LaneEvent::Sync {
                version: 1,
                catalog_sequence: 2,
                ..
            }
        ),
        "{first:?}"
    );
    app.put_script(&actor(), &name("deploy"), folder("deploy", "2"))
        .await
        .unwrap();
    app.delete_agent(&actor(), &name("nightly")).await.unwrap();
    // The stream keeps the last message of each subject, so the removal is what is left.
    let mut lanes = log.follow(Stream::Lanes, 1);
    loop {
        let message = lanes.next().await.unwrap();
        let envelope = Envelope::<LaneEvent>::from_bytes(&message.payload).unwrap();
        if let LaneEvent::Remove { script, .. } = envelope.event {
            assert_eq!(script, name("deploy"));
            return;
        }
    }
}

#[tokio::test]
async fn a_run_that_nobody_takes_in_time_fails() {
    let (app, _folder) = app_on(&MemoryLog::default()).await;
    let impatient = Settings {
        patience: Patience {
            silence: Duration::ZERO,
            schedule: Duration::ZERO,
        },
        settle_every: Duration::from_millis(1),
        ..Settings::of(Cadence::default())
    };
    app.create_script(&actor(), folder("deploy", "1"))
        .await
        .unwrap();
    app.create_agent(&actor(), agent("nightly", "deploy"))
        .await
        .unwrap();
    let run = app
        .request_run(&actor(), command("nightly"))
        .await
        .unwrap()
        .run;
    let _reactors = super::start(&app, impatient);
    let long = Duration::from_secs(600);
    let ended = app.wait_for_end(&run.request.run_id, long).await.unwrap();
    assert_eq!(ended.state.status, RunStatus::Failed);
    assert_eq!(ended.state.reason, Some(FailureReason::NoMatch));
}

async fn summaries(log: &MemoryLog) -> Vec<String> {
    let filter = Stream::History.subjects();
    let stored = log.page(Stream::History, filter, 1, 1_000).await.unwrap();
    let run = |stored: &Stored| match stored.envelope::<HistoryEvent>().unwrap().event {
        HistoryEvent::RunEnded(run) => run.run_id.to_string(),
    };
    stored.iter().map(run).collect()
}

#[tokio::test]
async fn every_ended_run_is_summarised_once_by_however_many() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    let (other, _other_folder) = app_on(&log).await;
    let settings = Settings::of(Cadence::default());
    let reactors = super::start(&app, settings);
    let _others = super::start(&other, settings);
    app.create_script(&actor(), folder("deploy", "1"))
        .await
        .unwrap();
    app.create_agent(&actor(), agent("nightly", "deploy"))
        .await
        .unwrap();
    let mut ended = Vec::new();
    for number in 0..40 {
        let run = app.request_run(&actor(), command("nightly")).await.unwrap();
        let run_id = run.run.request.run_id;
        let by = [&app, &other][number % 2];
        by.projections()
            .applied(Stream::Runs, run.run.first_sequence)
            .await;
        by.stop_run(&actor(), &run_id).await.unwrap();
        ended.push(run_id.to_string());
    }
    other.projections().applied(Stream::History, 40).await;
    assert_eq!(summaries(&log).await, ended, "in the order of their ends");

    // One that begins without any past finds nothing to do, and then what comes.
    drop(reactors);
    let (third, _third_folder) = app_on(&log).await;
    let _third = super::start(&third, settings);
    let run = app.request_run(&actor(), command("nightly")).await.unwrap();
    app.stop_run(&actor(), &run.run.request.run_id)
        .await
        .unwrap();
    third.projections().applied(Stream::History, 41).await;
    assert_eq!(summaries(&log).await.len(), 41);
    let past = third.past_run(&run.run.request.run_id).unwrap().unwrap();
    assert_eq!(past.stopped_by, Some(actor()));
}
