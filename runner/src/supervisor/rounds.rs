//! Puts scripts in place whenever something else is wanted, again while something is wrong, and looks
//! now and then whether somebody changed the folder by hand.

use super::Input;
use super::voice::holding;
use crate::apply::{Look, Synced, converge};
use crate::lanes::Wanted;
use crate::station::Station;
use events::Timestamp;
use events::control::{Command, DETAILS_MAX, Done};
use events::log::jetstream::Commanded;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Between two tries where something is wrong: at first, and at last. A bundle that is missing or a
/// full disk may stay so for days; who cannot wait asks for a round.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// What makes a round.
pub struct Calls {
    pub wanted: watch::Receiver<Option<Wanted>>,
    /// Asked for, and to be answered when it is done.
    pub commands: mpsc::Receiver<Commanded>,
}

enum Next {
    /// Something else is wanted.
    Changed,
    /// Somebody asked, or it is time to look.
    Round(Option<Commanded>),
    End,
}

/// Goes on as long as the runner lives.
pub async fn rounds(station: Arc<Station>, mut calls: Calls, inputs: mpsc::Sender<Input>) {
    let verify_every = station.settings.verify_every;
    let mut verify_at = Instant::now() + verify_every;
    let mut retry = RETRY_FIRST;
    loop {
        let (look, commanded) = match calls.next(verify_at).await {
            Next::Changed => (Look::Changes, None),
            Next::Round(commanded) => (Look::Whole, commanded),
            Next::End => return,
        };
        let Some(wanted) = calls.wanted.borrow_and_update().clone() else {
            verify_at = Instant::now() + verify_every;
            continue;
        };
        let synced = round(&station, &wanted, look).await;
        let done = synced.is_done();
        if let Some(commanded) = commanded {
            let answer = answer(&commanded.command, &synced);
            station.connection.done(&commanded, &answer).await;
        }
        if inputs.send(Input::Synced(synced)).await.is_err() {
            return;
        }
        let now = Instant::now();
        (verify_at, retry) = match (done, look) {
            (false, _) => (now + retry, (retry * 2).min(RETRY_LAST)),
            (true, Look::Whole) => (now + verify_every, RETRY_FIRST),
            (true, Look::Changes) => (verify_at, RETRY_FIRST),
        };
    }
}

impl Calls {
    async fn next(&mut self, verify_at: Instant) -> Next {
        tokio::select! {
            changed = self.wanted.changed() => match changed {
                Ok(()) => Next::Changed,
                Err(_) => Next::End,
            },
            Some(commanded) = self.commands.recv() => Next::Round(Some(commanded)),
            () = tokio::time::sleep_until(verify_at) => Next::Round(None),
        }
    }
}

async fn round(station: &Station, wanted: &Wanted, look: Look) -> Synced {
    let synced = match converge(&station.shelf, &station.connection, wanted, look).await {
        Ok(synced) => synced,
        Err(error) => Synced::failed(wanted, &error),
    };
    for error in synced.told() {
        tracing::warn!(error, "a script is not in place");
    }
    synced
}

fn answer(command: &Command, synced: &Synced) -> Done {
    let Command::Resync { scripts: asked } = command;
    let now = Timestamp::now();
    let current = synced.scripts.values().filter(|s| s.is_current()).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let told = synced
        .scripts
        .iter()
        .filter(|(name, shelved)| asked.contains(*name) || !shelved.is_current());
    Done::Resynced {
        current: count(current),
        behind: count(synced.scripts.len() - current),
        repaired: synced.changes,
        scripts: told
            .take(DETAILS_MAX)
            .map(|(name, shelved)| (name.clone(), holding(name, shelved, now)))
            .collect(),
    }
}
