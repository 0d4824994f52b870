//! Listens to the runners' heartbeats and knows since when it has been able to hear them.

use super::Wire;
use super::clock::Clock;
use crate::projections::Hearing;
use events::{Cadence, Timestamp};
use futures::StreamExt as _;
use jiff::SignedDuration;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two tries to listen.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);

pub struct Heartbeats {
    heard: Arc<RwLock<Hearing>>,
    /// Counts the heartbeats that said something new.
    news: Arc<watch::Sender<u64>>,
    wire: Arc<dyn Wire>,
    clock: Clock,
    _listener: JoinSet<()>,
}

impl Heartbeats {
    pub fn listen(wire: Arc<dyn Wire>, clock: Clock, cadence: Cadence) -> Self {
        let heard = Arc::new(RwLock::new(Hearing::new(cadence)));
        let news = Arc::new(watch::Sender::new(0));
        let mut listener = JoinSet::new();
        listener.spawn(listen(
            wire.clone(),
            clock.clone(),
            heard.clone(),
            news.clone(),
        ));
        Self {
            heard,
            news,
            wire,
            clock,
            _listener: listener,
        }
    }

    /// Who was heard. A process that was paused, or whose clock was set, begins to listen anew.
    pub fn hearing(&self) -> Hearing {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        let mut hearing = heard.clone();
        let listening_for = self.wire.listening_for().min(self.clock.steady_for());
        let since = before(self.clock.now(), listening_for);
        hearing.since = hearing.since.map(|subscribed| subscribed.max(since));
        hearing
    }

    /// Wakes when a runner comes, drains, or holds other runs; not by silence, which is no message.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

fn before(now: Timestamp, elapsed: Duration) -> Timestamp {
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or_default();
    now.checked_sub(elapsed).unwrap_or(now)
}

async fn listen(
    wire: Arc<dyn Wire>,
    clock: Clock,
    heard: Arc<RwLock<Hearing>>,
    news: Arc<watch::Sender<u64>>,
) {
    loop {
        listen_once(&*wire, &clock, &heard, &news).await;
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

async fn listen_once(
    wire: &dyn Wire,
    clock: &Clock,
    heard: &RwLock<Hearing>,
    news: &watch::Sender<u64>,
) {
    let write = || heard.write().unwrap_or_else(PoisonError::into_inner);
    let mut link = wire.link();
    let Ok(mut presences) = wire.presences().await else {
        return;
    };
    let connected = link.borrow_and_update().connected;
    write().since = connected.then(|| clock.now());
    loop {
        tokio::select! {
            presence = presences.next() => {
                let Some(presence) = presence else { break };
                if write().hear(presence, clock.now()) {
                    news.send_modify(|count| *count += 1);
                }
            }
            Ok(()) = link.changed() => {
                let connected = link.borrow_and_update().connected;
                write().since = connected.then(|| clock.now());
            }
        }
    }
    write().since = None;
}
