//! Somebody with all rights on the broker, who writes the history of a stream anew.

use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use tests::nats::Nats;

/// A stream's messages as they stood, to be changed and put back.
pub struct Tamper {
    context: Context,
    config: Config,
    pub messages: Vec<Message>,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub subject: String,
    pub payload: Bytes,
}

pub async fn context(nats: &Nats) -> Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

impl Tamper {
    pub async fn with(nats: &Nats, stream: &str) -> Self {
        let context = context(nats).await;
        let stream = context.get_stream(stream).await.unwrap();
        let info = stream.get_info().await.unwrap();
        let mut messages = Vec::new();
        for sequence in 1..=info.state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            messages.push(Message {
                subject: message.subject.to_string(),
                payload: message.payload,
            });
        }
        Self {
            config: info.config,
            context,
            messages,
        }
    }

    /// Deletes the stream, makes it again, and stores these messages.
    pub async fn store(&self) {
        let name = &self.config.name;
        self.context.delete_stream(name).await.unwrap();
        let config = Config {
            deny_delete: false,
            deny_purge: false,
            ..self.config.clone()
        };
        self.context.create_stream(config).await.unwrap();
        for Message { subject, payload } in &self.messages {
            let stored = self.context.publish(subject.clone(), payload.clone());
            stored.await.unwrap().await.unwrap();
        }
    }

    /// Takes one message out of the stream as it was stored.
    pub async fn delete(&self, sequence: u64) {
        let stream = self.context.get_stream(&self.config.name).await.unwrap();
        assert!(stream.delete_message(sequence).await.unwrap());
    }
}
