//! Tells the embedded broker which runners have joined, whenever `CATALOG` says so: at start, when one
//! joins, when one is shut out. Many at once are told together.

use crate::app::{App, Members};
use crate::broker::{Roster, RunnerKey};
use events::subject::Stream;
use std::time::Duration;
use tokio::sync::watch;

/// Who joins within this time of each other is let in by one reload. A server with 500 users takes
/// 50 to 140 ms for one.
const GATHER: Duration = Duration::from_millis(20);
/// After the disk took nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// How far in `CATALOG` the broker knows who has joined.
pub type Admitted = watch::Receiver<u64>;

/// Works until it is dropped with what it was spawned on.
pub async fn run(app: App, roster: Roster, admitted: watch::Sender<u64>) {
    let mut changes = app.projections().watch(Stream::Catalog);
    let mut told: Option<Vec<RunnerKey>> = None;
    loop {
        changes.borrow_and_update();
        let members = app.members();
        let sequence = members.sequence;
        let runners = runners(members);
        if told.as_ref() != Some(&runners) {
            let Some(now) = tell(&roster, runners).await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            told = Some(now);
        }
        admitted.send_replace(sequence);
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

async fn tell(roster: &Roster, runners: Vec<RunnerKey>) -> Option<Vec<RunnerKey>> {
    let roster = roster.clone();
    let telling = tokio::task::spawn_blocking(move || {
        let admitted = roster.admit(&runners);
        admitted.map(|()| runners)
    });
    match telling.await {
        Ok(Ok(runners)) => {
            tracing::debug!(count = runners.len(), "the broker was told who has joined");
            Some(runners)
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the broker cannot be told who has joined; trying again");
            None
        }
        Err(error) => {
            tracing::error!(%error, "the broker cannot be told who has joined; trying again");
            None
        }
    }
}

/// Those who are let in.
pub fn runners(members: Members) -> Vec<RunnerKey> {
    let there = members.by_runner.into_iter();
    let there = there.filter(|(_, member)| !member.is_revoked());
    there
        .map(|(name, member)| RunnerKey {
            id: name.as_str().to_owned(),
            key: member.key.into(),
        })
        .collect()
}
