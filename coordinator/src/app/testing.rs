//! An app without a broker, for tests: the log in memory, nobody to ask, and no heartbeats.

use super::{App, Broker, Defaults, Storage, Wire};
use async_trait::async_trait;
use events::control::{Command, Done};
use events::log::jetstream::{
    AccountFacts, AskError, Deliveries, Link, Queue, QueueError, Snapshot, StorageError,
    StreamFacts,
};
use events::log::memory::MemoryLog;
use events::question::{Answer, Question};
use events::runner::Presence;
use events::subject::Stream;
use events::{Cadence, Lane, RunnerId};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// An app over a log of its own. The folder goes when the second value is dropped.
pub async fn app() -> (App, tempfile::TempDir) {
    app_on(&MemoryLog::default()).await
}

/// An app over this log; several may share one.
pub async fn app_on(log: &MemoryLog) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("projection");
    let opened = App::open(broker(log), &store, Defaults::default());
    let app = opened.await.unwrap();
    (app, folder)
}

pub fn broker(log: &MemoryLog) -> Broker {
    Broker {
        log: Arc::new(log.clone()),
        bundles: Arc::new(log.clone()),
        wire: Arc::new(Silence),
        storage: Arc::new(Silence),
    }
}

/// No runner is there.
struct Silence;

#[async_trait]
impl Wire for Silence {
    async fn ensure_queue(
        &self,
        _lane: &Lane,
        _cadence: Cadence,
        _from: u64,
    ) -> Result<(), QueueError> {
        Ok(())
    }

    async fn drop_lane(&self, _lane: &Lane, _up_to: u64) -> Result<(), QueueError> {
        Ok(())
    }

    async fn queues(&self) -> Result<BTreeSet<Lane>, QueueError> {
        Ok(BTreeSet::new())
    }

    async fn lost_queues(&self) -> Result<BoxStream<'static, Lane>, AskError> {
        Ok(futures::stream::pending().boxed())
    }

    async fn ask(&self, _runner: &RunnerId, _question: &Question) -> Option<Answer> {
        None
    }

    async fn command(
        &self,
        _runner: &RunnerId,
        _command: &Command,
        _patience: Duration,
    ) -> Option<Done> {
        None
    }

    async fn open_queue(&self) -> Result<(Queue, Deliveries), QueueError> {
        futures::future::pending().await
    }

    async fn announce(&self, _presence: &Presence) {}

    async fn presences(&self) -> Result<BoxStream<'static, Presence>, AskError> {
        Ok(futures::stream::pending().boxed())
    }

    fn listening_for(&self) -> Duration {
        Duration::MAX
    }

    fn link(&self) -> watch::Receiver<Link> {
        let connected = Link {
            connected: true,
            interruptions: 0,
            refusals: 0,
            since: std::time::Instant::now(),
        };
        watch::channel(connected).1
    }
}

/// There is no broker whose streams could be looked at.
#[async_trait]
impl Storage for Silence {
    async fn streams(&self) -> Result<Vec<StreamFacts>, StorageError> {
        Ok(Vec::new())
    }

    async fn stream(&self, _stream: Stream) -> Result<Option<StreamFacts>, StorageError> {
        Ok(None)
    }

    async fn account(&self) -> Result<AccountFacts, StorageError> {
        Ok(AccountFacts {
            storage_bytes: 0,
            max_storage_bytes: None,
        })
    }

    async fn snapshot(&self, stream: &str) -> Result<Snapshot, StorageError> {
        Err(StorageError::Unavailable {
            what: format!("give out the stream {stream}"),
        })
    }

    fn server_version(&self) -> String {
        "2.15.1".to_owned()
    }

    fn cluster(&self) -> Option<String> {
        None
    }
}
