//! A runner that knows HTTP and no broker does its work with us as it did before, and what goes wrong on
//! either side costs no run.

use reqwest::Method;
use serde_json::{Value, json};
use tests::contract::{HttpRunner, Start};
use tests::coordinator::Coordinator;
use tests::eventually::eventually;
use tests::runner::Settings;

const SUM: &str = "[ \"$1\" = --by ] && echo \"{\\\"by\\\": $2}\"\n";

async fn runner(coordinator: &Coordinator) -> HttpRunner {
    with(coordinator, Start::default()).await
}

async fn with(coordinator: &Coordinator, start: Start) -> HttpRunner {
    let start = Start {
        token: Some(coordinator.token()),
        ..start
    };
    HttpRunner::start(&[coordinator.url()], start).await
}

async fn stop(coordinator: &Coordinator, id: &str) -> Value {
    let answer = coordinator
        .post(&format!("/runs/{id}/stop"), json!({}))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn script(coordinator: &Coordinator, name: &str, patch: Value) {
    let path = format!("/scripts/{name}");
    let answer = coordinator.send(Method::PATCH, &path, Some(patch)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_runner_that_long_polls_is_told_of_scripts_and_then_executes_runs() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", SUM).await;
    let runner = runner(&coordinator).await;
    let told = runner.poll().await.unwrap();
    assert_eq!(told, json!({"sync_scripts": ["sum"], "remove_scripts": []}));
    runner.sync(&told).await;

    let id = coordinator.request("sum", json!({"by": 3})).await;
    let run = runner.next_run().await;
    let expected = json!({
        "run_id": id, "status": "claimed", "runner_id": runner.id, "parameters": {"by": 3},
        "agent_name": "sum", "type": "start_session",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&run[field], value, "{field}");
    }
    assert_eq!(run["resolved_agent_blueprint"]["script"], "sum");
    let work = runner.execute(&run);
    runner.started(&id).await;
    coordinator.reaches(&id, "running").await;
    let session = work.session_id.clone();
    runner.finish(work).await;
    let ended = coordinator.run(&id).await;
    assert_eq!(
        (&ended["status"], &ended["result_data"], &ended["exit_code"]),
        (&json!("completed"), &json!({"by": 3}), &json!(0)),
        "{ended:#}"
    );
    let result = coordinator
        .get(&format!("/sessions/{session}/result"))
        .await;
    assert_eq!(result.body["result_data"], json!({"by": 3}), "{result:?}");
    let events = coordinator
        .get(&format!("/sessions/{session}/events"))
        .await;
    let types: Vec<&Value> = events.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["event_type"])
        .collect();
    assert_eq!(types, ["run_start", "result", "run_completed"]);
}

#[tokio::test]
async fn it_is_listed_with_what_it_said_and_what_it_was_told() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", SUM).await;
    let runner = runner(&coordinator).await;
    let listed = eventually("it is online", async || {
        let runners = coordinator.get("/runners").await.body["runners"].clone();
        (runners[0]["status"] == "online").then(|| runners[0].clone())
    })
    .await;
    let expected = json!({
        "runner_id": runner.id, "hostname": "web1", "executor_profile": "default",
        "executor": {"type": "procedural", "command": "executors/procedural"},
        "require_matching_tags": false, "over_http": true,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&listed[field], value, "{field}");
    }
    assert!(listed["seconds_since_heartbeat"].is_number(), "{listed}");
    let told = runner.poll().await.unwrap();
    runner.sync(&told).await;
    let waiting = runner.poll();
    tokio::pin!(waiting);
    let rollout = eventually("it counts as delivered", async || {
        let rollout = tokio::select! {
            _ = &mut waiting => panic!("there is nothing to tell"),
            rollout = coordinator.get("/scripts/sum/rollout") => rollout.body,
        };
        (rollout["runners"][0]["state"] == "delivered").then_some(rollout)
    })
    .await;
    assert_eq!(rollout["done"], true);
    let summary = rollout["summary"].as_str().unwrap();
    assert!(summary.contains("delivered, unconfirmed"), "{summary}");
}

#[tokio::test]
async fn what_changed_comes_before_the_run_that_needs_it() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", "echo 1\n").await;
    let runner = runner(&coordinator).await;
    let first = coordinator.request("sum", json!({})).await;
    runner.carry_out(&runner.next_run().await).await;
    assert_eq!(coordinator.run(&first).await["result_data"], 1);
    script(&coordinator, "sum", json!({"script_content": "echo 2\n"})).await;
    let second = coordinator.request("sum", json!({})).await;
    let told = runner.poll().await.unwrap();
    assert_eq!(told["sync_scripts"], json!(["sum"]), "{told}");
    runner.sync(&told).await;
    runner.carry_out(&runner.next_run().await).await;
    assert_eq!(coordinator.run(&second).await["result_data"], 2);

    coordinator.send(Method::DELETE, "/agents/sum", None).await;
    let told = runner.poll().await.unwrap();
    assert_eq!(told, json!({"sync_scripts": [], "remove_scripts": ["sum"]}));
    runner.sync(&told).await;
    assert!(!runner.script_dir("sum").exists());
}

#[tokio::test]
async fn a_run_that_pins_what_is_no_more_is_refused_by_name() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", "echo 1\n").await;
    let id = coordinator.request("sum", json!({})).await;
    script(&coordinator, "sum", json!({"script_content": "echo 2\n"})).await;
    let runner = runner(&coordinator).await;
    let told = runner.poll().await.unwrap();
    runner.sync(&told).await;
    let waiting = runner.poll();
    let run = tokio::select! {
        _ = waiting => panic!("there is nothing for it"),
        run = coordinator.ends(&id) => run,
    };
    assert_eq!(run["reason"], "rejected", "{run:#}");
    assert!(
        run["error"]
            .as_str()
            .unwrap()
            .contains("sum is not v1 any more"),
        "{run:#}"
    );
}

#[tokio::test]
async fn a_script_that_no_lane_wants_any_more_comes_with_the_run_that_needs_it() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", "echo 1\n").await;
    let id = coordinator.request("sum", json!({})).await;
    let inactive = json!({"status": "inactive"});
    let answer = coordinator
        .send(Method::PATCH, "/agents/sum/status", Some(inactive))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let runner = runner(&coordinator).await;
    let run = runner.next_run().await;
    assert_eq!(run["run_id"], id.as_str());
    runner.carry_out(&run).await;
    assert_eq!(coordinator.run(&id).await["result_data"], 1);
}

#[tokio::test]
async fn a_script_that_fails_and_a_large_result_come_through() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("fails", "echo half; exit 3\n").await;
    coordinator
        .bash(
            "large",
            "echo '\"'$(head -c 3000000 /dev/zero | tr '\\0' x)'\"'\n",
        )
        .await;
    let runner = runner(&coordinator).await;
    let id = coordinator.request("fails", json!({})).await;
    runner.carry_out(&runner.next_run().await).await;
    let run = coordinator.run(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"], &run["exit_code"]),
        (&json!("failed"), &json!("exit_code"), &json!(3)),
        "{run:#}"
    );
    assert_eq!(run["result_data"]["stdout"], "half\n");
    let id = coordinator.request("large", json!({})).await;
    runner.carry_out(&runner.next_run().await).await;
    let run = coordinator.run(&id).await;
    assert_eq!(run["status"], "completed", "{}", run["error"]);
    assert_eq!(run["result_data"].as_str().unwrap().len(), 3_000_000);
}

#[tokio::test]
async fn only_the_holder_reports_and_only_who_is_known() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", SUM).await;
    let holder = runner(&coordinator).await;
    let other = with(
        &coordinator,
        Start {
            profile: "other".to_owned(),
            ..Start::default()
        },
    )
    .await;
    let id = coordinator.request("sum", json!({"by": 1})).await;
    let run = holder.next_run().await;
    for what in ["started", "completed", "failed", "stopped"] {
        let refused = other.report(&id, what, json!({"error": "x"})).await;
        assert_eq!(
            refused.refusal(),
            (409, "not_the_holder"),
            "{what}: {refused:?}"
        );
    }
    let mut stranger = HttpRunner::unregistered(
        &[coordinator.url()],
        Start {
            token: Some(coordinator.token()),
            ..Start::default()
        },
    );
    stranger.id = "http-0123456789abcdef".to_owned();
    assert_eq!(stranger.try_poll().await.refusal(), (401, "unknown_runner"));
    assert_eq!(
        stranger.heartbeat().await.refusal(),
        (401, "unknown_runner")
    );
    let unknown = holder
        .report("run_0123456789abcdef", "started", json!({}))
        .await;
    assert_eq!(unknown.refusal(), (404, "run_not_found"));

    holder.carry_out(&run).await;
    // An answer that was lost is asked for again.
    holder.completed(&id).await;
    let late = holder.report(&id, "failed", json!({"error": "x"})).await;
    assert_eq!(late.refusal(), (409, "run_has_ended"), "{late:?}");
    assert_eq!(coordinator.run(&id).await["status"], "completed");
    assert_eq!(holder.heartbeat().await.body, json!({"ok": true}));
}

#[tokio::test]
async fn a_stop_reaches_it_with_its_next_answer() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sleeps", "sleep 1000\n").await;
    let runner = runner(&coordinator).await;
    let id = coordinator.request("sleeps", json!({})).await;
    let work = runner.execute(&runner.next_run().await);
    runner.started(&id).await;
    let waiting = runner.poll();
    let stopping = stop(&coordinator, &id);
    let (told, asked) = tokio::join!(waiting, stopping);
    assert_eq!(asked["status"], "stopping");
    assert_eq!(told.unwrap(), json!({"stop_sessions": [work.session_id]}));
    runner.stop(work).await;
    let run = coordinator.run(&id).await;
    assert_eq!(run["status"], "stopped", "{run:#}");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_stopped_and_says_so() {
    let coordinator = Coordinator::start_with(&["--lease", "3s"]).await;
    coordinator
        .script(
            "sleeps",
            &json!({"script_content": "sleep 1000\n", "timeout_seconds": 1}),
        )
        .await;
    let runner = runner(&coordinator).await;
    let id = coordinator.request("sleeps", json!({})).await;
    let work = runner.execute(&runner.next_run().await);
    runner.started(&id).await;
    let told = runner.poll().await.unwrap();
    assert_eq!(told["stop_sessions"], json!([work.session_id]), "{told}");
    runner.stop(work).await;
    let run = coordinator.run(&id).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("timeout")),
        "{run:#}"
    );
}

#[tokio::test]
async fn who_is_silent_is_lost_and_a_repeatable_run_goes_to_another() {
    let coordinator = Coordinator::start_with(&["--lease", "3s", "--http-silence", "4s"]).await;
    coordinator.bash("once", "echo 1\n").await;
    coordinator
        .script(
            "again",
            &json!({"script_content": "echo $ATTEMPT\n", "idempotent": true}),
        )
        .await;
    let silent = runner(&coordinator).await;
    let once = coordinator.request("once", json!({})).await;
    silent.next_run().await;
    silent.started(&once).await;
    let again = coordinator.request("again", json!({})).await;
    silent.next_run().await;
    silent.started(&again).await;
    let waiting = coordinator.request("once", json!({})).await;
    silent.next_run().await;
    let _native = coordinator.runner(Settings::default()).await;
    let run = coordinator.ends(&once).await;
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("lost")),
        "{run:#}"
    );
    assert!(
        run["error"].as_str().unwrap().contains(&silent.id),
        "{run:#}"
    );
    let run = coordinator.ends(&again).await;
    assert_eq!(
        (&run["status"], &run["result_data"]),
        (&json!("completed"), &json!(2)),
        "{run:#}"
    );
    // What was handed over and never begun goes back as it was.
    let run = coordinator.ends(&waiting).await;
    assert_eq!(
        (&run["status"], &run["attempt"]),
        (&json!("completed"), &json!(1)),
        "{run:#}"
    );
    let listed = coordinator.get("/runners").await.body;
    let listed = listed["runners"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["runner_id"] == silent.id.as_str())
        .unwrap()
        .clone();
    assert_eq!(listed["status"], "stale");
    let late = silent
        .report(&once, "completed", json!({"status": "success"}))
        .await;
    assert_eq!(late.refusal(), (409, "run_has_ended"));
    // It comes back to an account that it still has.
    assert_eq!(silent.heartbeat().await.status, 200);
}

#[tokio::test]
async fn signs_of_life_keep_what_it_holds() {
    let coordinator = Coordinator::start_with(&["--lease", "3s", "--http-silence", "3s"]).await;
    coordinator
        .bash("work", "while [ ! -e go ]; do sleep 0.05; done; echo 1\n")
        .await;
    let runner = runner(&coordinator).await;
    let id = coordinator.request("work", json!({})).await;
    let run = runner.next_run().await;
    let work = runner.execute(&run);
    runner.started(&id).await;
    let _native = coordinator.runner(Settings::default()).await;
    // A poll that waits outlasts the silence many times.
    assert_eq!(runner.poll().await, None);
    assert_eq!(coordinator.run(&id).await["status"], "running");
    std::fs::write(runner.project_dir().join("go"), "").unwrap();
    runner.finish(work).await;
    let run = coordinator.run(&id).await;
    assert_eq!(
        (&run["status"], &run["attempt"]),
        (&json!("completed"), &json!(1)),
        "{run:#}"
    );
}

#[tokio::test]
async fn it_leaves_and_is_sent_away_and_comes_back_as_the_same() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", SUM).await;
    let runner = runner(&coordinator).await;
    let told = runner.poll().await.unwrap();
    runner.sync(&told).await;
    let left = runner.leave().await;
    assert_eq!(
        (left.status.as_u16(), &left.body["initiated_by"]),
        (200, &json!("self")),
        "{left:?}"
    );
    assert_eq!(runner.try_poll().await.refusal(), (401, "unknown_runner"));

    let again = runner.register().await;
    assert_eq!(again.body["runner_id"], runner.id.as_str(), "{again:?}");
    let told = runner.poll().await.unwrap();
    assert_eq!(
        told["sync_scripts"],
        json!(["sum"]),
        "its disk may be another"
    );
    runner.sync(&told).await;
    let waiting = runner.poll();
    let path = format!("/runners/{}", runner.id);
    let (told, forgotten) = tokio::join!(waiting, coordinator.send(Method::DELETE, &path, None));
    assert_eq!(forgotten.status, 200, "{forgotten:?}");
    assert_eq!(told.unwrap(), json!({"deregistered": true}));
    let again = runner.register().await;
    assert_eq!(again.body["runner_id"], runner.id.as_str(), "{again:?}");
    let id = coordinator.request("sum", json!({"by": 2})).await;
    runner.carry_out(&runner.next_run().await).await;
    assert_eq!(coordinator.run(&id).await["status"], "completed");
}

#[tokio::test]
async fn its_own_agents_are_run_by_it_alone_and_names_are_taken_once() {
    let coordinator = Coordinator::start().await;
    let agents = vec![json!({"name": "backup", "command": "backup.sh", "description": "saves"})];
    let start = Start {
        agents,
        ..Start::default()
    };
    let owner = with(&coordinator, start.clone()).await;
    let agent = coordinator.get("/agents/backup").await.body;
    assert_eq!(
        (&agent["runner_id"], &agent["command"]),
        (&json!(owner.id), &json!("backup.sh")),
        "{agent:#}"
    );
    let id = coordinator.request("backup", json!({})).await;
    let run = owner.next_run().await;
    assert_eq!(
        (&run["run_id"], &run["resolved_agent_blueprint"]["command"]),
        (&json!(id), &json!("backup.sh"))
    );
    owner.started(&id).await;
    owner.completed(&id).await;

    let start = Start {
        profile: "other".to_owned(),
        token: Some(coordinator.token()),
        ..start
    };
    let other = HttpRunner::unregistered(&[coordinator.url()], start);
    let refused = other.register().await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(
        refused.body["detail"]["error"], "agent_name_collision",
        "{refused:?}"
    );
    assert_eq!(refused.body["detail"]["agent_names"], json!(["backup"]));
}

#[tokio::test]
async fn two_of_one_identity_are_told_apart_by_who_polls() {
    let coordinator = Coordinator::start().await;
    let runner = runner(&coordinator).await;
    let registration = runner.registration();
    let waiting = runner.poll();
    tokio::pin!(waiting);
    let refused = eventually("the second is refused", async || {
        let answer = tokio::select! {
            told = &mut waiting => panic!("{told:?}"),
            answer = coordinator.post("/runner/register", registration.clone()) => answer,
        };
        (answer.status == 409).then_some(answer)
    })
    .await;
    assert_eq!(
        refused.body["detail"]["error"], "duplicate_runner",
        "{refused:?}"
    );
}

#[tokio::test]
async fn its_token_opens_its_own_doors_only() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", SUM).await;
    let token = async |name: &str, role: &str| {
        let body = json!({"name": name, "role": role});
        let made = coordinator.post("/tokens", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        Some(made.body["token"].as_str().unwrap().to_owned())
    };
    let start = Start {
        token: token("web1", "runner").await,
        ..Start::default()
    };
    let runner = HttpRunner::start(&[coordinator.url()], start).await;
    let id = coordinator.request("sum", json!({"by": 1})).await;
    runner.carry_out(&runner.next_run().await).await;
    assert_eq!(coordinator.run(&id).await["status"], "completed");
    for (method, path) in [
        (Method::GET, "/scripts"),
        (Method::GET, "/runs"),
        (Method::GET, "/runners"),
        (Method::DELETE, "/runners/web-1"),
    ] {
        let refused = runner.request(method, path, None).await;
        assert_eq!(refused.status, 403, "{path}: {refused:?}");
    }
    let start = Start {
        token: token("web2", "runner").await,
        ..Start::default()
    };
    let mut thief = HttpRunner::unregistered(&[coordinator.url()], start);
    thief.id = runner.id.clone();
    assert_eq!(thief.try_poll().await.refusal(), (403, "other_token"));
    let again = runner.register().await;
    assert_eq!(again.status, 200, "{again:?}");
    // One token, one runner.
    let mut second = runner.registration();
    second["executor_profile"] = "second".into();
    let second = runner.send("/runner/register", second).await;
    assert_eq!(second.refusal(), (401, "token_used"), "{second:?}");
    let start = Start {
        token: token("ann", "operator").await,
        ..Start::default()
    };
    let person = HttpRunner::unregistered(&[coordinator.url()], start);
    assert_eq!(person.register().await.status, 403);
    let nobody = HttpRunner::unregistered(&[coordinator.url()], Start::default());
    assert_eq!(nobody.register().await.status, 401);
}

#[tokio::test]
async fn without_tokens_old_clients_are_let_in_as_they_are() {
    let coordinator = Coordinator::start_with(&["--no-auth"]).await;
    coordinator.bash("sum", SUM).await;
    let runner = HttpRunner::start(&[coordinator.url()], Start::default()).await;
    let id = coordinator.request("sum", json!({"by": 5})).await;
    runner.carry_out(&runner.next_run().await).await;
    assert_eq!(coordinator.run(&id).await["result_data"], json!({"by": 5}));
}

#[tokio::test]
async fn an_executor_binds_its_session() {
    let coordinator = Coordinator::start().await;
    coordinator.bash("sum", SUM).await;
    let runner = runner(&coordinator).await;
    let id = coordinator.request("sum", json!({"by": 1})).await;
    let run = runner.next_run().await;
    let session = run["session_id"].as_str().unwrap();
    let body = json!({"executor_session_id": "e1", "hostname": "web1", "executor_profile": "best", "project_dir": "/srv"});
    let bound = runner
        .send(&format!("/sessions/{session}/bind"), body)
        .await;
    assert_eq!(bound.status, 200, "{bound:?}");
    let expected = json!({
        "session_id": session, "executor_session_id": "e1", "hostname": "web1",
        "executor_profile": "best", "project_dir": "/srv", "status": "pending",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&bound.body["session"][field], value, "{field}");
    }
    runner.carry_out(&run).await;
    assert_eq!(coordinator.run(&id).await["status"], "completed");
}
