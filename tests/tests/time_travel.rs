//! What was at any moment is shown as it was shown then: scripts, agents, capabilities, lanes, pins, a
//! run, and everything at once; and what changed between two moments is told.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use std::path::Path;
use tests::coordinator::Coordinator;
use tests::runner::Settings;

/// Reads that go back in time.
const READS: [&str; 11] = [
    "/scripts",
    "/scripts/s",
    "/scripts/t",
    "/scripts/s/pins",
    "/agents",
    "/agents/s",
    "/agents/helper",
    "/agents/helper?raw=true",
    "/capabilities",
    "/capabilities/c",
    "/pins",
];

async fn did(coordinator: &Coordinator, method: Method, path: &str, body: Value) {
    let body = Some(body).filter(|body| !body.is_null());
    let answer = coordinator.send(method, path, body).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
}

/// A status and a body, without what is of the present only.
async fn read(coordinator: &Coordinator, path: &str) -> (u16, Value) {
    let answer = coordinator.get(path).await;
    let mut body = answer.body;
    if answer.status != 200 {
        return (answer.status.as_u16(), Value::Null);
    }
    let items = match &mut body {
        Value::Array(items) => &mut items[..],
        item => std::slice::from_mut(item),
    };
    for item in items {
        let fields = item.as_object_mut().unwrap();
        for field in [
            "as_of",
            "runners",
            "holding_only",
            "waiting",
            "waiting_since",
            "running",
        ] {
            fields.remove(field);
        }
    }
    (200, body)
}

/// All that is shown at one moment.
async fn shown(coordinator: &Coordinator, moment: &str) -> Vec<(String, (u16, Value))> {
    let mut all = Vec::new();
    for path in READS.into_iter().chain(["/lanes"]) {
        let and = if path.contains('?') { '&' } else { '?' };
        let answer = read(coordinator, &format!("{path}{and}{moment}")).await;
        all.push((path.to_owned(), answer));
    }
    all
}

/// A life with everything in it, and what was shown after each step.
async fn lived(coordinator: &Coordinator) -> Vec<Vec<(String, (u16, Value))>> {
    let script = |name: &str, content: &str| {
        json!({"name": name, "description": "", "script_file": "run.sh", "script_content": content,
            "demands": {"tags": ["bash"]}})
    };
    let agent = json!({"name": "s", "description": "", "type": "procedural", "script": "s"});
    let capability = json!({"name": "c", "description": "", "script": "t"});
    let helper = json!({"name": "helper", "description": "", "type": "autonomous",
        "system_prompt": "Help.", "capabilities": ["c"]});
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let steps = [
        (&post, "/scripts", script("s", "echo 1\n")),
        (&post, "/agents", agent.clone()),
        (&post, "/scripts", script("t", "echo t\n")),
        (&post, "/capabilities", capability),
        (&post, "/agents", helper),
        (&patch, "/scripts/s", json!({"script_content": "echo 2\n"})),
        (&post, "/scripts/s/pins", json!({"tags": ["gpu"]})),
        (&patch, "/capabilities/c", json!({"description": "Says t"})),
        (&patch, "/agents/s", json!({"demands": {"tags": ["disk"]}})),
        (&patch, "/scripts/t", json!({"description": "More"})),
        (&delete, "/agents/s", Value::Null),
        (&delete, "/scripts/s", Value::Null),
        (&post, "/scripts", script("s", "echo 3\n")),
        (&post, "/agents", agent),
        (&patch, "/agents/s/status", json!({"status": "inactive"})),
    ];
    let mut all = vec![shown(coordinator, "").await];
    for (method, path, body) in steps {
        did(coordinator, method.clone(), path, body).await;
        all.push(shown(coordinator, "").await);
    }
    all
}

async fn header(coordinator: &Coordinator, path: &str) -> String {
    let answer = coordinator.http(Method::GET, path).send().await.unwrap();
    let header = answer.headers()["x-as-of"].to_str().unwrap();
    header.to_owned()
}

/// The time of an event, as answers say it.
async fn time(coordinator: &Coordinator, sequence: usize) -> String {
    let said = header(coordinator, &format!("/scripts?at_seq={sequence}")).await;
    said.split_once(", ").unwrap().1.to_owned()
}

#[tokio::test]
async fn every_moment_is_shown_as_it_was_shown_then() {
    let mut coordinator = Coordinator::start().await;
    let told = lived(&coordinator).await;
    for (sequence, then) in told.iter().enumerate() {
        let now = shown(&coordinator, &format!("at_seq={sequence}")).await;
        assert_eq!(now, *then, "as of {sequence}");
    }
    // Without what was kept in memory, and by time.
    coordinator.kill();
    coordinator.start_again().await;
    for sequence in [9, 4, 12] {
        let at = time(&coordinator, sequence).await;
        let now = shown(&coordinator, &format!("at={at}")).await;
        assert_eq!(now, told[sequence], "at {at}");
        // Right before the next one, it is still so.
        let next: events::Timestamp = time(&coordinator, sequence + 1).await.parse().unwrap();
        let before = next - std::time::Duration::from_nanos(1);
        let now = shown(&coordinator, &format!("at={before}")).await;
        assert_eq!(now, told[sequence], "at {before}");
        let said = header(&coordinator, &format!("/agents?at={before}")).await;
        assert_eq!(said, format!("CATALOG {sequence}, {at}"));
    }
    // A time that is shown is one that can be asked about.
    let script = coordinator.get("/scripts/s").await.body;
    let at = script["modified_at"].as_str().unwrap();
    let then = coordinator.get(&format!("/scripts/s?at={at}")).await.body;
    assert_eq!(
        (&then["version"], &then["as_of"]["sequence"]),
        (&script["version"], &json!(13))
    );
    assert_eq!(then["as_of"]["at"], at);
    let lane = read(&coordinator, "/lanes?at_seq=9").await.1;
    let id = lane[0]["lane"].as_str().unwrap();
    let one = read(&coordinator, &format!("/lanes/{id}?at_seq=9")).await;
    assert_eq!(one, (200, lane[0].clone()));
    let download = coordinator.http(Method::GET, "/scripts/s/download?format=zst&at_seq=6");
    let download = download.send().await.unwrap();
    let bundle = download.bytes().await.unwrap();
    let digest = schemas::Digest::of(&bundle).to_string();
    let then = coordinator.get("/scripts/s?at_seq=6").await.body;
    assert_eq!(
        (then["digest"].as_str(), then["script_content"].as_str()),
        (Some(&digest[..]), Some("echo 2\n"))
    );
}

#[tokio::test]
async fn before_the_first_event_there_was_nothing() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo 1\n").await;
    for moment in [
        "at_seq=0",
        "at=2001-01-01",
        "at=10000d",
        "at=2001-01-01T12:00:00%2B02:00",
    ] {
        let said = header(&coordinator, &format!("/scripts?{moment}")).await;
        assert_eq!(said, "CATALOG 0, before the first event");
        assert_eq!(
            read(&coordinator, &format!("/scripts?{moment}")).await.1,
            json!([])
        );
        assert_eq!(
            read(&coordinator, &format!("/lanes?{moment}")).await.1,
            json!([])
        );
        let one = coordinator.get(&format!("/scripts/s?{moment}")).await;
        assert_eq!(one.refusal(), (404, "script_not_found"));
        let detail = one.body["detail"].as_str().unwrap();
        assert_eq!(
            detail,
            "Script not found as of CATALOG 0, before the first event: s"
        );
    }
}

#[rstest]
#[case(
    "at=2999-01-01",
    "in_the_future",
    "is in the future: by the broker's clock it is"
)]
#[case(
    "at_seq=3",
    "no_such_sequence",
    "CATALOG has no sequence 3 yet; the last one is 2"
)]
#[case(
    "at=yesterday",
    "invalid_time",
    "2026-11-20 (both UTC), or how long ago: 30m, 2h, 1d"
)]
#[case("at=17", "invalid_time", "not \"17\"")]
#[case("at=2h&at_seq=1", "two_moments", "not by both")]
#[tokio::test]
async fn a_moment_that_cannot_be_is_refused(
    #[case] moment: &str,
    #[case] code: &str,
    #[case] why: &str,
) {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo 1\n").await;
    for path in ["/scripts", "/agents/s", "/lanes", "/audit/replay"] {
        let answer = coordinator.get(&format!("{path}?{moment}")).await;
        assert_eq!(answer.refusal(), (400, code), "{path}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{detail}");
    }
}

#[tokio::test]
async fn a_run_is_shown_as_it_was_at_each_of_its_steps() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("s", "echo '{\"ok\": true}'\n").await;
    let other = coordinator.request("s", json!({})).await;
    let id = coordinator.request("s", json!({})).await;
    let waiting = coordinator.run(&id).await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.ends(&other).await;
    let ended = coordinator.ends(&id).await;
    let at = async |moment: &str| {
        let mut run = coordinator.run(&format!("{id}?{moment}")).await;
        let as_of = run["as_of"].take();
        run.as_object_mut().unwrap().remove("as_of");
        (run, as_of)
    };
    let created = ended["created_at"].as_str().unwrap();
    let (then, as_of) = at(&format!("at={created}")).await;
    assert_eq!(then, waiting);
    assert_eq!(
        (&as_of["stream"], &as_of["sequence"]),
        (&json!("RUNS"), &json!(2))
    );
    for (field, status) in [
        ("claimed_at", "claimed"),
        ("started_at", "running"),
        ("completed_at", "completed"),
    ] {
        let time = ended[field].as_str().unwrap();
        let (then, as_of) = at(&format!("at={time}")).await;
        assert_eq!(
            (&then["status"], &as_of["at"]),
            (&json!(status), &json!(time)),
            "{then}"
        );
    }
    assert_eq!(at("at=0s").await.0, ended, "as of now");
    let before = coordinator.get(&format!("/runs/{id}?at_seq=1")).await;
    assert_eq!(before.refusal(), (404, "run_not_found"));
    let detail = before.body["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("was requested at {created} (RUNS 2)")),
        "{detail}"
    );
    let beyond = coordinator.get(&format!("/runs/{id}?at_seq=999")).await;
    assert_eq!(beyond.refusal(), (400, "no_such_sequence"));
    let both = coordinator
        .get(&format!("/runs/{id}?at_seq=2&wait=1s"))
        .await;
    assert_eq!(both.refusal(), (400, "two_moments"));
    let shown = coordinator.cli(&["run", "show", &id, "--at-seq", "2"]);
    let said = String::from_utf8(shown.stderr).unwrap();
    assert!(said.starts_with("as of RUNS 2, "), "{said}");
}

fn said(coordinator: &Coordinator, arguments: &[&str]) -> (i32, String, String) {
    let output = coordinator.cli(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn the_command_line_goes_back_too() {
    let coordinator = Coordinator::start().await;
    lived(&coordinator).await;
    let (code, names, remark) = said(
        &coordinator,
        &["script", "list", "--at-seq", "2", "-o", "name"],
    );
    assert_eq!((code, names.as_str()), (0, "s\n"));
    assert!(remark.starts_with("as of CATALOG 2, "), "{remark}");
    let (_, content, _) = said(
        &coordinator,
        &["script", "show", "s", "--at-seq", "6", "--content"],
    );
    assert_eq!(content, "echo 2\n");
    let (code, _, why) = said(&coordinator, &["script", "show", "s", "--at-seq", "12"]);
    assert_eq!(code, 1);
    assert!(
        why.contains("Script not found as of CATALOG 12") && why.contains("script history s"),
        "{why}"
    );
    let (_, pins, _) = said(&coordinator, &["script", "pins", "--at-seq", "7"]);
    assert!(pins.contains("gpu"), "{pins}");
    let (_, lanes, _) = said(&coordinator, &["lane", "list", "--at-seq", "9"]);
    assert!(lanes.contains("{bash, disk, type:procedural}"), "{lanes}");
    let (code, _, why) = said(
        &coordinator,
        &["agent", "show", "s", "--at", "1h", "--version", "1"],
    );
    assert_eq!(code, 2, "{why}");

    let (code, told, _) = said(
        &coordinator,
        &["audit", "diff", "--from", "5", "--to", "10"],
    );
    assert_eq!(code, 1);
    assert_eq!(
        told,
        "script/s changed (v1 → v2): run.sh\n\
         script/t changed (v1 → v2): description\n\
         capability/c changed (v1 → v2): description\n\
         agent/s changed (v1 → v2): demands\n\
         pin/s pinned: tags gpu\n"
    );
    let (_, told, _) = said(&coordinator, &["audit", "diff", "--from", "10"]);
    assert_eq!(
        told,
        "script/s changed (v2 → v3): run.sh\n\
         agent/s changed (v2 → v4): demands, status\n\
         pin/s unpinned: tags gpu\n"
    );
    let same = said(&coordinator, &["audit", "diff", "--from", "5", "--to", "5"]);
    assert_eq!((same.0, same.1.as_str()), (0, "nothing differs\n"));
    let json = said(
        &coordinator,
        &["audit", "diff", "--from", "0", "--to", "1", "-o", "json"],
    )
    .1;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["from"]["sequence"], &json["differences"][0]["change"]),
        (&json!(0), &json!("added"))
    );
}

#[tokio::test]
async fn the_whole_catalogue_is_replayed_and_can_be_had_as_a_folder() {
    let coordinator = Coordinator::start().await;
    lived(&coordinator).await;
    let (code, items, remark) = said(
        &coordinator,
        &["audit", "replay", "--to", "7", "-o", "name"],
    );
    assert_eq!(code, 0, "{remark}");
    assert_eq!(
        items,
        "script/s\nscript/t\ncapability/c\nagent/helper\nagent/s\npin/s\n"
    );
    let json = said(
        &coordinator,
        &["audit", "replay", "--to", "7", "-o", "json"],
    )
    .1;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["as_of"]["sequence"], &json["scripts"][0]["version"]),
        (&json!(7), &json!(2))
    );
    let dir = coordinator.data_dir().join("then");
    let to = dir.to_str().unwrap();
    let (code, _, why) = said(&coordinator, &["audit", "replay", "--to", "7", "--dir", to]);
    assert_eq!(code, 0, "{why}");
    let content = |path: &str| std::fs::read_to_string(Path::new(&dir).join(path)).unwrap();
    assert_eq!(content("scripts/s/run.sh"), "echo 2\n");
    assert!(content("agents/helper/agent.json").contains("Help."));
    let (code, _, why) = said(&coordinator, &["audit", "replay", "--to", "7", "--dir", to]);
    assert_eq!(code, 1);
    assert!(why.contains("is there already"), "{why}");
    // It is a folder as apply reads it: what was then is what is again.
    let (code, _, why) = said(&coordinator, &["apply", "-f", to, "--prune", "-y"]);
    assert_eq!(code, 0, "{why}");
    let (_, told, _) = said(&coordinator, &["audit", "diff", "--from", "7"]);
    let made_anew = told
        .lines()
        .filter(|line| line.contains("script/") || line.contains("capability/"));
    assert_eq!(
        made_anew.collect::<Vec<_>>(),
        [
            "script/s changed (v2 → v4): made anew, as it was",
            "script/t changed (v1 → v3): made anew, as it was",
            "capability/c changed (v1 → v3): made anew, as it was"
        ],
        "{told}"
    );
}
