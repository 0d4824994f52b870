//! The lanes' queues as coordinators keep them: one durable consumer of `RUNS` per lane. When a
//! lane is needed, and when not, is not known here.

use super::connection::Connection;
use super::messages::AskError;
use super::patience::Moment;
use super::queue::QueueError;
use crate::Lane;
use crate::subject::{self, Stream};
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeSet;
use std::time::Duration;

/// Runs of one lane that may be out at once; the server's default of 1,000 would stall a lane.
const MAX_ACK_PENDING: i64 = 100_000;
/// Standing pulls of one lane; the server's default of 512 would refuse runners.
const MAX_WAITING: i64 = 2048;
/// Redelivery has no limit: a run is settled by an event, never by giving up on its message.
const MAX_DELIVER: i64 = -1;

/// Two that make one queue at once differ in where it begins: the second finds it there.
const TRIES: u32 = 3;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Makes a lane's queue, or finds it there. A new one begins with the request at the sequence
/// `from`, so that what ended before is not handed out again. Needs the streams' own account.
pub async fn ensure_consumer(
    connection: &Connection,
    lane: &Lane,
    lease: Duration,
    from: u64,
) -> Result<(), QueueError> {
    let failed = |source: Source| QueueError::Consumer {
        lane: lane.clone(),
        source,
    };
    let runs = runs(connection).await.map_err(failed)?;
    let moment = Moment::begin();
    let mut tries = 0;
    loop {
        tries += 1;
        let found = match runs.consumer_info(subject::lane_consumer(lane)).await {
            // Left alone where there is nothing to change: of a queue that was made while the one
            // before it went, the server may have lost the folder; it serves, and refuses updates.
            Ok(info) if is_ours(&info.config, lease) => return Ok(()),
            Ok(info) => Some(info.config.deliver_policy),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => None,
            Err(error) if moment.passes(&error).await => continue,
            Err(error) => return Err(failed(Box::new(error))),
        };
        let begin = found.unwrap_or(DeliverPolicy::ByStartSequence {
            start_sequence: from.max(1),
        });
        match runs.create_consumer(config(lane, lease, begin)).await {
            Ok(_) => return Ok(()),
            Err(error) if tries < TRIES || moment.passes(&error).await => {}
            Err(error) => return Err(failed(Box::new(error))),
        }
    }
}

/// Takes a lane's queue away, and what `LANES` holds of it up to the sequence `up_to`. What
/// somebody wrote to it since stays.
pub async fn drop_lane(connection: &Connection, lane: &Lane, up_to: u64) -> Result<(), QueueError> {
    let failed = |source: Source| QueueError::Retire {
        lane: lane.clone(),
        source,
    };
    let name = subject::lane_consumer(lane);
    let runs = runs(connection).await.map_err(failed)?;
    match runs.consumer_info(&name).await {
        Ok(_) => {
            let gone = runs.delete_consumer(&name).await;
            gone.map_err(|error| failed(Box::new(error)))?;
        }
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {}
        Err(error) => return Err(failed(Box::new(error))),
    }
    let lanes = connection.jetstream();
    let lanes = lanes.get_stream_no_info(Stream::Lanes.name()).await;
    let lanes = lanes.map_err(|error| failed(Box::new(error)))?;
    let purge = lanes.purge().filter(subject::lane_all(lane));
    // The broker takes the first sequence that is to stay.
    let purged = purge.sequence(up_to + 1).await;
    purged.map_err(|error| failed(Box::new(error)))?;
    Ok(())
}

/// The lanes that have a queue.
pub async fn lane_queues(connection: &Connection) -> Result<BTreeSet<Lane>, QueueError> {
    let runs = runs(connection).await.map_err(QueueError::List)?;
    let names: Vec<String> = runs
        .consumer_names()
        .try_collect()
        .await
        .map_err(|error| QueueError::List(Box::new(error)))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The lanes whose queue goes, whoever takes it away, as it happens.
pub async fn lost_queues(connection: &Connection) -> Result<BoxStream<'static, Lane>, AskError> {
    let told = connection.client.subscribe(subject::lost_consumers()).await;
    let told = told.map_err(|_| AskError("subscription to what becomes of queues"))?;
    let lanes = told.filter_map(|message| {
        let lane = subject::parse_lost_consumer(&message.subject);
        std::future::ready(lane)
    });
    Ok(lanes.boxed())
}

async fn runs(connection: &Connection) -> Result<stream::Stream<()>, Source> {
    let context = connection.jetstream();
    let runs = context.get_stream_no_info(Stream::Runs.name()).await;
    runs.map_err(|error| Box::new(error).into())
}

/// Whether a queue that is there is as it would be made now.
fn is_ours(there: &consumer::Config, lease: Duration) -> bool {
    there.ack_policy == AckPolicy::Explicit
        && there.ack_wait == lease
        && there.max_deliver == MAX_DELIVER
        && there.max_ack_pending == MAX_ACK_PENDING
        && there.max_waiting == MAX_WAITING
        && there.num_replicas == 0
}

fn config(lane: &Lane, lease: Duration, deliver_policy: DeliverPolicy) -> pull::Config {
    pull::Config {
        durable_name: Some(subject::lane_consumer(lane)),
        filter_subject: subject::lane_requests(lane),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: lease,
        max_deliver: MAX_DELIVER,
        max_ack_pending: MAX_ACK_PENDING,
        max_waiting: MAX_WAITING,
        // As many as the stream: with a single one a lane would stand still for as long as its
        // server is away.
        num_replicas: 0,
        ..Default::default()
    }
}
