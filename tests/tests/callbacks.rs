//! `async_callback`: a session that is told of the end of a run it waits for; and the life of a
//! session as its events tell it.

use serde_json::{Value, json};
use tests::coordinator::{Answer, Coordinator};
use tests::eventually::eventually;
use tests::runner::Settings;

/// An autonomous agent, which no runner here can run: its runs wait.
async fn thinker(coordinator: &Coordinator) -> String {
    let agent = json!({"name": "thinker", "type": "autonomous", "description": ""});
    assert_eq!(coordinator.post("/agents", agent).await.status, 201);
    let body = json!({"agent_name": "thinker", "parameters": {"prompt": "think"}});
    let begun = coordinator.post("/runs", body).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let warning = &begun.body["warnings"][0];
    assert_eq!(warning["code"], "no_runner", "{begun:?}");
    begun.body["session_id"].as_str().unwrap().to_owned()
}

async fn child(coordinator: &Coordinator, agent: &str, parent: &str) -> Answer {
    let body = json!({
        "agent_name": agent, "parameters": {}, "execution_mode": "async_callback",
        "parent_session_id": parent,
    });
    coordinator.post("/runs", body).await
}

/// The child at its end, once its callback is made or known to be impossible.
async fn called_back(coordinator: &Coordinator, child: &Answer) -> (Value, Option<Value>) {
    assert_eq!(child.status, 201, "{child:?}");
    let id = child.body["run_id"].as_str().unwrap();
    coordinator.ends(id).await;
    eventually("somebody is called back", async || {
        let run = coordinator.run(id).await;
        if run["callback"]["error"].is_string() {
            return Some((run, None));
        }
        let callback = run["callback"]["run_id"].as_str()?;
        let answer = coordinator.get(&format!("/runs/{callback}")).await;
        (answer.status == 200).then_some((run, Some(answer.body)))
    })
    .await
}

#[tokio::test]
async fn a_session_is_resumed_with_the_result_of_its_child() {
    let mut coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("adds", "echo '{\"sum\": 3}'\n").await;
    let parent = thinker(&coordinator).await;
    let (run, resumed) =
        called_back(&coordinator, &child(&coordinator, "adds", &parent).await).await;
    let resumed = resumed.unwrap();
    let session = run["session_id"].as_str().unwrap();
    let prompt = format!(
        "<agent-callback session=\"{session}\" status=\"completed\">\n{{\n  \"sum\": 3\n}}\n</agent-callback>"
    );
    assert_eq!(resumed["parameters"], json!({ "prompt": prompt }));
    let expected = json!({
        "type": "resume_session", "session_id": parent, "agent_name": "thinker",
        "status": "pending", "callback_of": run["run_id"],
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&resumed[field], value, "{field}");
    }
    assert_eq!(resumed["demands"]["tags"], json!(["type:autonomous"]));
    let shown = coordinator.cli(&["run", "show", run["run_id"].as_str().unwrap()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = shown.lines().find(|line| line.starts_with("callback:"));
    assert!(line.is_some_and(|line| line.contains(&parent)), "{shown}");

    coordinator.bash("fails", "echo half; exit 3\n").await;
    let (run, resumed) =
        called_back(&coordinator, &child(&coordinator, "fails", &parent).await).await;
    let prompt = resumed.unwrap()["parameters"]["prompt"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(prompt.contains("status=\"failed\""), "{prompt}");
    assert!(
        prompt.contains("exit_code") && prompt.contains("half"),
        "{prompt}"
    );

    // Once, whoever looks again.
    coordinator.kill();
    coordinator.start_again().await;
    let (_, again) = called_back(&coordinator, &child(&coordinator, "adds", &parent).await).await;
    assert!(again.is_some());
    let runs = coordinator.get("/runs?agent=thinker").await.body;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 4, "{runs:#}");
    assert_eq!(coordinator.run(run["run_id"].as_str().unwrap()).await, run);
}

#[tokio::test]
async fn who_cannot_be_called_back_is_said_on_the_run() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator.bash("adds", "echo 3\n").await;
    let unknown = child(&coordinator, "adds", "nobody").await;
    let (run, resumed) = called_back(&coordinator, &unknown).await;
    assert_eq!((&run["status"], resumed), (&json!("completed"), None));
    assert_eq!(run["callback"]["error"], "Session not found: nobody");

    let procedural = coordinator.request("adds", json!({})).await;
    let procedural = coordinator.ends(&procedural).await["session_id"].clone();
    let asked = child(&coordinator, "adds", procedural.as_str().unwrap()).await;
    let (run, resumed) = called_back(&coordinator, &asked).await;
    let error = run["callback"]["error"].as_str().unwrap();
    assert!(
        resumed.is_none() && error.contains("is procedural"),
        "{error}"
    );

    let body = json!({"agent_name": "adds", "execution_mode": "async_callback"});
    let refused = coordinator.post("/runs", body).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(refused.body["code"], "nobody_to_call_back");
    let resume = json!({
        "type": "resume_session", "session_id": procedural, "parameters": {"prompt": "go on"},
    });
    let refused = coordinator.post("/runs", resume).await;
    let detail = &refused.body["detail"];
    assert_eq!(detail["error"], "procedural_agent_no_resume", "{refused:?}");
}

#[tokio::test]
async fn a_session_goes_on_and_is_what_its_newest_run_is() {
    let coordinator = Coordinator::start().await;
    let session = thinker(&coordinator).await;
    let stopped = coordinator
        .post(&format!("/sessions/{session}/stop"), json!({}))
        .await;
    assert_eq!(stopped.body["status"], "stopped", "{stopped:?}");
    let status = async || {
        let answer = coordinator
            .get(&format!("/sessions/{session}/status"))
            .await;
        answer.body["status"].clone()
    };
    assert_eq!(status().await, "stopped");
    let resume = json!({
        "type": "resume_session", "session_id": session, "parameters": {"prompt": "go on"},
    });
    let resumed = coordinator.post("/runs", resume).await;
    assert_eq!(resumed.status, 201, "{resumed:?}");
    assert_eq!(resumed.body["session_id"], session.as_str());
    assert_eq!(status().await, "pending");
    let empty = json!({"type": "resume_session", "session_id": session, "parameters": {}});
    let refused = coordinator.post("/runs", empty).await;
    assert_eq!(refused.body["code"], "parameter_validation_failed");
}

#[tokio::test]
async fn the_events_of_a_session_tell_its_life_and_that_of_its_hooks() {
    let coordinator = Coordinator::start().await;
    let _runner = coordinator.runner(Settings::default()).await;
    coordinator
        .bash("gate", "echo '{\"action\": \"continue\"}'\n")
        .await;
    coordinator
        .bash(
            "closed",
            "echo '{\"action\": \"block\", \"block_reason\": \"no\"}'\n",
        )
        .await;
    coordinator.bash("report", "exit 1\n").await;
    coordinator.bash("work", "echo 7\n").await;
    let told = told_of(&coordinator, "gate").await;
    let types: Vec<&str> = told
        .iter()
        .map(|e| e["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "hook_start",
            "hook_complete",
            "run_start",
            "result",
            "run_completed",
            "hook_start",
            "hook_failed"
        ],
        "{told:#?}"
    );
    assert_eq!(
        (&told[1]["tool_name"], &told[1]["content"]),
        (&json!("gate"), &json!("on_run_start"))
    );
    assert_eq!(told[3]["result_data"], 7);
    assert_eq!(
        (&told[4]["exit_code"], &told[4]["reason"]),
        (&json!(0), &json!("completed"))
    );
    assert_eq!(told[4].as_object().unwrap().len(), 14);

    let told = told_of(&coordinator, "closed").await;
    let types: Vec<&str> = told
        .iter()
        .map(|e| e["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types[..3],
        ["hook_start", "hook_blocked", "run_completed"],
        "{told:#?}"
    );
    assert_eq!(
        (&told[1]["error"], &told[2]["reason"]),
        (&json!("no"), &json!("blocked"))
    );

    let unknown = coordinator.get("/sessions/nobody/events").await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.body["code"]),
        (404, &json!("session_not_found"))
    );
}

/// The events of a run of `work` with this start hook, once its finish hook has ended.
async fn told_of(coordinator: &Coordinator, gate: &str) -> Vec<Value> {
    let hook = |agent: &str| json!({"type": "agent", "agent_name": agent});
    let hooks = json!({"on_run_start": hook(gate), "on_run_finish": hook("report")});
    let patch = json!({ "hooks": hooks });
    let patched = coordinator
        .send(reqwest::Method::PATCH, "/agents/work", Some(patch))
        .await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let id = coordinator.request("work", json!({})).await;
    let session = coordinator.ends(&id).await["session_id"].clone();
    let path = format!("/sessions/{}/events", session.as_str().unwrap());
    eventually("the finish hook has ended", async || {
        let events = coordinator.get(&path).await.body["events"].clone();
        let events = events.as_array()?.clone();
        let ended = events
            .iter()
            .any(|e| e["content"] == "on_run_finish" && e["event_type"] == "hook_failed");
        ended.then_some(events)
    })
    .await
}
