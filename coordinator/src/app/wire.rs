//! The plain messages and queues beside the log, as a port: the broker's connection implements it,
//! and tests do without a broker.

use async_trait::async_trait;
use events::control::{Command, Done};
use events::log::jetstream::{AskError, Connection, Link, QueueError, ensure_consumer};
use events::question::{Answer, Question};
use events::runner::Presence;
use events::{Cadence, Lane, RunnerId};
use futures::stream::BoxStream;
use std::time::Duration;
use tokio::sync::watch;

/// What the coordinator needs of the broker beside the log.
#[async_trait]
pub trait Wire: Send + Sync {
    /// Makes a lane's queue, or finds it there. What it delivers stays with a runner for the
    /// cadence's lease.
    async fn ensure_queue(&self, lane: &Lane, cadence: Cadence) -> Result<(), QueueError>;

    /// Asks a runner; `None` when nobody answers.
    async fn ask(&self, runner: &RunnerId, question: &Question) -> Option<Answer>;

    /// Has a runner do something at once; `None` when it has not answered by then.
    async fn command(
        &self,
        runner: &RunnerId,
        command: &Command,
        patience: Duration,
    ) -> Option<Done>;

    /// Every runner's heartbeats.
    async fn presences(&self) -> Result<BoxStream<'static, Presence>, AskError>;

    /// The state of the link.
    fn link(&self) -> watch::Receiver<Link>;

    /// For how long nobody's silence was our own.
    fn listening_for(&self) -> Duration;
}

#[async_trait]
impl Wire for Connection {
    async fn ensure_queue(&self, lane: &Lane, cadence: Cadence) -> Result<(), QueueError> {
        ensure_consumer(self, lane, cadence.lease()).await
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
