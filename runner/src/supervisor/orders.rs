//! What coordinators order this runner: read from the log at start, whenever a live copy hints at
//! news, after every interruption, and once a minute in case a hint was lost. What was read last
//! is kept in the state folder, because the log drops an order some day and a drain must not end
//! by that. What follows from an order is `state`'s.

use super::Input;
use crate::private::write_private;
use crate::station::Station;
use events::log::{Log as _, ReadError};
use events::runner::RunnerOrder;
use events::subject::{self, Stream};
use events::{Actor, Envelope, Timestamp};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Between two looks whether a live copy was lost.
const LOOK: Duration = Duration::from_secs(60);
/// Between two tries to subscribe or to read.
const PAUSE: Duration = Duration::from_millis(500);
/// A replica that is behind what a live copy announced is read again this often at most.
const STALE_READS_MAX: u32 = 100;
const STALE_PAUSE: Duration = Duration::from_millis(20);

/// The last word of a coordinator to this runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub order: RunnerOrder,
    pub at: Timestamp,
    pub by: Actor,
    /// In `RUNNERS`.
    pub sequence: u64,
}

/// Passes every order on, the first look included, until the runner ends.
pub fn start(station: &Arc<Station>, inputs: &Sender<Input>) {
    tokio::spawn(follow(station.clone(), inputs.clone()));
}

async fn follow(station: Arc<Station>, inputs: Sender<Input>) {
    let mut hints = subscribed(&station).await;
    let mut link = station.connection.link();
    let mut announced = 0;
    loop {
        let order = read(&station, announced).await;
        if inputs.send(Input::Ordered(order)).await.is_err() {
            return;
        }
        announced = tokio::select! {
            hint = hints.next() => match hint {
                Some(sequence) => sequence,
                None => {
                    hints = subscribed(&station).await;
                    0
                }
            },
            _ = link.changed() => 0,
            () = tokio::time::sleep(LOOK) => 0,
        };
    }
}

async fn subscribed(station: &Station) -> BoxStream<'static, u64> {
    loop {
        match station.connection.runner_orders(station.runner_id()).await {
            Ok(hints) => return hints,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The last order in the log, else the one that was kept.
async fn read(station: &Station, announced: u64) -> Option<Order> {
    let mut stale = 0;
    loop {
        match stored(station).await {
            Ok(Some(order)) if order.sequence < announced && stale < STALE_READS_MAX => {
                stale += 1;
                tokio::time::sleep(STALE_PAUSE).await;
            }
            Ok(Some(order)) => {
                if let Err(error) = keep(&station.settings.state_dir, &order) {
                    tracing::warn!(%error, "an order cannot be kept in the state folder");
                }
                return Some(order);
            }
            Ok(None) => return kept(&station.settings.state_dir),
            Err(error) => {
                tracing::debug!(%error, "orders cannot be read now; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn stored(station: &Station) -> Result<Option<Order>, ReadError> {
    let subject = subject::runner_order(station.runner_id());
    let Some(message) = station.connection.last(Stream::Runners, &subject).await? else {
        return Ok(None);
    };
    let Ok(envelope) = Envelope::<RunnerOrder>::from_bytes(&message.payload) else {
        tracing::warn!(
            sequence = message.sequence,
            "an order is not readable; skipped"
        );
        return Ok(None);
    };
    Ok(Some(Order {
        order: envelope.event,
        at: envelope.at,
        by: envelope.actor,
        sequence: message.sequence,
    }))
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("order.json")
}

fn kept(state_dir: &Path) -> Option<Order> {
    serde_json::from_slice(&std::fs::read(file(state_dir)).ok()?).ok()
}

fn keep(state_dir: &Path, order: &Order) -> io::Result<()> {
    if kept(state_dir).as_ref() == Some(order) {
        return Ok(());
    }
    write_private(&file(state_dir), &serde_json::to_vec_pretty(order)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_order_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(kept(folder.path()), None);
        let order = Order {
            order: RunnerOrder::Drained {
                reason: Some("disk".to_owned()),
            },
            at: "2026-11-20T10:00:00Z".parse().unwrap(),
            by: Actor::policy("test"),
            sequence: 7,
        };
        keep(folder.path(), &order).unwrap();
        assert_eq!(kept(folder.path()), Some(order));
    }
}
