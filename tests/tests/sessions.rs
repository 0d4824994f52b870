//! Sessions as dashboards know them: listed, shown, hidden, and followed as they change.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::coordinator::Coordinator;
use tests::events::{Event, Events};
use tests::eventually::eventually;
use tests::runner::Settings;

const WAITS: &str = "while [ ! -e go ]; do sleep 0.02; done; rm go; echo 7\n";

async fn stream(coordinator: &Coordinator, query: &str, last: Option<&str>) -> Events {
    let request = coordinator.http(Method::GET, &format!("/sse/sessions{query}"));
    let request = request.header("accept", "text/event-stream");
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    Events::of(request.send().await.unwrap())
}

/// Up to and with the first event of that name.
async fn until(events: &mut Events, name: &str) -> Vec<Event> {
    let mut seen = Vec::new();
    loop {
        seen.push(events.next().await.unwrap());
        if seen.last().unwrap().name == name {
            return seen;
        }
    }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[tokio::test]
async fn sessions_are_listed_newest_first_and_shown_with_every_field() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("one", "echo 1\n").await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let id = coordinator.request("one", json!({})).await;
        sessions.insert(0, coordinator.ends(&id).await["session_id"].clone());
    }
    let listed = coordinator.get("/sessions").await.body;
    let ids = |listed: &Value| -> Vec<Value> {
        let sessions = listed["sessions"].as_array().unwrap().iter();
        sessions
            .map(|session| session["session_id"].clone())
            .collect()
    };
    assert_eq!(ids(&listed), sessions);
    let page = coordinator.get("/sessions?limit=2").await.body;
    assert_eq!(ids(&page), sessions[..2]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = coordinator
        .get(&format!("/sessions?limit=2&cursor={cursor}"))
        .await
        .body;
    assert_eq!(
        (ids(&rest), &rest["next_cursor"]),
        (sessions[2..].to_vec(), &Value::Null)
    );

    let id = sessions[0].as_str().unwrap();
    let shown = coordinator.get(&format!("/sessions/{id}")).await.body;
    let shown = shown["session"].as_object().unwrap();
    let fields: Vec<&str> = shown.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "session_id",
            "status",
            "created_at",
            "project_dir",
            "agent_name",
            "last_resumed_at",
            "parent_session_id",
            "executor_session_id",
            "executor_profile",
            "hostname"
        ]
    );
    assert_eq!(
        (&shown["status"], &shown["agent_name"]),
        (&json!("finished"), &json!("one"))
    );
    assert_eq!(&shown["executor_profile"], "default");
    let unknown = coordinator.get("/sessions/nobody").await;
    assert_eq!(unknown.refusal(), (404, "session_not_found"));
}

#[tokio::test]
async fn a_session_is_hidden_when_it_is_over_and_its_runs_stay() {
    let coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("waits", WAITS).await;
    let run = coordinator.request("waits", json!({})).await;
    let session = coordinator.run(&run).await["session_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/sessions/{session}");
    let early = coordinator.send(Method::DELETE, &path, None).await;
    assert_eq!(
        (early.status, &early.body["detail"]),
        (StatusCode::CONFLICT, &json!("Stop session first"))
    );
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    coordinator.ends(&run).await;
    let deleted = coordinator.send(Method::DELETE, &path, None).await;
    let expected = json!({
        "ok": true, "session_id": session, "runs_removed_from_cache": 1,
        "deleted": {"session": true, "events_count": 3, "runs_count": 1},
    });
    assert_eq!((deleted.status.as_u16(), deleted.body), (200, expected));
    for (path, status) in [
        (path.clone(), 404),
        (format!("{path}/result"), 404),
        (format!("{path}/events"), 404),
    ] {
        assert_eq!(coordinator.get(&path).await.status, status, "{path}");
    }
    let status = coordinator.get(&format!("{path}/status")).await.body;
    assert_eq!(status, json!({"status": "not_existent"}));
    assert_eq!(
        coordinator.get("/sessions").await.body["sessions"],
        json!([])
    );
    assert_eq!(coordinator.run(&run).await["status"], "completed");
    let again = coordinator.send(Method::DELETE, &path, None).await;
    assert_eq!(again.refusal(), (404, "session_not_found"));
}

#[tokio::test]
async fn changes_are_told_as_they_come_and_what_was_missed_again() {
    let mut coordinator = Coordinator::start().await;
    let runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("waits", WAITS).await;
    coordinator.bash("fails", "exit 3\n").await;
    let mut events = stream(&coordinator, "", None).await;
    let init = events.next().await.unwrap();
    assert_eq!(
        (init.name.as_str(), &init.data),
        ("init", &json!({"sessions": []}))
    );
    let position = init.id.unwrap();

    let run = coordinator.request("waits", json!({})).await;
    let session = coordinator.run(&run).await["session_id"].clone();
    let seen = until(&mut events, "event").await;
    assert_eq!(seen[0].name, "session_created");
    assert_eq!(seen[0].data["session"]["session_id"], session);
    let began = seen.last().unwrap();
    assert_eq!(began.data["data"]["event_type"], "run_start");
    assert!(began.data["data"].get("id").is_none() && began.data["data"]["session_id"] == session);
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    coordinator.ends(&run).await;
    let mut seen = until(&mut events, "event").await;
    seen.extend(until(&mut events, "event").await);
    let told: Vec<&Value> = seen
        .iter()
        .filter(|e| e.name == "event")
        .map(|e| &e.data["data"]["event_type"])
        .collect();
    assert_eq!(told, ["result", "run_completed"], "{seen:#?}");
    let last = until(&mut events, "session_updated").await.pop().unwrap();
    assert_eq!(last.data["session"]["status"], "finished");

    // Whoever comes back misses nothing, also from a coordinator that was away.
    coordinator.kill();
    coordinator.start_again().await;
    let failing = coordinator.request("fails", json!({})).await;
    coordinator.ends(&failing).await;
    let path = format!("/sessions/{}", session.as_str().unwrap());
    assert_eq!(
        coordinator.send(Method::DELETE, &path, None).await.status,
        200
    );
    let mut events = stream(&coordinator, "", last.id.as_deref()).await;
    let missed = until(&mut events, "session_deleted").await;
    assert_eq!(missed[0].name, "init");
    let created = missed
        .iter()
        .filter(|event| event.name == "session_created")
        .count();
    assert_eq!(created, 1, "{:?}", names(&missed));
    let failed = missed
        .iter()
        .find(|event| event.name == "run_failed")
        .unwrap();
    assert_eq!(failed.data["run_id"], failing.as_str());
    assert!(
        failed.data["error"]
            .as_str()
            .unwrap()
            .contains("exit code 3"),
        "{failed:?}"
    );
    let deleted = missed.last().unwrap();
    assert_eq!(
        deleted.data,
        json!({"session_id": session, "runs_deleted": 1})
    );

    let mut all = stream(&coordinator, "", Some(&position)).await;
    let all = until(&mut all, "session_deleted").await;
    assert!(all.len() > missed.len(), "{:?}", names(&all));
}

#[tokio::test]
async fn one_session_is_followed_alone_and_browsers_show_their_token_in_the_query() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("one", "echo 1\n").await;
    let query = format!("?session_id=mine&api_key={}", coordinator.token());
    let request = coordinator.stranger(Method::GET, &format!("/sse/sessions{query}"));
    let response = request
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let mut events = Events::of(response);
    assert_eq!(events.next().await.unwrap().data, json!({"sessions": []}));
    let other = coordinator.request("one", json!({})).await;
    coordinator.ends(&other).await;
    let body = json!({"agent_name": "one", "session_id": "mine"});
    assert_eq!(coordinator.post("/runs", body).await.status, 201);
    let seen = until(&mut events, "event").await;
    for event in &seen {
        let session = &event.data["session"]["session_id"];
        let session = session
            .as_str()
            .or(event.data["data"]["session_id"].as_str());
        assert_eq!(session, Some("mine"), "{event:?}");
    }
    let nobody = coordinator
        .stranger(Method::GET, "/sse/sessions")
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 401);
}

#[tokio::test]
async fn hooks_are_told_in_the_session_they_are_for() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator
        .bash("gate", "echo '{\"action\": \"continue\"}'\n")
        .await;
    coordinator.bash("work", "echo 7\n").await;
    let hooks = json!({"hooks": {"on_run_start": {"type": "agent", "agent_name": "gate"}}});
    let patched = coordinator
        .send(Method::PATCH, "/agents/work", Some(hooks))
        .await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let mut events = stream(&coordinator, "?session_id=mine", None).await;
    let body = json!({"agent_name": "work", "session_id": "mine"});
    assert_eq!(coordinator.post("/runs", body).await.status, 201);
    let mut types = Vec::new();
    while types.last() != Some(&json!("run_completed")) {
        let event = until(&mut events, "event").await.pop().unwrap();
        types.push(event.data["data"]["event_type"].clone());
    }
    assert_eq!(
        types,
        [
            "hook_start",
            "hook_complete",
            "run_start",
            "result",
            "run_completed"
        ]
    );
    eventually("the coordinator is well", async || {
        (coordinator.get("/health").await.status == 200).then_some(())
    })
    .await;
}
