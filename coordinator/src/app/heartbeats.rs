//! Listens to the runners' heartbeats and knows since when it has been able to hear them.

use super::Wire;
use crate::projections::Hearing;
use events::Timestamp;
use futures::StreamExt as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::task::JoinSet;

/// Between two tries to listen.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);

pub struct Heartbeats {
    heard: Arc<RwLock<Hearing>>,
    _listener: JoinSet<()>,
}

impl Heartbeats {
    pub fn listen(wire: Arc<dyn Wire>) -> Self {
        let heard = Arc::new(RwLock::new(Hearing::default()));
        let mut listener = JoinSet::new();
        listener.spawn(listen(wire, heard.clone()));
        Self {
            heard,
            _listener: listener,
        }
    }

    pub fn hearing(&self) -> Hearing {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }
}

async fn listen(wire: Arc<dyn Wire>, heard: Arc<RwLock<Hearing>>) {
    loop {
        listen_once(&*wire, &heard).await;
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

async fn listen_once(wire: &dyn Wire, heard: &RwLock<Hearing>) {
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
                write().presences.hear(presence, Timestamp::now());
            }
            Ok(()) = link.changed() => {
                let connected = link.borrow_and_update().connected;
                write().since = connected.then(Timestamp::now);
            }
        }
    }
    write().since = None;
}
