//! The plain messages and queues beside the log, as a port: the broker's connection implements it,
//! and tests do without a broker.

use async_trait::async_trait;
use events::control::{Command, Done};
use events::log::jetstream::{
    AskError, Connection, Deliveries, Link, Queue, QueueError, drop_lane, ensure_consumer,
    lane_queues, lost_queues,
};
use events::question::{Answer, Question};
use events::runner::Presence;
use events::{Cadence, Lane, RunnerId};
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// What the coordinator needs of the broker beside the log.
#[async_trait]
pub trait Wire: Send + Sync {
    /// Makes a lane's queue, or finds it there. What it delivers stays with a runner for the
    /// cadence's lease; a new one begins with the sequence `from` of `RUNS`.
    async fn ensure_queue(
        &self,
        lane: &Lane,
        cadence: Cadence,
        from: u64,
    ) -> Result<(), QueueError>;

    /// Takes a lane's queue away, and its messages up to the sequence `up_to` of `LANES`.
    async fn drop_lane(&self, lane: &Lane, up_to: u64) -> Result<(), QueueError>;

    /// The lanes that have a queue.
    async fn queues(&self) -> Result<BTreeSet<Lane>, QueueError>;

    /// The lanes whose queue goes, as it happens.
    async fn lost_queues(&self) -> Result<BoxStream<'static, Lane>, AskError>;

    /// Asks a runner; `None` when nobody answers.
    async fn ask(&self, runner: &RunnerId, question: &Question) -> Option<Answer>;

    /// Has a runner do something at once; `None` when it has not answered by then.
    async fn command(
        &self,
        runner: &RunnerId,
        command: &Command,
        patience: Duration,
    ) -> Option<Done>;

    /// What the lanes' queues give out, to act in the name of runners that cannot reach them.
    async fn open_queue(&self) -> Result<(Queue, Deliveries), QueueError>;

    /// Says that a runner lives, in its name.
    async fn announce(&self, presence: &Presence);

    /// Every runner's heartbeats.
    async fn presences(&self) -> Result<BoxStream<'static, Presence>, AskError>;

    /// The state of the link.
    fn link(&self) -> watch::Receiver<Link>;

    /// For how long nobody's silence was our own.
    fn listening_for(&self) -> Duration;
}

#[async_trait]
impl Wire for Connection {
    async fn ensure_queue(
        &self,
        lane: &Lane,
        cadence: Cadence,
        from: u64,
    ) -> Result<(), QueueError> {
        ensure_consumer(self, lane, cadence.lease(), from).await
    }

    async fn drop_lane(&self, lane: &Lane, up_to: u64) -> Result<(), QueueError> {
        drop_lane(self, lane, up_to).await
    }

    async fn queues(&self) -> Result<BTreeSet<Lane>, QueueError> {
        lane_queues(self).await
    }

    async fn lost_queues(&self) -> Result<BoxStream<'static, Lane>, AskError> {
        lost_queues(self).await
    }

    async fn ask(&self, runner: &RunnerId, question: &Question) -> Option<Answer> {
        Connection::ask(self, runner, question).await
    }

    async fn command(
        &self,
        runner: &RunnerId,
        command: &Command,
        patience: Duration,
    ) -> Option<Done> {
        Connection::command(self, runner, command, patience).await
    }

    async fn open_queue(&self) -> Result<(Queue, Deliveries), QueueError> {
        Queue::open(self).await
    }

    async fn announce(&self, presence: &Presence) {
        Connection::announce(self, presence).await;
    }

    async fn presences(&self) -> Result<BoxStream<'static, Presence>, AskError> {
        Connection::presences(self).await
    }

    fn link(&self) -> watch::Receiver<Link> {
        Connection::link(self)
    }

    fn listening_for(&self) -> Duration {
        Connection::listening_for(self)
    }
}
