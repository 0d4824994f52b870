//! Following a stream: all its messages from a sequence on, in order, without a hole, for as long as
//! somebody listens. A consumer of our own that was lost, or that has skipped something, is made anew.
//!
//! The client has an ordered consumer, too. Where many messages wait and the host is busy it miscounts what
//! it has asked for and then asks for nothing, for 35 s (async-nats 0.51: what arrives before it has noted
//! its own request is not subtracted). Here a request is noted before it is sent.

use super::connection::{Connection, Link};
use crate::Timestamp;
use crate::log::Stored;
use crate::subject::Stream;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::{StatusCode, Subscriber};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use std::time::Duration;
use tokio::sync::watch;

/// Between two tries to follow a stream again.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages asked for in one request; the next one goes out when half of them are there.
const ASKED: usize = 1000;
/// How long a request stands where nothing comes. Then the next one tells whether the consumer is there.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// How much later the broker's word on that may come.
const SLACK: Duration = Duration::from_secs(5);
/// When the broker forgets a consumer that nobody asks.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// What says how many messages a request that has ended did not bring.
const UNFILLED: &str = "Nats-Pending-Messages";

/// Every message from `next` on.
pub(super) fn follow(
    connection: Connection,
    stream: Stream,
    next: u64,
) -> BoxStream<'static, Stored> {
    let following = Box::new(Following {
        connection,
        stream,
        next,
        consumer: None,
    });
    let messages = stream::unfold(following, |mut following| async {
        let stored = following.stored().await;
        Some((stored, following))
    });
    messages.boxed()
}

struct Following {
    connection: Connection,
    stream: Stream,
    /// The sequence that comes next.
    next: u64,
    consumer: Option<Ordered>,
}

impl Following {
    async fn stored(&mut self) -> Stored {
        loop {
            match self.read().await {
                Ok(stored) if stored.sequence >= self.next => {
                    self.next = stored.sequence + 1;
                    return stored;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(stream = self.stream.name(), %error, "following again");
                    self.consumer = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Stored, Lost> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => {
                if !self.connection.connected_within(PAUSE).await {
                    return Err(Lost::Link);
                }
                let consumer = Ordered::begin(&self.connection, self.stream, self.next).await?;
                none.insert(consumer)
            }
        };
        consumer.stored().await
    }
}

/// Why a consumer is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the broker cannot be reached")]
    Link,
    #[error("no consumer was made: {0}")]
    Create(#[from] async_nats::jetstream::stream::ConsumerError),
    #[error("nothing was asked for: {0}")]
    Ask(#[from] async_nats::client::PublishError),
    #[error("no answer was subscribed to: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("the broker ends it: {status} {reason}")]
    Ended { status: StatusCode, reason: String },
    #[error("something was not delivered")]
    Hole,
    #[error("what came is no message of a stream")]
    Foreign,
    #[error("the broker is silent")]
    Silence,
}

/// One consumer, and what was asked of it.
struct Ordered {
    client: async_nats::Client,
    /// Goes into each message while that is read: a copy costs more than the reading.
    context: Option<Context>,
    /// Where requests go, and what they say.
    asking: String,
    request: bytes::Bytes,
    inbox: String,
    answers: Subscriber,
    /// Messages that were asked for and are not there yet.
    outstanding: usize,
    /// How many the consumer has delivered.
    delivered: u64,
    link: watch::Receiver<Link>,
}

impl Ordered {
    async fn begin(connection: &Connection, stream: Stream, from: u64) -> Result<Self, Lost> {
        let mut link = connection.link();
        link.mark_unchanged();
        let context = connection.jetstream();
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: from.max(1),
            },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            inactive_threshold: FORGOTTEN_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        };
        let consumer: Consumer<pull::Config> = context
            .create_consumer_on_stream(config, stream.name())
            .await?;
        let inbox = connection.client.new_inbox();
        Ok(Self {
            answers: connection.client.subscribe(inbox.clone()).await?,
            client: connection.client.clone(),
            context: Some(context),
            asking: format!(
                "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
                stream.name(),
                consumer.cached_info().name
            ),
            request: format!(r#"{{"batch":{ASKED},"expires":{}}}"#, ASKED_FOR.as_nanos()).into(),
            inbox,
            outstanding: 0,
            delivered: 0,
            link,
        })
    }

    /// The next message.
    async fn stored(&mut self) -> Result<Stored, Lost> {
        loop {
            if self.outstanding <= ASKED / 2 {
                self.ask().await?;
            }
            let message = self.answer().await?;
            match message.status {
                None | Some(StatusCode::OK) => return self.taken(message),
                Some(StatusCode::TIMEOUT) => {
                    let unfilled = super::pages::number(message.headers.as_ref(), UNFILLED);
                    let unfilled = unfilled.and_then(|unfilled| usize::try_from(unfilled).ok());
                    self.outstanding -= unfilled.unwrap_or(ASKED).min(self.outstanding);
                }
                Some(status) => {
                    let reason = message.description.unwrap_or_default();
                    return Err(Lost::Ended { status, reason });
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<(), Lost> {
        self.outstanding += ASKED;
        let (asking, inbox) = (self.asking.clone(), self.inbox.clone());
        let request = self.request.clone();
        Ok(self
            .client
            .publish_with_reply(asking, inbox, request)
            .await?)
    }

    async fn answer(&mut self) -> Result<async_nats::Message, Lost> {
        // Most often it is there: then nothing is set up to wait for it.
        if let Some(answer) = self.answers.next().now_or_never() {
            return answer.ok_or(Lost::Link);
        }
        loop {
            tokio::select! {
                answer = self.answers.next() => return answer.ok_or(Lost::Link),
                // After an interruption a fresh consumer is quicker than finding out by time-outs.
                changed = self.link.changed() => {
                    if changed.is_err() || self.link.borrow_and_update().connected {
                        return Err(Lost::Link);
                    }
                }
                () = tokio::time::sleep(ASKED_FOR + SLACK) => return Err(Lost::Silence),
            }
        }
    }

    fn taken(&mut self, message: async_nats::Message) -> Result<Stored, Lost> {
        let context = self.context.take().ok_or(Lost::Foreign)?;
        let message = async_nats::jetstream::Message { message, context };
        let info = message.info().map_err(|_| Lost::Foreign)?;
        let at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
        let (at, sequence) = (at.map_err(|_| Lost::Foreign)?, info.stream_sequence);
        self.outstanding = self.outstanding.saturating_sub(1);
        self.delivered += 1;
        if info.consumer_sequence != self.delivered {
            return Err(Lost::Hole);
        }
        let async_nats::jetstream::Message { message, context } = message;
        self.context = Some(context);
        let async_nats::Message {
            subject,
            payload,
            headers,
            ..
        } = message;
        Ok(Stored {
            subject: subject.into_string(),
            sequence,
            at,
            payload,
            follows: headers.as_ref().and_then(super::pages::follows),
        })
    }
}
