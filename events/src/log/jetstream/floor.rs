//! What measurements compare with: one plain message to many subscribers, and a stream read by nothing
//! but the client. Nothing is stored, and no part of the product speaks this way.

use super::connection::Connection;
use super::messages::AskError;
use crate::RunnerId;
use crate::log::ReadError;
use crate::subject::{self, Stream};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

impl Connection {
    /// Reads so many messages of a stream with an ordered consumer, looks at none of them, and says
    /// how many it were.
    pub async fn read_bare(&self, stream: Stream, count: u64) -> Result<u64, ReadError> {
        let failed = |error: Box<dyn std::error::Error>| ReadError::Refused {
            stream: stream.name(),
            reason: error.to_string(),
        };
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..Default::default()
        };
        let found = self.jetstream().get_stream_no_info(stream.name()).await;
        let found = found.map_err(|error| failed(error.into()))?;
        let consumer = found.create_consumer(config).await;
        let consumer = consumer.map_err(|error| failed(error.into()))?;
        let messages = consumer.messages().await;
        let mut messages = messages.map_err(|error| failed(error.into()))?;
        let mut read = 0;
        while read < count
            && let Some(message) = messages.next().await
        {
            message.map_err(|error| failed(error.into()))?;
            read += 1;
        }
        Ok(read)
    }

    /// Every shout in this runner's name, from about now on.
    pub async fn shouts(&self, runner: &RunnerId) -> Result<BoxStream<'static, Bytes>, AskError> {
        let heard = self.client.subscribe(subject::shouts(runner)).await;
        let heard = heard.map_err(|_| AskError("subscription to plain messages"))?;
        Ok(heard.map(|message| message.payload).boxed())
    }

    pub async fn shout(&self, runner: &RunnerId, payload: Bytes) -> Result<(), AskError> {
        let sent = self.client.publish(subject::shouts(runner), payload).await;
        sent.map_err(|_| AskError("plain message"))?;
        let flushed = self.client.flush().await;
        flushed.map_err(|_| AskError("plain message"))
    }
}
