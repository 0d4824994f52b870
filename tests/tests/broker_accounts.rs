//! The two accounts of the embedded broker, on a real server: a runner's key does everything a
//! runner needs and nothing else, also when whoever holds it does not keep to our rules.
//!
//! Speaks raw NATS on purpose: what our own log would never send is what matters here.

#![allow(clippy::unwrap_used)] // Functions that tests share are tests too.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, Request, StatusCode, Subscriber,
};
use coordinator::broker::{self, Broker, RunnerKey};
use futures::StreamExt;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Far beyond what loopback takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(10);
const INBOX: &str = "_INBOX.r1.all";

#[tokio::test]
async fn a_runner_appends_with_an_expected_sequence_and_gets_the_answer() {
    let world = World::start().await;
    world.app.append("run.l1.x.requested", "request").await;
    let mut expected = HeaderMap::new();
    expected.insert("Nats-Expected-Last-Subject-Sequence", "1");
    expected.insert("Nats-Expected-Last-Subject-Sequence-Subject", "run.l1.x.>");
    let claim = || {
        Request::new()
            .headers(expected.clone())
            .payload("claimed".into())
    };

    let won = world.runner.ask("run.l1.x.r1", claim()).await;
    assert_eq!(
        (&won["stream"], &won["seq"]),
        (&json!("RUNS"), &json!(2)),
        "{won}"
    );
    let lost = world.other.ask("run.l1.x.r2", claim()).await;
    assert_eq!(lost["error"]["err_code"], 10071, "{lost}");

    for subject in ["runner.r1", "output.l1.x.r1"] {
        world.runner.append(subject, "x").await;
    }
}

#[tokio::test]
async fn a_delivery_keeps_its_subject_and_is_held_handed_back_and_acknowledged() {
    let world = World::start().await;
    world.make_consumer("l1").await;
    let mut inbox = world.runner.subscribe(INBOX).await;
    let at_once = json!({"batch": 1, "no_wait": true});

    world.runner.pull("l1", &at_once).await;
    assert_eq!(next(&mut inbox).await.status, Some(StatusCode::NOT_FOUND));

    world
        .runner
        .pull("l1", &json!({"batch": 1, "expires": 30_000_000_000_u64}))
        .await;
    world.app.append("run.l1.x.requested", "request").await;
    let first = next(&mut inbox).await;
    assert_eq!(first.subject.as_str(), "run.l1.x.requested");
    assert_eq!(&first.payload[..], b"request");
    let lease = first.reply.unwrap();
    // Deliveries so far, sequence in the stream, sequence in the consumer.
    assert!(lease.starts_with("$JS.ACK.RUNS.l1.1.1.1."), "{lease}");

    let held = world
        .runner
        .request(&lease, Request::new().payload("+WPI".into()))
        .await;
    assert!(held.payload.is_empty(), "{held:?}");
    world.runner.pull("l1", &at_once).await;
    assert_eq!(next(&mut inbox).await.status, Some(StatusCode::NOT_FOUND));

    world
        .runner
        .client
        .publish(lease, "-NAK".into())
        .await
        .unwrap();
    world
        .runner
        .pull("l1", &json!({"batch": 1, "expires": 30_000_000_000_u64}))
        .await;
    let again = next(&mut inbox).await.reply.unwrap();
    assert!(again.starts_with("$JS.ACK.RUNS.l1.2.1.2."), "{again}");

    world
        .runner
        .request(&again, Request::new().payload("+ACK".into()))
        .await;
    let consumer = world
        .app
        .ask("$JS.API.CONSUMER.INFO.RUNS.l1", Request::new())
        .await;
    assert_eq!(consumer["ack_floor"]["stream_seq"], 1, "{consumer}");
    assert_eq!(consumer["num_ack_pending"], 0, "{consumer}");
}

#[tokio::test]
async fn a_runner_reads_lanes_in_pages_and_bundles_and_the_last_event_of_a_run() {
    let world = World::start().await;
    for (subject, text) in [
        ("lane.l1.tags", "tags"),
        ("lane.l1.script.a", "sync"),
        ("lane.l2.script.b", "other"),
        ("$O.BUNDLES.M.abc", "meta"),
        ("$O.BUNDLES.C.n1", "chunk 1"),
        ("$O.BUNDLES.C.n1", "chunk 2"),
        ("run.l1.x.requested", "request"),
    ] {
        world.app.append(subject, text).await;
    }
    world.runner.append("run.l1.x.r1", "claimed").await;

    let lanes = world.runner.page("LANES", "lane.l1.>").await;
    assert_eq!(lanes, ["tags", "sync"]);
    let chunks = world.runner.page("OBJ_BUNDLES", "$O.BUNDLES.C.n1").await;
    assert_eq!(chunks, ["chunk 1", "chunk 2"]);
    for (subject, text) in [
        ("OBJ_BUNDLES.$O.BUNDLES.M.abc", "meta"),
        ("RUNS.run.l1.x.>", "claimed"),
        ("LANES.lane.l1.script.a", "sync"),
    ] {
        let subject = format!("$JS.API.DIRECT.GET.{subject}");
        let answer = world.runner.request(&subject, Request::new()).await;
        assert_eq!(&answer.payload[..], text.as_bytes(), "{subject}");
    }
}

#[tokio::test]
async fn a_runner_hears_stored_changes_of_its_lane_and_stops_of_its_runs() {
    let world = World::start().await;
    let mut lane = world.runner.subscribe("live.lane.l1.>").await;
    let mut stops = world.runner.subscribe("live.run.l1.*").await;
    world.app.append("lane.l2.script.b", "not ours").await;
    world.app.append("lane.l1.script.a", "sync").await;
    world.app.append("run.l1.x.coordinator", "stop").await;

    let heard = next(&mut lane).await;
    assert_eq!(heard.subject.as_str(), "live.lane.l1.script.a");
    assert_eq!(values(&heard, "Nats-Stream"), ["LANES"]);
    assert_eq!(values(&heard, "Nats-Subject"), ["lane.l1.script.a"]);
    assert_eq!(values(&heard, "Nats-Sequence"), ["2"]);
    let stop = next(&mut stops).await;
    assert_eq!(
        (stop.subject.as_str(), &stop.payload[..]),
        ("live.run.l1.x", &b"stop"[..])
    );
    assert_eq!(values(&stop, "Nats-Subject"), ["run.l1.x.coordinator"]);
}

/// Only a cluster says so by itself.
#[tokio::test]
async fn a_runner_hears_that_a_queue_has_moved() {
    let world = World::start().await;
    let subject = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.RUNS.l1";
    let all = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.RUNS.*";
    let mut moved = world.runner.subscribe(all).await;
    let told = world.app.client.publish(subject, "{}".into());
    told.await.unwrap();
    assert_eq!(next(&mut moved).await.subject.as_str(), subject);
}

#[tokio::test]
async fn runners_and_the_coordinator_ask_runners_and_the_heartbeat_arrives() {
    let world = World::start().await;
    for (who, subject, reply) in [
        (&world.runner, "ask.r2", "_INBOX.r1."),
        (&world.app, "ask.r2", "_R_."),
        (&world.app, "control.r2", "_R_."),
    ] {
        let mut questions = world.other.subscribe(subject).await;
        let answer = who.request(subject, Request::new().payload("question".into()));
        let respond = async {
            let question = next(&mut questions).await;
            let to = question.reply.unwrap();
            assert!(to.starts_with(reply), "{subject}: {to}");
            world
                .other
                .client
                .publish(to, "answer".into())
                .await
                .unwrap();
        };
        let (answer, ()) = tokio::join!(answer, respond);
        assert_eq!(&answer.payload[..], b"answer", "{subject}");
    }

    let mut presence = world.app.subscribe("presence.*").await;
    world
        .runner
        .client
        .publish("presence.r1", "beat".into())
        .await
        .unwrap();
    let heard = next(&mut presence).await;
    assert_eq!(
        (heard.subject.as_str(), &heard.payload[..]),
        ("presence.r1", &b"beat"[..])
    );
}

#[tokio::test]
async fn a_runner_can_send_to_nothing_else() {
    let mut world = World::start().await;
    world.app.append("lane.l1.script.a", "sync").await;
    let before = world.contents().await;
    for subject in [
        "catalog.script.evil",
        "lane.l1.script.evil",
        "live.lane.l1.script.evil",
        "live.run.l1.x",
        "history.a",
        "run.l1.x.coordinator",
        "run.l1.x.requested",
        "control.r2",
        "$KV.X.a",
        "$O.BUNDLES.M.evil",
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.EVIL",
        "$JS.API.STREAM.UPDATE.RUNS",
        "$JS.API.STREAM.DELETE.RUNS",
        "$JS.API.STREAM.PURGE.RUNS",
        "$JS.API.STREAM.MSG.GET.CATALOG",
        "$JS.API.STREAM.MSG.DELETE.RUNS",
        "$JS.API.STREAM.INFO.CATALOG",
        "$JS.API.CONSUMER.CREATE.RUNS.evil",
        "$JS.API.CONSUMER.DELETE.RUNS.l1",
        "$JS.API.CONSUMER.MSG.NEXT.CATALOG.evil",
        "$JS.API.DIRECT.GET.CATALOG",
        "$JS.API.DIRECT.GET.CATALOG.catalog.script.a",
        "$JS.API.DIRECT.GET.RUNS",
        "$JS.API.DIRECT.GET.RUNNERS",
        "$JS.API.DIRECT.GET.RUNNERS.runner.r1",
        "runner.r1.coordinator",
        "$SYS.REQ.SERVER.PING",
    ] {
        world
            .runner
            .client
            .publish(subject, "{}".into())
            .await
            .unwrap();
        world.runner.expect_denied("Publish", subject).await;
    }
    assert_eq!(world.contents().await, before);
}

#[tokio::test]
async fn a_runner_can_listen_to_nothing_else() {
    let mut world = World::start().await;
    for subject in [
        ">",
        "run.>",
        "catalog.>",
        "lane.>",
        "presence.*",
        "output.>",
        "$JS.>",
        "$SYS.>",
    ] {
        let _subscription = world.runner.client.subscribe(subject).await.unwrap();
        world.runner.expect_denied("Subscription", subject).await;
    }
}

#[tokio::test]
async fn the_server_does_not_write_for_a_runner_by_way_of_a_reply() {
    let world = World::start().await;
    world.make_consumer("l1").await;
    world.app.append("lane.l1.script.a", "bytes").await;
    world.app.append("run.l1.x.requested", "bytes").await;
    world.runner.append("run.l1.x.r1", "bytes").await;
    let before = world.contents().await;
    for reply in [
        "catalog.script.evil",
        "lane.l1.script.evil",
        "run.l1.x.coordinator",
        "run.l1.y.requested",
        "run.l1.x.r2",
        "output.l1.x.r2",
        "runner.r2",
        "runner.r1.coordinator",
        "$O.BUNDLES.M.evil",
        "$JS.API.STREAM.DELETE.RUNS",
        "$JS.API.STREAM.PURGE.LANES",
    ] {
        for (subject, payload) in [
            ("$JS.API.DIRECT.GET.LANES.lane.l1.script.a", ""),
            ("$JS.API.DIRECT.GET.RUNS.run.l1.x.r1", ""),
            (
                "$JS.API.DIRECT.GET.LANES",
                r#"{"next_by_subj":"lane.>","batch":9}"#,
            ),
            (
                "$JS.API.CONSUMER.MSG.NEXT.RUNS.l1",
                r#"{"batch":1,"no_wait":true}"#,
            ),
            ("lanes.info", ""),
            ("$JS.API.DIRECT.GET.RUNNERS.runner.r1.coordinator", ""),
        ] {
            let sent = world
                .runner
                .client
                .publish_with_reply(subject, reply, payload.into());
            sent.await.unwrap();
        }
    }
    // Answered after all of the above, which went to the same stream before it.
    world.runner.page("LANES", "lane.>").await;
    assert_eq!(world.contents().await, before);
}

/// Why no user has `allow_responses`: with it this landed in `RUNS`.
#[tokio::test]
async fn a_question_to_oneself_does_not_open_the_subject_it_names_as_reply() {
    let mut world = World::start().await;
    let mut questions = world.runner.subscribe("ask.r1").await;
    for reply in ["run.l1.x.coordinator", "catalog.script.evil", "control.r2"] {
        let sent = world
            .runner
            .client
            .publish_with_reply("ask.r1", reply, "".into());
        sent.await.unwrap();
        let to = next(&mut questions).await.reply.unwrap();
        world
            .runner
            .client
            .publish(to, "forged".into())
            .await
            .unwrap();
        world.runner.expect_denied("Publish", reply).await;
    }
    assert_eq!(world.contents().await["RUNS"], 0);
}

/// Within their account a runner *can* make the server send stored bytes to what another one
/// listens to. This is how the receiver tells: the rules that runners rely on.
#[tokio::test]
async fn what_one_runner_fakes_towards_another_can_be_told_from_the_real_thing() {
    let world = World::start().await;
    let mut pretence = HeaderMap::new();
    pretence.insert("Nats-Stream", "LANES");
    pretence.insert("Nats-Subject", "lane.l1.script.evil");
    pretence.insert("Nats-Request-Info", r#"{"acc":"APP"}"#);
    let bytes = Request::new().headers(pretence).payload("evil".into());
    world.runner.ask("run.l1.x.r1", bytes).await;
    let mut control = world.other.subscribe("control.r2").await;
    let mut live = world.other.subscribe("live.lane.l1.>").await;
    for reply in ["control.r2", "live.lane.l1.script.evil"] {
        let subject = "$JS.API.DIRECT.GET.RUNS.run.l1.x.r1";
        let sent = world
            .runner
            .client
            .publish_with_reply(subject, reply, "".into());
        sent.await.unwrap();
    }

    // A command from a coordinator has a reply that begins with `_R_.`; this one has none.
    assert_eq!(next(&mut control).await.reply, None);
    // A stored copy names one stream and one subject; this one names its true origin as well.
    let fake = next(&mut live).await;
    assert_eq!(values(&fake, "Nats-Stream"), ["LANES", "RUNS"]);
    assert_eq!(
        values(&fake, "Nats-Subject"),
        ["lane.l1.script.evil", "run.l1.x.r1"]
    );
}

/// Each runner has a user of its own: what is another's is as closed as what is the coordinator's.
#[tokio::test]
async fn a_runner_can_neither_speak_for_another_nor_hear_what_is_said_to_it() {
    let mut world = World::start().await;
    world.app.append("lane.l1.script.a", "sync").await;
    let before = world.contents().await;
    for subject in [
        "run.l1.x.r2",
        "output.l1.x.r2",
        "runner.r2",
        "presence.r2",
        "$JS.API.DIRECT.GET.RUNNERS.runner.r2.coordinator",
        "$JS.API.CONSUMER.DELETE.RUNS.l1",
        "$JS.API.STREAM.PURGE.RUNNERS",
    ] {
        let sent = world.runner.client.publish(subject, "{}".into());
        sent.await.unwrap();
        world.runner.expect_denied("Publish", subject).await;
    }
    for subject in [
        "_INBOX.>",
        "_INBOX.*.>",
        "_INBOX.r2.>",
        "_INBOX.coordinator.>",
        "_R_.>",
        "ask.r2",
        "ask.*",
        "control.r2",
        "live.runner.r2",
        "live.runner.>",
        "live.output.>",
    ] {
        let _subscription = world.runner.client.subscribe(subject).await.unwrap();
        world.runner.expect_denied("Subscription", subject).await;
    }
    assert_eq!(world.contents().await, before);
    // And its own it may.
    world.runner.append("run.l1.x.r1", "claimed").await;
    for own in ["ask.r1", "control.r1", "live.runner.r1", "_INBOX.r1.x"] {
        let _subscription = world.runner.subscribe(own).await;
    }
    assert_eq!(world.runner.denials(), Vec::<String>::new());
}

#[tokio::test]
async fn a_user_comes_and_goes_without_disturbing_the_others() {
    let mut world = World::start().await;
    let pair = KeyPair::new_user();
    let options = || {
        let options = ConnectOptions::with_nkey(pair.seed().unwrap());
        options.custom_inbox_prefix("_INBOX.new")
    };
    assert!(options().connect(world.broker.url()).await.is_err());

    world.admit(&[("new", &pair)]);
    let newcomer = eventually(async || options().connect(world.broker.url()).await.ok()).await;
    newcomer
        .request("runner.new", "registered".into())
        .await
        .unwrap();

    world.admit(&[]);
    eventually(async || {
        options()
            .connect(world.broker.url())
            .await
            .is_err()
            .then_some(())
    })
    .await;
    // Who is shut out is cut off as well, not only kept from coming again.
    eventually(async || {
        let state = newcomer.connection_state();
        (state != async_nats::connection::State::Connected).then_some(())
    })
    .await;
    for peer in [&mut world.app, &mut world.runner] {
        assert_eq!(peer.connections(), 1);
    }
}

/// Many at once, among them those that no server would take.
#[tokio::test]
async fn many_users_come_by_one_reload_and_a_broken_one_keeps_nobody_out() {
    let mut world = World::start().await;
    let pairs: Vec<KeyPair> = (0..200).map(|_| KeyPair::new_user()).collect();
    let names: Vec<String> = (0..200).map(|number| format!("many-{number}")).collect();
    let app = world.app_key();
    let mut runners: Vec<RunnerKey> = names
        .iter()
        .zip(&pairs)
        .map(|(name, pair)| key(name, pair))
        .collect();
    runners.push(RunnerKey {
        id: "thief".to_owned(),
        key: app,
    });
    runners.push(RunnerKey {
        id: "broken".to_owned(),
        key: "UBROKEN".to_owned(),
    });
    world.admit_all(runners);
    for pair in [&pairs[0], &pairs[199]] {
        let options = || ConnectOptions::with_nkey(pair.seed().unwrap());
        eventually(async || options().connect(world.broker.url()).await.ok()).await;
    }
    assert_eq!(world.runner.connections(), 1);
    world.app.append("catalog.script.a", "still").await;
}

/// A broker with streams like ours, a coordinator and two runners.
struct World {
    app: Peer,
    runner: Peer,
    other: Peer,
    keys: [KeyPair; 2],
    broker: Broker,
    _data: TempDir,
}

impl World {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let tools = std::env::var_os("COORDINATOR_TOOLS").map(Into::into);
        let search = broker::Search::of_process(None, tools, data.path());
        let data_dir = data.path().to_path_buf();
        let broker = tokio::task::spawn_blocking(move || {
            let server = search.locate().unwrap_or_else(|error| panic!("{error}"));
            broker::start(broker::Config {
                data_dir,
                server,
                port: None,
            })
            .unwrap()
        });
        let broker = broker.await.unwrap();
        let url = broker.url();
        let keys = [KeyPair::new_user(), KeyPair::new_user()];
        let runners = [key("r1", &keys[0]), key("r2", &keys[1])];
        broker.roster().admit(&runners).unwrap();
        let seed = |number: usize| keys[number].seed().unwrap();
        let world = Self {
            app: Peer::connect(&url, broker.app_seed().expose(), "app").await,
            runner: Peer::connect(&url, &seed(0), "r1").await,
            other: Peer::connect(&url, &seed(1), "r2").await,
            keys,
            broker,
            _data: data,
        };
        for (name, config) in streams() {
            let request = Request::new().payload(config.to_string().into());
            let answer = world
                .app
                .ask(&format!("$JS.API.STREAM.CREATE.{name}"), request)
                .await;
            assert_eq!(answer["error"], Value::Null, "{answer}");
        }
        world
    }

    /// These, and the two that are always there.
    fn admit(&self, more: &[(&str, &KeyPair)]) {
        let more = more.iter().map(|(name, pair)| key(name, pair));
        self.admit_all(more.collect());
    }

    fn admit_all(&self, mut runners: Vec<RunnerKey>) {
        runners.extend([key("r1", &self.keys[0]), key("r2", &self.keys[1])]);
        self.broker.roster().admit(&runners).unwrap();
    }

    fn app_key(&self) -> String {
        let seed = self.broker.app_seed().expose();
        KeyPair::from_seed(seed).unwrap().public_key()
    }

    async fn make_consumer(&self, lane: &str) {
        let filter = format!("run.{lane}.*.requested");
        let config = json!({"stream_name": "RUNS", "config": {
            "durable_name": lane, "filter_subject": filter,
            "ack_policy": "explicit", "ack_wait": 30_000_000_000_u64,
        }});
        let subject = format!("$JS.API.CONSUMER.CREATE.RUNS.{lane}.{filter}");
        let request = Request::new().payload(config.to_string().into());
        let answer = self.app.ask(&subject, request).await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }

    /// How many messages each stream holds.
    async fn contents(&self) -> Value {
        let mut contents = serde_json::Map::new();
        for (name, _) in streams() {
            let subject = format!("$JS.API.STREAM.INFO.{name}");
            let stream = self.app.ask(&subject, Request::new()).await;
            contents.insert(name.to_owned(), stream["state"]["messages"].clone());
        }
        contents.into()
    }
}

/// One connection, and what the server said about it.
struct Peer {
    client: Client,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Peer {
    /// Waits until the server knows the key.
    async fn connect(url: &str, seed: &str, name: &str) -> Self {
        eventually(async || {
            let (sender, events) = mpsc::unbounded_channel();
            let client = ConnectOptions::with_nkey(seed.to_owned())
                .custom_inbox_prefix(format!("_INBOX.{name}"))
                .event_callback(move |event| {
                    let _ = sender.send(event);
                    std::future::ready(())
                })
                .connect(url)
                .await
                .ok()?;
            Some(Self { client, events })
        })
        .await
    }

    async fn request(&self, subject: &str, request: Request) -> Message {
        let request = request.timeout(Some(PATIENCE));
        let answer = self.client.send_request(subject.to_owned(), request).await;
        answer.unwrap_or_else(|error| panic!("{subject}: {error}"))
    }

    async fn ask(&self, subject: &str, request: Request) -> Value {
        let answer = self.request(subject, request).await;
        serde_json::from_slice(&answer.payload).unwrap_or_else(|_| panic!("{subject}: {answer:?}"))
    }

    async fn append(&self, subject: &str, text: &'static str) {
        let ack = self.ask(subject, Request::new().payload(text.into())).await;
        assert!(ack["seq"].is_u64(), "{subject}: {ack}");
    }

    /// A subscription the server knows of.
    async fn subscribe(&self, subject: &str) -> Subscriber {
        let subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        // Sending is no round trip; an answer on the same connection is, also "nobody listens".
        let _ = self.client.request("lanes.info", "".into()).await;
        subscription
    }

    async fn pull(&self, lane: &str, how: &Value) {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.RUNS.{lane}");
        let sent = self
            .client
            .publish_with_reply(subject, INBOX, how.to_string().into());
        sent.await.unwrap();
    }

    /// What a stream holds under a subject, read in one page.
    async fn page(&self, stream: &str, subject: &str) -> Vec<String> {
        let inbox = format!("{INBOX}.{stream}");
        let mut answers = self.subscribe(&inbox).await;
        let how = json!({"next_by_subj": subject, "seq": 1, "batch": 100}).to_string();
        let get = format!("$JS.API.DIRECT.GET.{stream}");
        self.client
            .publish_with_reply(get, inbox, how.into())
            .await
            .unwrap();
        let mut texts = Vec::new();
        loop {
            let message = next(&mut answers).await;
            if message.status.is_some() {
                return texts;
            }
            texts.push(String::from_utf8(message.payload.to_vec()).unwrap());
        }
    }

    /// Waits for the server to say that this was not allowed, and that nothing else was not.
    async fn expect_denied(&mut self, what: &str, subject: &str) {
        let wanted = format!("Permissions Violation for {what} to \"{subject}\"");
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            match event.unwrap_or_else(|_| panic!("{subject} was not denied")) {
                Some(Event::ServerError(error)) => {
                    assert!(
                        error.to_string().contains(&wanted),
                        "{error} instead of {wanted}"
                    );
                    return;
                }
                Some(_) => {}
                None => panic!("the connection is gone"),
            }
        }
    }

    /// What the server has denied since somebody last looked.
    fn denials(&mut self) -> Vec<String> {
        let told = std::iter::from_fn(|| self.events.try_recv().ok());
        told.filter_map(|event| match event {
            Event::ServerError(error) => Some(error.to_string()),
            _ => None,
        })
        .collect()
    }

    /// How often this peer has connected so far.
    fn connections(&mut self) -> usize {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .filter(|event| matches!(event, Event::Connected))
            .count()
    }
}

fn key(id: &str, pair: &KeyPair) -> RunnerKey {
    RunnerKey {
        id: id.to_owned(),
        key: pair.public_key(),
    }
}

async fn next(subscription: &mut Subscriber) -> Message {
    let message = tokio::time::timeout(PATIENCE, subscription.next()).await;
    message
        .expect("nothing arrived")
        .expect("the subscription ended")
}

async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let attempts = async {
        loop {
            match attempt().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempts)
        .await
        .expect("it never came to be")
}

fn values(message: &Message, header: &str) -> Vec<String> {
    let headers = message.headers.as_ref().expect("a message without headers");
    headers.get_all(header).map(ToString::to_string).collect()
}

/// As in DESIGN, as far as these tests need it.
fn streams() -> [(&'static str, Value); 6] {
    [
        (
            "CATALOG",
            json!({"name": "CATALOG", "subjects": ["catalog.>"]}),
        ),
        (
            "LANES",
            json!({"name": "LANES", "subjects": ["lane.>"], "allow_direct": true,
            "max_msgs_per_subject": 1, "republish": {"src": "lane.>", "dest": "live.lane.>"}}),
        ),
        (
            "RUNS",
            json!({"name": "RUNS", "subjects": ["run.*.*.*"], "allow_direct": true,
            "republish": {"src": "run.*.*.coordinator",
                "dest": "live.run.{{wildcard(1)}}.{{wildcard(2)}}"}}),
        ),
        (
            "RUNNERS",
            json!({"name": "RUNNERS", "subjects": ["runner.>"]}),
        ),
        (
            "OUTPUT",
            json!({"name": "OUTPUT", "subjects": ["output.*.*.*"]}),
        ),
        (
            "OBJ_BUNDLES",
            json!({"name": "OBJ_BUNDLES", "subjects": ["$O.BUNDLES.>"],
            "allow_direct": true}),
        ),
    ]
}
