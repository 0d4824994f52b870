//! The history proves itself: whatever is changed, removed or put into the log behind the coordinator's
//! back is named, a kept checkpoint finds what the chain cannot, and what the coordinator shows is what
//! the log says, byte for byte.

mod tamper;

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use std::process::Output;
use tamper::{Message, Tamper, context};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::nats::Nats;
use tests::runner::Settings;

async fn on(nats: &Nats) -> Coordinator {
    Coordinator::start_with(&["--nats-url", &nats.url()]).await
}

/// Six events: a script, its agent, and four more descriptions.
async fn six_events(coordinator: &Coordinator) {
    coordinator.bash("s", "echo 1\n").await;
    for description in ["one", "two", "three", "four"] {
        describe(coordinator, description).await;
    }
}

async fn describe(coordinator: &Coordinator, description: &str) {
    let body = Some(json!({"description": description}));
    let answer = coordinator.send(Method::PATCH, "/agents/s", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

fn verify(coordinator: &Coordinator, more: &[&str]) -> (i32, String) {
    said(&coordinator.cli(&[&["audit", "verify"], more].concat()))
}

/// The answer as JSON, whatever it is.
fn proof(coordinator: &Coordinator, more: &[&str]) -> Value {
    let output = coordinator.cli(&[&["audit", "verify", "-o", "json"], more].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn checkpoint(coordinator: &Coordinator) -> String {
    let (code, line) = said(&coordinator.cli(&["audit", "checkpoint"]));
    assert_eq!(code, 0, "{line}");
    line.trim().to_owned()
}

#[tokio::test]
async fn a_log_that_nobody_touched_verifies() {
    let coordinator = Coordinator::start().await;
    let (code, told) = verify(&coordinator, &[]);
    assert_eq!((code, told.as_str()), (0, "CATALOG: no events yet\n"));
    let (code, told) = said(&coordinator.cli(&["audit", "checkpoint"]));
    assert_eq!(code, 1);
    assert!(told.contains("no event to take a checkpoint of"), "{told}");

    six_events(&coordinator).await;
    let line = checkpoint(&coordinator);
    assert!(line.starts_with("CATALOG 6 sha256:"), "{line}");
    describe(&coordinator, "five").await;
    let (code, told) = verify(&coordinator, &["--checkpoint", &line]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.starts_with("CATALOG: 7 events, one chain. The last one: CATALOG 7 sha256:"),
        "{told}"
    );
    assert!(
        told.contains(&format!("checkpoint: holds ({line})")),
        "{told}"
    );

    let file = coordinator.data_dir().join("checkpoint.json");
    let json = coordinator
        .cli(&["audit", "checkpoint", "-o", "json"])
        .stdout;
    std::fs::write(&file, json).unwrap();
    let file = file.to_str().unwrap();
    let found = proof(&coordinator, &["--checkpoint", file]);
    assert_eq!(
        (&found["ok"], &found["checkpoint"]["sequence"]),
        (&json!(true), &json!(7))
    );

    for wrong in ["RUNS 1 sha256:00 now", "CATALOG 7"] {
        let (code, told) = verify(&coordinator, &["--checkpoint", wrong]);
        assert_eq!(code, 1);
        assert!(
            told.contains("as `coordinator audit checkpoint` prints it"),
            "{told}"
        );
    }
    let (code, told) = verify(&coordinator, &["--checkpoint", "no-such-file"]);
    assert_eq!(code, 2);
    assert!(told.contains("there is no file no-such-file"), "{told}");
}

type Change = fn(&mut Vec<Message>);

fn with(message: &Message, from: &str, to: &str) -> Message {
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    Message {
        subject: message.subject.clone(),
        payload: text.replace(from, to).into(),
    }
}

#[rstest]
#[case::a_message_is_changed(
    |log: &mut Vec<Message>| log[2] = with(&log[2], "\"one\"", "\"eins\""),
    "changed", 4, 3
)]
#[case::a_message_is_taken_out_and_the_rest_moves_up(
    |log: &mut Vec<Message>| drop(log.remove(3)),
    "changed", 4, 3
)]
#[case::the_first_ones_are_taken_out(
    |log: &mut Vec<Message>| drop(log.drain(..2)),
    "restarted", 1, 1
)]
#[case::a_foreign_one_is_put_between(
    |log: &mut Vec<Message>| {
        let payload = "{\"hello\": 1}".into();
        log.insert(3, Message { subject: "catalog.script.evil".to_owned(), payload });
    },
    "inserted", 4, 4
)]
#[case::one_is_there_twice(
    |log: &mut Vec<Message>| log.insert(3, log[2].clone()),
    "inserted", 4, 3
)]
#[case::one_stands_under_another_subject(
    |log: &mut Vec<Message>| log[5].subject = "catalog.agent.other".to_owned(),
    "misfiled", 6, 6
)]
#[tokio::test]
async fn what_was_done_to_the_log_is_named(
    #[case] change: Change,
    #[case] kind: &str,
    #[case] sequence: u64,
    #[case] concerned: u64,
) {
    let nats = Nats::start().await;
    let mut coordinator = on(&nats).await;
    six_events(&coordinator).await;
    coordinator.kill();
    let mut tamper = Tamper::with(&nats, "CATALOG").await;
    change(&mut tamper.messages);
    tamper.store().await;
    coordinator.start_again().await;
    let found = proof(&coordinator, &[]);
    let first = &found["findings"][0];
    let told = (&first["kind"], &first["sequence"], &first["from"]);
    assert_eq!(
        told,
        (&json!(kind), &json!(sequence), &json!(concerned)),
        "{found:#}"
    );
    let (code, told) = verify(&coordinator, &[]);
    assert_eq!(code, 1);
    let meaning = first["meaning"].as_str().unwrap();
    assert!(
        told.contains("NOT as it was written") && told.contains(meaning),
        "{told}"
    );
}

#[tokio::test]
async fn a_message_that_is_deleted_in_place_is_missed() {
    let nats = Nats::start().await;
    let mut coordinator = on(&nats).await;
    six_events(&coordinator).await;
    coordinator.kill();
    let tamper = Tamper::with(&nats, "CATALOG").await;
    tamper.store().await;
    tamper.delete(4).await;
    tamper.delete(6).await;
    coordinator.start_again().await;
    let found = proof(&coordinator, &[]);
    let first = &found["findings"][0];
    let told = (&first["kind"], &first["from"], &first["to"]);
    assert_eq!(told, (&json!("removed"), &json!(4), &json!(4)), "{found:#}");
    assert_eq!(
        found["breaks"], 2,
        "the end of the log is missing, too: {found:#}"
    );
    let status = coordinator.get("/status").await.body;
    assert_eq!(status["projection"]["chain_first_break"], 5, "{status:#}");
}

#[rstest]
#[case::its_end_is_cut_off(|log: &mut Vec<Message>| log.truncate(4), "cut_off")]
#[case::nothing_is_left(|log: &mut Vec<Message>| log.clear(), "cut_off")]
#[case::it_is_another_log(
    |log: &mut Vec<Message>| {
        // A chain as good as the old one, with another last word.
        let last = log.pop().unwrap();
        log.push(with(&last, "\"four\"", "\"vier\""));
    },
    "rewritten"
)]
#[tokio::test]
async fn a_kept_checkpoint_finds_what_the_chain_cannot(#[case] change: Change, #[case] kind: &str) {
    let nats = Nats::start().await;
    let mut coordinator = on(&nats).await;
    six_events(&coordinator).await;
    let kept = checkpoint(&coordinator);
    coordinator.kill();
    let mut tamper = Tamper::with(&nats, "CATALOG").await;
    change(&mut tamper.messages);
    tamper.store().await;
    coordinator.start_again().await;
    assert_eq!(verify(&coordinator, &[]).0, 0, "the chain alone is fine");
    let (code, told) = verify(&coordinator, &["--checkpoint", &kept]);
    assert_eq!(code, 1);
    assert!(told.contains(&format!("  {kind}: ")), "{told}");
}

#[tokio::test]
async fn who_follows_the_log_notices_a_message_that_does_not_belong_there() {
    let nats = Nats::start().await;
    let coordinator = on(&nats).await;
    six_events(&coordinator).await;
    let status = coordinator.get("/status").await.body;
    assert_eq!(status["projection"]["chain_breaks"], 0);
    let copied = Tamper::with(&nats, "CATALOG").await.messages.remove(0);
    let broker = context(&nats).await;
    let stored = broker.publish(copied.subject, copied.payload).await;
    stored.unwrap().await.unwrap();
    eventually("the break is counted", async || {
        let projection = coordinator.get("/status").await.body["projection"].take();
        (projection["chain_breaks"] == 1 && projection["chain_first_break"] == 7).then_some(())
    })
    .await;
    let (_, told) = said(&coordinator.cli(&["status"]));
    assert!(
        told.contains("BROKEN at 7; see `coordinator audit verify`"),
        "{told}"
    );
    // It changed nothing, and everything goes on.
    describe(&coordinator, "five").await;
    assert_eq!(coordinator.get("/scripts/s").await.body["version"], 1);
    let found = proof(&coordinator, &["--rebuild"]);
    assert_eq!(found["findings"][0]["kind"], "restarted");
    assert_eq!(
        (&found["breaks"], &found["rebuild"]["ok"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn what_is_shown_is_what_the_log_says_while_writes_go_on() {
    let nats = Nats::start().await;
    let coordinator = on(&nats).await;
    let _runner = coordinator.runner(Settings::default()).await;
    six_events(&coordinator).await;
    let writes = async {
        for round in 0..40 {
            describe(&coordinator, &format!("round {round}")).await;
            coordinator.request("s", json!({})).await;
        }
    };
    let verified = async {
        let mut rows = 0;
        for _ in 0..3 {
            let answer = coordinator.get("/audit/verify?rebuild=true").await;
            assert_eq!(answer.body["ok"], true, "{:#}", answer.body);
            rows = answer.body["rebuild"]["rows"].as_u64().unwrap();
        }
        rows
    };
    let ((), rows) = tokio::join!(writes, verified);
    assert!(rows > 6, "{rows}");
    let (code, told) = verify(&coordinator, &["--rebuild"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("rows, the same as rebuilt from the log"),
        "{told}"
    );
    let left = std::fs::read_dir(coordinator.data_dir()).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.starts_with(".rebuild-")));
}

#[tokio::test]
async fn what_retention_drops_is_no_difference_and_what_somebody_deletes_is() {
    let nats = Nats::start().await;
    let coordinator = on(&nats).await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("s", "echo 1\n").await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let id = coordinator.request("s", json!({})).await;
        coordinator.ends(&id).await;
        runs.push(id);
    }
    let broker = context(&nats).await;
    let stream = broker.get_stream("RUNS").await.unwrap();
    // The first message of the first run goes, its other steps stay; nobody has been told.
    stream.purge().sequence(2).await.unwrap();
    let (code, told) = verify(&coordinator, &["--rebuild"]);
    assert_eq!(code, 0, "{told}");
    let gone = coordinator.get(&format!("/runs/{}", runs[0])).await;
    // What is left of it is its summary, where that was stored already.
    assert!(
        gone.status == 404 || gone.body["steps_gone"] == true,
        "{gone:?}"
    );

    let last = stream.get_info().await.unwrap().state.last_sequence;
    assert!(stream.delete_message(last).await.unwrap());
    let (code, told) = verify(&coordinator, &["--rebuild"]);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("projection: NOT the same as rebuilt from the log"),
        "{told}"
    );
    let found = proof(&coordinator, &["--rebuild"]);
    let differences = found["rebuild"]["differences"].as_array().unwrap();
    let keys: Vec<&str> = differences
        .iter()
        .map(|d| d["key"].as_str().unwrap())
        .collect();
    assert!(keys.iter().any(|key| key.starts_with("r/")), "{found:#}");
    assert_eq!(found["findings"], json!([]), "the catalogue is untouched");
}
