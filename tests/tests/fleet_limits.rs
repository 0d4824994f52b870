//! Fleets beyond the broker's defaults: 1,001 lanes, 1,001 runs at work in one lane, and 1,001
//! runners waiting in one lane. Each of these numbers is one more than a default that would stop
//! it (1,000 consumers a stream, 1,000 unsettled deliveries, 512 waiting pulls).

use events::log::jetstream::{
    Access, Arrival, Connection, Deliveries, Pull, Queue, StreamSettings, ensure_consumer,
    ensure_streams,
};
use events::log::{Append, Expect, Log};
use events::subject::{self, RunSubject, Stream, Writer};
use events::{EventId, Lane, RunId};
use futures::StreamExt as _;
use futures::stream;
use tests::nats::Nats;

const MANY: u64 = 1001;
/// Requests under way at once while a story is set up.
const AT_ONCE: usize = 64;

async fn broker() -> (Nats, Connection) {
    let nats = Nats::start().await;
    let access = Access {
        url: nats.url(),
        nkey_seed: None,
        name: "fleet".to_owned(),
        inbox_prefix: subject::inbox_prefix("fleet"),
        owns_streams: true,
    };
    let connection = Connection::open(access).await.unwrap();
    ensure_streams(&connection, StreamSettings::default())
        .await
        .unwrap();
    (nats, connection)
}

fn lane(number: u64) -> Lane {
    format!("{number:032x}").parse().unwrap()
}

async fn make_lane(connection: &Connection, number: u64) {
    ensure_consumer(
        connection,
        &lane(number),
        events::Cadence::default().lease(),
        1,
    )
    .await
    .unwrap();
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
    Log::append(connection, append).await.unwrap();
}

async fn many<F: Future<Output = ()>>(work: impl Fn(u64) -> F) {
    stream::iter(1..=MANY)
        .for_each_concurrent(AT_ONCE, work)
        .await;
}

async fn next_run(deliveries: &mut Deliveries) -> RunId {
    match deliveries.next().await.unwrap() {
        Arrival::Run(delivery) => delivery.run_id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_of_1001_lanes_works_like_the_first() {
    let (_nats, connection) = broker().await;
    many(|number| make_lane(&connection, number)).await;
    let (queue, mut deliveries) = Queue::open(&connection).await.unwrap();
    request(&connection, &lane(MANY), MANY).await;
    queue.pull(&lane(MANY), Pull::Now).await.unwrap();
    assert_eq!(next_run(&mut deliveries).await, RunId::from_bits(MANY));
}

#[tokio::test]
async fn a_lane_hands_out_1001_runs_at_once() {
    let (_nats, connection) = broker().await;
    make_lane(&connection, 1).await;
    many(|number| {
        let (connection, lane) = (connection.clone(), lane(1));
        async move { request(&connection, &lane, number).await }
    })
    .await;
    let (queue, mut deliveries) = Queue::open(&connection).await.unwrap();
    let mut runs = std::collections::BTreeSet::new();
    for _ in 1..=MANY {
        queue.pull(&lane(1), Pull::Now).await.unwrap();
        // None of them is settled meanwhile.
        runs.insert(next_run(&mut deliveries).await);
    }
    assert_eq!(runs.len() as u64, MANY);
}

#[tokio::test]
async fn a_run_finds_the_last_of_1001_waiting_runners() {
    let (_nats, connection) = broker().await;
    make_lane(&connection, 1).await;
    let mut queues = Vec::new();
    for _ in 1..=MANY {
        let (queue, deliveries) = Queue::open(&connection).await.unwrap();
        queue.pull(&lane(1), Pull::Standing).await.unwrap();
        queues.push((queue, deliveries));
    }
    many(|number| {
        let (connection, lane) = (connection.clone(), lane(1));
        async move { request(&connection, &lane, number).await }
    })
    .await;
    let mut runs = std::collections::BTreeSet::new();
    for (_, deliveries) in &mut queues {
        runs.insert(next_run(deliveries).await);
    }
    assert_eq!(
        runs.len() as u64,
        MANY,
        "every runner got one run, no run twice"
    );
}
