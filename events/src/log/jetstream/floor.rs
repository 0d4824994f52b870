//! What measurements compare with: one plain message to many subscribers. Nothing is stored, and no
//! part of the product speaks this way.

use super::connection::Connection;
use super::messages::AskError;
use crate::subject;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

impl Connection {
    /// Every shout of anybody, from about now on.
    pub async fn shouts(&self) -> Result<BoxStream<'static, Bytes>, AskError> {
        let heard = self.client.subscribe(subject::SHOUTS).await;
        let heard = heard.map_err(|_| AskError("subscription to plain messages"))?;
        Ok(heard.map(|message| message.payload).boxed())
    }

    pub async fn shout(&self, payload: Bytes) -> Result<(), AskError> {
        let sent = self.client.publish(subject::SHOUTS, payload).await;
        sent.map_err(|_| AskError("plain message"))?;
        let flushed = self.client.flush().await;
        flushed.map_err(|_| AskError("plain message"))
    }
}
