//! A broker of three servers loses the one that keeps a lane's queue: another one goes on with it, with
//! what was at work still at work, and whoever had a pull there is told to ask again.

use async_nats::jetstream::{self, consumer::Consumer, consumer::pull};
use events::log::jetstream::{
    Access, Arrival, Connection, Deliveries, Delivery, Pull, Queue, StreamSettings,
    ensure_consumer, ensure_streams,
};
use events::log::{Append, Expect, Log as _};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{Cadence, EventId, Lane, RunId};
use futures::StreamExt as _;
use std::time::Duration;
use tests::cluster::Cluster;
use tests::eventually::{PATIENCE, eventually};

/// For the answer to one question; one that is lost is asked again.
const ANSWER: Duration = Duration::from_secs(2);

async fn connect(url: String) -> Connection {
    let access = Access {
        url,
        nkey_seed: None,
        name: "story".to_owned(),
        inbox_prefix: subject::inbox_prefix("story"),
        owns_streams: true,
    };
    Connection::open(access).await.unwrap()
}

async fn make_ready(cluster: &Cluster, lane: &Lane) {
    let connection = connect(cluster.url()).await;
    let settings = StreamSettings {
        replicas: Some(3),
        ..StreamSettings::default()
    };
    eventually("the streams are there", async || {
        ensure_streams(&connection, settings).await.ok()
    })
    .await;
    let lease = Cadence::default().lease();
    eventually("the queue is there", async || {
        ensure_consumer(&connection, lane, lease, 1).await.ok()
    })
    .await;
}

/// The broker's own view of the lane's queue.
async fn queue_of(cluster: &Cluster, lane: &Lane) -> Consumer<pull::Config> {
    let urls: Vec<String> = cluster.url().split(',').map(str::to_owned).collect();
    let context = jetstream::new(async_nats::connect(urls).await.unwrap());
    eventually("the queue has all its servers", async || {
        let runs = context.get_stream(Stream::Runs.name()).await.ok()?;
        let queue: Consumer<pull::Config> = runs
            .get_consumer(&subject::lane_consumer(lane))
            .await
            .ok()?;
        let kept_by = queue.cached_info().cluster.as_ref()?;
        let whole = kept_by.leader.is_some() && kept_by.replicas.iter().all(|peer| peer.current);
        whole.then_some(queue)
    })
    .await
}

async fn request(connection: &Connection, lane: &Lane, number: u64) {
    let subject = RunSubject {
        lane: lane.clone(),
        run_id: RunId::from_bits(number),
        writer: Writer::Request,
    };
    let append = Append {
        stream: Stream::Runs,
        subject: subject.as_string(),
        id: EventId::fresh(),
        payload: "{}".into(),
        expect: Expect::Nothing,
    };
    eventually("a request is stored", async || {
        connection.append(append.clone()).await.ok()
    })
    .await;
}

async fn delivered(queue: &Queue, deliveries: &mut Deliveries, lane: &Lane) -> Delivery {
    eventually("a run is delivered", async || {
        queue.pull(lane, Pull::Now).await.unwrap();
        match tokio::time::timeout(ANSWER, deliveries.next()).await {
            Ok(Some(Arrival::Run(delivery))) => Some(delivery),
            _ => None,
        }
    })
    .await
}

#[tokio::test]
async fn fault_a_lane_goes_on_when_the_server_that_keeps_its_queue_dies() {
    let mut cluster = Cluster::start().await;
    let lane: Lane = format!("{:032x}", 1).parse().unwrap();
    make_ready(&cluster, &lane).await;
    let mut kept = queue_of(&cluster, &lane).await;
    let keeper = kept.cached_info().cluster.clone().unwrap().leader.unwrap();
    let survivor = Cluster::others(&keeper).remove(0);
    let connection = connect(cluster.url_of(&survivor)).await;
    let (queue, mut deliveries) = Queue::open(&connection).await.unwrap();
    let mut moved = queue.moved().await.unwrap();

    request(&connection, &lane, 1).await;
    let at_work = delivered(&queue, &mut deliveries, &lane).await;
    assert_eq!(at_work.run_id, RunId::from_bits(1));
    queue.pull(&lane, Pull::Standing).await.unwrap();
    eventually("the pull stands", async || {
        let waiting = kept.info().await.ok()?.num_waiting;
        (waiting == 1).then_some(())
    })
    .await;
    cluster.kill(&keeper);
    request(&connection, &lane, 2).await;

    let told = tokio::time::timeout(PATIENCE, moved.next()).await;
    assert_eq!(told.unwrap(), Some(lane.clone()));
    let next = delivered(&queue, &mut deliveries, &lane).await;
    assert_eq!(
        next.run_id,
        RunId::from_bits(2),
        "the first is still at work"
    );
    assert_eq!(next.delivered, 1);
}
