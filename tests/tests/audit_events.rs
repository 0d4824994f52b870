//! The log itself, event by event: listed, exported and followed, each event once, wherever one goes on,
//! also with another coordinator and after a restart; and positions that do not fit are refused.

use events::log::jetstream::{Access, Connection};
use events::log::{Append, Expect, Log as _};
use events::runner::RunnerEvent;
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Timestamp};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use tests::coordinator::Coordinator;
use tests::events::Events;
use tests::eventually::eventually;
use tests::nats::Nats;

/// Events that make reading them all at once a mistake.
const MANY: usize = 10_000;

async fn export(coordinator: &Coordinator, query: &str) -> Vec<Value> {
    let path = format!("/audit/export?{query}");
    let answer = coordinator.http(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let text = answer.text().await.unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn position(event: &Value) -> String {
    event["position"].as_str().unwrap().to_owned()
}

fn places(events: &[Value]) -> Vec<String> {
    let place = |event: &Value| format!("{} {}", event["stream"], event["seq"]);
    events.iter().map(place).collect()
}

async fn follow(coordinator: &Coordinator, query: &str, last: Option<&str>) -> Events {
    let path = format!("/events?{query}");
    let mut request = coordinator.http(Method::GET, &path);
    request = request.header("Accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    Events::of(request.send().await.unwrap())
}

/// The next event that stands in a stream; its id, and which it is.
async fn next(events: &mut Events) -> (String, String) {
    loop {
        let event = events.next().await.expect("the stream goes on");
        if event.name == "event" {
            return (event.id.unwrap(), places(&[event.data]).remove(0));
        }
    }
}

async fn touch(coordinator: &Coordinator, number: usize) {
    let change = json!({"description": format!("Change {number}")});
    let changed = coordinator.send(Method::PATCH, "/scripts/s", Some(change));
    assert!(changed.await.status.is_success());
}

#[tokio::test]
async fn who_follows_misses_nothing_here_and_elsewhere() {
    let nats = Nats::start().await;
    let url = nats.url();
    let options = ["--nats-url", url.as_str()];
    let mut one = Coordinator::start_with(&options).await;
    let other = Coordinator::start_with(&options).await;
    one.bash("s", "true\n").await;
    let mut events = follow(&one, "stream=catalog", None).await;
    let begin = events.next().await.unwrap();
    assert_eq!(
        (begin.name.as_str(), begin.data["position"].as_str()),
        ("begin", begin.id.as_deref())
    );
    drop(events);
    // What happens while nobody listens comes first.
    touch(&one, 1).await;
    let mut events = follow(&one, "stream=catalog", begin.id.as_deref()).await;
    let (first, place) = next(&mut events).await;
    assert_eq!(place, "\"CATALOG\" 3");
    touch(&other, 2).await;
    let (second, place) = next(&mut events).await;
    assert_eq!(place, "\"CATALOG\" 4");

    // Killed while somebody follows; what the client does then is the same everywhere.
    one.kill();
    touch(&other, 3).await;
    one.start_again().await;
    for (coordinator, last, places) in [(&one, &second, &[5][..]), (&other, &first, &[4, 5])] {
        let mut events = follow(coordinator, "stream=catalog", Some(last)).await;
        for sequence in places {
            assert_eq!(next(&mut events).await.1, format!("\"CATALOG\" {sequence}"));
        }
    }
    let mut filtered = follow(
        &other,
        "type=script_changed&from_seq=1&stream=catalog",
        None,
    )
    .await;
    for sequence in 3..=5 {
        assert_eq!(
            next(&mut filtered).await.1,
            format!("\"CATALOG\" {sequence}")
        );
    }
}

async fn many_words(nats: &Nats) {
    let access = Access {
        url: nats.url(),
        nkey_seed: None,
        name: "story".to_owned(),
        inbox_prefix: subject::inbox_prefix("story"),
        owns_streams: true,
    };
    let connection = Connection::open(access).await.unwrap();
    let runner: events::RunnerId = "gone".parse().unwrap();
    let word = |_| {
        let (connection, runner) = (&connection, &runner);
        async move {
            let envelope = Envelope {
                id: EventId::fresh(),
                at: Timestamp::now(),
                actor: Actor::runner(runner),
                previous: None,
                event: RunnerEvent::Left,
            };
            let append = Append {
                stream: Stream::Runners,
                subject: subject::runner(runner),
                id: envelope.id,
                payload: envelope.to_bytes(),
                expect: Expect::Nothing,
            };
            connection.append(append).await.unwrap();
        }
    };
    let words = futures::stream::iter(0..MANY).map(word);
    words.buffer_unordered(64).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn ten_thousand_events_are_exported_whole_and_in_parts() {
    let nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("s", "true\n").await;
    many_words(&nats).await;
    let whole = export(&coordinator, "").await;
    assert_eq!(whole.len(), MANY + 2);
    let different: BTreeSet<String> = places(&whole).into_iter().collect();
    assert_eq!(different.len(), whole.len(), "one twice");
    let times: Vec<Timestamp> = whole
        .iter()
        .map(|event| event["at"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(times.is_sorted());
    for cut in [0, 1, MANY / 2, MANY, MANY + 1] {
        let rest = export(&coordinator, &format!("resume={}", position(&whole[cut]))).await;
        assert_eq!(places(&rest), places(&whole[cut + 1..]), "after {cut}");
    }
    let from = export(&coordinator, "stream=runners&from_seq=9999").await;
    assert_eq!(places(&from), ["\"RUNNERS\" 9999", "\"RUNNERS\" 10000"]);
    let changes = export(
        &coordinator,
        "type=script_created,agent_created&actor=admin",
    )
    .await;
    assert_eq!(places(&changes), ["\"CATALOG\" 1", "\"CATALOG\" 2"]);

    // Up to a time in the middle, without reading what came after.
    let middle = whole[MANY / 2]["at"].as_str().unwrap();
    let path = format!("/events?stream=runners&limit=1&until={middle}");
    let newest = coordinator.get(&path).await.body;
    assert_eq!(newest["events"][0]["at"], middle);

    // The newest first, page by page.
    let (mut told, mut cursor) = (0, String::new());
    loop {
        let path = format!("/events?limit=200&stream=runners{cursor}");
        let page = coordinator.get(&path).await.body;
        let events = page["events"].as_array().unwrap();
        if told == 0 {
            assert_eq!(events[0]["seq"], MANY);
        }
        told += events.len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(told, MANY);
    let timeline = coordinator
        .get("/audit/timeline/runner/gone?limit=1000")
        .await;
    assert_eq!(timeline.body["entries"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn the_bytes_are_those_that_are_stored() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo 'é' \"$1\"\n").await;
    touch(&coordinator, 1).await;
    let answer = coordinator.http(Method::GET, "/audit/export?stream=catalog");
    let text = answer.send().await.unwrap().text().await.unwrap();
    let mut before = None;
    for line in text.lines() {
        let (_, event) = line.split_once(",\"event\":").unwrap();
        let bytes = event.strip_suffix('}').unwrap();
        let event: Value = serde_json::from_str(bytes).unwrap();
        assert_eq!(
            event["previous"].as_str().map(str::to_owned),
            before,
            "the chain holds"
        );
        let digest = schemas::Digest::of(bytes.as_bytes()).to_string();
        let said: Value = serde_json::from_str(line).unwrap();
        assert_eq!(said["digest"], digest);
        before = Some(digest);
    }
    let shown = coordinator.cli(&["event", "show", "1"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("script_created") && shown.contains("\"version\": 1"),
        "{shown}"
    );
    let listed = coordinator.cli(&["event", "list", "--type", "script_changed", "-q"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "3\n");
}

#[tokio::test]
async fn the_command_line_goes_on_after_a_restart() {
    let mut coordinator = Coordinator::start().await;
    coordinator.bash("s", "true\n").await;
    let mut tail =
        coordinator.cli_command(&["event", "tail", "--stream", "catalog", "-o", "jsonl"]);
    let resumed = ["--resume", "now"];
    let mut tail = tail.args(resumed).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // It listens once it tells of something.
    let mut number = 0;
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            let event: Value = serde_json::from_str(&line).unwrap();
            if send.send(event["seq"].as_u64().unwrap()).is_err() {
                return;
            }
        }
    });
    let first = eventually("it tells of something", async || {
        number += 1;
        touch(&coordinator, number).await;
        receive.try_recv().ok()
    })
    .await;
    coordinator.kill();
    coordinator.start_again().await;
    touch(&coordinator, 1_000_000).await;
    let last =
        coordinator.get("/events?stream=catalog&limit=1").await.body["events"][0]["seq"].as_u64();
    let last = last.unwrap();
    for expected in first + 1..=last {
        assert_eq!(receive.recv().await, Some(expected));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[tokio::test]
async fn positions_that_do_not_fit_are_refused() {
    let coordinator = Coordinator::start().await;
    let other = Coordinator::start().await;
    coordinator.bash("s", "true\n").await;
    let events = export(&coordinator, "").await;
    let here = position(events.last().unwrap());
    let ahead = here.replacen("catalog:2:", "catalog:9:", 1);
    for (coordinator, path, refusal) in [
        (
            &other,
            format!("/audit/export?resume={here}"),
            (409, "position_of_other_stream"),
        ),
        (
            &coordinator,
            format!("/audit/export?resume={ahead}"),
            (409, "position_ahead"),
        ),
        (
            &coordinator,
            "/audit/export?resume=x".to_owned(),
            (400, "invalid_position"),
        ),
        (
            &coordinator,
            "/audit/export?from_seq=1".to_owned(),
            (400, "sequence_without_stream"),
        ),
        (
            &coordinator,
            format!("/audit/export?from_seq=1&resume={here}"),
            (400, "two_beginnings"),
        ),
        (
            &coordinator,
            "/events?stream=lanes".to_owned(),
            (400, "unknown_stream"),
        ),
        (
            &coordinator,
            "/events?cursor=x".to_owned(),
            (400, "invalid_cursor"),
        ),
        (
            &coordinator,
            "/events?since=soon".to_owned(),
            (422, "invalid_request"),
        ),
        (
            &coordinator,
            "/events/catalog/3".to_owned(),
            (404, "event_not_found"),
        ),
        (
            &coordinator,
            "/events/catalog/x".to_owned(),
            (400, "invalid_sequence"),
        ),
        (
            &coordinator,
            "/events/nothing/1".to_owned(),
            (400, "unknown_stream"),
        ),
    ] {
        assert_eq!(coordinator.get(&path).await.refusal(), refusal, "{path}");
    }
    let tail = coordinator
        .http(Method::GET, "/events")
        .header("Accept", "text/event-stream");
    let tail = tail.header("Last-Event-ID", "17").send().await.unwrap();
    assert_eq!(tail.status(), 400);
}

/// What retention took between two readings is told, not passed over.
#[tokio::test]
async fn a_gap_is_told() {
    let nats = Nats::start().await;
    let coordinator = Coordinator::start_with(&["--nats-url", &nats.url()]).await;
    coordinator.bash("s", "true\n").await;
    for _ in 0..4 {
        coordinator.request("s", json!({})).await;
    }
    let runs = export(&coordinator, "stream=runs").await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream("RUNS").await.unwrap();
    stream.purge().sequence(4).await.unwrap();
    let rest = export(&coordinator, &format!("resume={}", position(&runs[0]))).await;
    assert_eq!(rest[0]["dropped"], json!({"from": 2, "to": 3}), "{rest:?}");
    assert_eq!((rest.len(), &rest[1]["seq"]), (2, &json!(4)));
    let anew = export(&coordinator, "stream=runs").await;
    assert_eq!(places(&anew), ["\"RUNS\" 4"]);
}
