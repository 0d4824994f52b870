//! The lanes' queues as runners see them: one durable consumer per lane, pulled by hand, because a pull that is
//! cancelled by unsubscribing costs whoever comes next a full lease (BROKER.md: "Claim loop").

use super::connection::Connection;
use crate::subject::{self, RunSubject, Stream};
use crate::{Lane, RunId};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::time::Duration;

/// How long a standing pull waits. Longer costs an idle runner less, and one that is lost without a
/// word is noticed later; beyond about two minutes the broker forgets it without one.
pub const STANDING_PULL: Duration = Duration::from_secs(60);

/// A lane's consumer that cannot be made, or a queue that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue of lane {lane} cannot be made ready")]
    Consumer {
        lane: Lane,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("lane {lane} cannot be taken away")]
    Retire {
        lane: Lane,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the broker does not say which lanes have a queue")]
    List(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the broker took no subscription for deliveries")]
    Subscribe(#[source] async_nats::SubscribeError),
    #[error("the broker took no message for lane {lane}")]
    Publish {
        lane: Lane,
        #[source]
        source: async_nats::PublishError,
    },
}

/// Asks lanes for runs; the answers arrive in its [`Deliveries`].
#[derive(Clone)]
pub struct Queue {
    connection: Connection,
    inbox: String,
}

/// All answers to all pulls of one [`Queue`].
pub type Deliveries = BoxStream<'static, Arrival>;

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Answer at once, with a run or with nothing.
    Now,
    /// Wait for a run, at most [`STANDING_PULL`].
    Standing,
}

/// One answer to a pull.
#[derive(Debug)]
pub enum Arrival {
    Run(Delivery),
    /// Nothing waits in the lane, or nothing came in time.
    Nothing {
        lane: Lane,
    },
    /// The lane has no queue (yet, or any more), or refuses pulls for now.
    Refused {
        lane: Lane,
        reason: String,
    },
}

/// A run that waits, or waits again.
#[derive(Debug)]
pub struct Delivery {
    pub lane: Lane,
    pub run_id: RunId,
    /// Of the request, in `RUNS`.
    pub sequence: u64,
    /// 1 for the first time. More does not mean that it was started.
    pub delivered: u64,
    pub payload: Bytes,
    pub lease: Lease,
}

/// The right to work on a delivery, until it is settled or its time is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    reply: String,
}

impl Lease {
    /// The lease that is settled by a word to this subject.
    pub fn new(reply: String) -> Self {
        Self { reply }
    }
}

impl Queue {
    /// Listens for answers; nothing is asked for yet.
    pub async fn open(connection: &Connection) -> Result<(Self, Deliveries), QueueError> {
        let inbox = connection.client.new_inbox();
        let answers = connection
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(QueueError::Subscribe)?;
        let queue = Self {
            connection: connection.clone(),
            inbox: inbox.clone(),
        };
        let arrivals = answers.filter_map(move |message| {
            let arrival = arrival(&inbox, &message);
            std::future::ready(arrival)
        });
        Ok((queue, arrivals.boxed()))
    }

    /// The lanes whose queue another server of a cluster keeps now, as it happens. Pulls that only
    /// the old one knew are lost without a word when it was killed.
    pub async fn moved(&self) -> Result<BoxStream<'static, Lane>, QueueError> {
        let told = self.connection.client.subscribe(subject::moved_consumers());
        let told = told.await.map_err(QueueError::Subscribe)?;
        let lanes = told.filter_map(|message| {
            std::future::ready(subject::parse_moved_consumer(&message.subject))
        });
        Ok(lanes.boxed())
    }

    /// Asks one lane for one run. The answer comes as an [`Arrival`].
    pub async fn pull(&self, lane: &Lane, pull: Pull) -> Result<(), QueueError> {
        let request = match pull {
            Pull::Now => r#"{"batch":1,"no_wait":true}"#.to_owned(),
            Pull::Standing => format!(r#"{{"batch":1,"expires":{}}}"#, STANDING_PULL.as_nanos()),
        };
        let subject = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
            Stream::Runs.name(),
            subject::lane_consumer(lane)
        );
        let reply = format!("{}.{lane}", self.inbox);
        let sent = self
            .connection
            .client
            .publish_with_reply(subject, reply, request.into())
            .await;
        sent.map_err(|source| QueueError::Publish {
            lane: lane.clone(),
            source,
        })
    }

    /// The run has ended; it is never delivered again.
    pub async fn ack(&self, lease: &Lease) {
        self.settle(lease, "+ACK".to_owned()).await;
    }

    /// Deliver it to somebody else, after `delay`.
    pub async fn hand_back(&self, lease: &Lease, delay: Duration) {
        let word = if delay.is_zero() {
            "-NAK".to_owned()
        } else {
            format!(r#"-NAK {{"delay":{}}}"#, delay.as_nanos())
        };
        self.settle(lease, word).await;
    }

    /// Still at work: begins the lease anew.
    pub async fn progress(&self, lease: &Lease) {
        self.settle(lease, "+WPI".to_owned()).await;
    }

    /// Fire and forget: a word that is lost means a redelivery, which finds the truth in the log.
    async fn settle(&self, lease: &Lease, word: String) {
        if !self.connection.is_connected() {
            return;
        }
        let sent = self
            .connection
            .client
            .publish(lease.reply.clone(), word.into())
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, "a lease was not settled; its run will be delivered again");
        }
    }
}

fn arrival(inbox: &str, message: &async_nats::Message) -> Option<Arrival> {
    if let Some(status) = message.status {
        let lane = message
            .subject
            .strip_prefix(inbox)?
            .strip_prefix('.')?
            .parse()
            .ok()?;
        let reason = message.description.clone().unwrap_or_default();
        return match status.as_u16() {
            100 => None,
            404 | 408 => Some(Arrival::Nothing { lane }),
            code => Some(Arrival::Refused {
                lane,
                reason: format!("{code} {reason}"),
            }),
        };
    }
    delivery(message).map(Arrival::Run)
}

fn delivery(message: &async_nats::Message) -> Option<Delivery> {
    let reply = message.reply.as_ref()?.to_string();
    let (delivered, sequence) = ack_numbers(&reply)?;
    let Some(subject) = RunSubject::parse(&message.subject) else {
        tracing::warn!(subject = %message.subject, "a delivery is not a run; skipped");
        return None;
    };
    Some(Delivery {
        lane: subject.lane,
        run_id: subject.run_id,
        sequence,
        delivered,
        payload: message.payload.clone(),
        lease: Lease { reply },
    })
}

/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, and the
/// longer form with domain and account in front of the stream.
fn ack_numbers(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = reply.split('.').collect();
    let first = match tokens.len() {
        9 => 4,
        n if n >= 11 => 6,
        _ => return None,
    };
    Some((tokens[first].parse().ok()?, tokens[first + 1].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::ack_numbers;

    #[test]
    fn both_forms_of_an_ack_subject_are_read() {
        let short = "$JS.ACK.RUNS.lane.3.42.5.1700000000000000000.0";
        let long = "$JS.ACK.hub.acchash.RUNS.lane.3.42.5.1700000000000000000.0.tok";
        assert_eq!(ack_numbers(short), Some((3, 42)));
        assert_eq!(ack_numbers(long), Some((3, 42)));
        assert_eq!(ack_numbers("_INBOX.x"), None);
    }
}
