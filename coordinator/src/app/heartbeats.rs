//! Listens to the runners' heartbeats and knows since when it has been able to hear them.

use super::Wire;
use crate::projections::Hearing;
use events::{Cadence, Timestamp};
use futures::StreamExt as _;
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
    _listener: JoinSet<()>,
}

impl Heartbeats {
    pub fn listen(wire: Arc<dyn Wire>, cadence: Cadence) -> Self {
        let heard = Arc::new(RwLock::new(Hearing::new(cadence)));
        let news = Arc::new(watch::Sender::new(0));
        let mut listener = JoinSet::new();
        listener.spawn(listen(wire, heard.clone(), news.clone()));
        Self {
            heard,
            news,
            _listener: listener,
        }
    }

    pub fn hearing(&self) -> Hearing {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    /// Wakes when a runner comes, drains, or holds other runs; not by silence, which is no message.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

async fn listen(wire: Arc<dyn Wire>, heard: Arc<RwLock<Hearing>>, news: Arc<watch::Sender<u64>>) {
    loop {
        listen_once(&*wire, &heard, &news).await;
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

async fn listen_once(wire: &dyn Wire, heard: &RwLock<Hearing>, news: &watch::Sender<u64>) {
    let write = || heard.write().unwrap_or_else(PoisonError::into_inner);
    let mut link = wire.link();
    let Ok(mut presences) = wire.presences().await else {
        return;
    };
    let connected = link.borrow_and_update().connected;
    write().since = connected.then(Timestamp::now);
    loop {
        tokio::select! {
            presence = presences.next() => {
                let Some(presence) = presence else { break };
                if write().hear(presence, Timestamp::now()) {
                    news.send_modify(|count| *count += 1);
                }
            }
            Ok(()) = link.changed() => {
                let connected = link.borrow_and_update().connected;
                write().since = connected.then(Timestamp::now);
            }
        }
    }
    write().since = None;
}
