//! On the log in memory: after the catalogue has changed, the lanes are told; what nobody takes
//! is ended.

use super::Settings;
use crate::app::testing::app_on;
use crate::domain::testing::{agent, folder, name};
use crate::policy::Patience;
use crate::testing::{actor, command};
use events::distribution::LaneEvent;
use events::log::Log as _;
use events::log::memory::MemoryLog;
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
