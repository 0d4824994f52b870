//! Runs: requested, listed, stopped.

use super::*;

#[tokio::test]
async fn a_run_is_requested_and_waited_for() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    with_agent(&app).await;
    let requested = app.request_run(&actor(), command()).await.unwrap();
    let warning = requested.warning.unwrap().to_string();
    assert!(warning.contains("{type:procedural}"), "{warning}");
    let run = requested.run;
    assert_eq!(run.state.status, RunStatus::Pending);
    let session = &run.request.session_id;
    assert_eq!(app.run_of_session(session).unwrap().as_ref(), Some(&run));

    let run_id = &run.request.run_id;
    let patient = app.wait_for_end(run_id, Duration::ZERO).await.unwrap();
    assert_eq!(patient.state.status, RunStatus::Pending);
    let (ended, ()) = tokio::join!(app.wait_for_end(run_id, LONG), async {
        for event in [claimed(), started(), completed()] {
            step(&log, &run, event).await;
        }
    });
    let ended = ended.unwrap();
    assert_eq!(ended.state.status, RunStatus::Completed);
    assert_eq!(
        ended.outcome.as_ref().unwrap().result_data,
        json!({"ok": true})
    );
    // Once more, now that it has ended.
    assert_eq!(app.wait_for_end(run_id, LONG).await.unwrap(), ended);
}

#[tokio::test]
async fn the_same_key_gives_the_same_run_and_a_session_is_taken_once() {
    let (app, _folder) = app().await;
    with_agent(&app).await;
    let keyed = RunCommand {
        idempotency_key: Some("k".to_owned()),
        ..command()
    };
    let first = app.request_run(&actor(), keyed.clone()).await.unwrap().run;
    let second = app.request_run(&actor(), keyed.clone()).await.unwrap().run;
    assert_eq!(first, second);
    let other = RunCommand {
        project_dir: Some("/x".to_owned()),
        ..keyed
    };
    let refused = rejection(app.request_run(&actor(), other).await);
    assert!(matches!(refused, Rejection::KeyReused { .. }));

    let mine = RunCommand {
        session_id: Some("mine".parse().unwrap()),
        ..command()
    };
    app.request_run(&actor(), mine.clone()).await.unwrap();
    // Also in another lane.
    let elsewhere = RunCommand {
        additional_demands: Demands::of_tags(["gpu".parse().unwrap()]),
        ..mine
    };
    let refused = rejection(app.request_run(&actor(), elsewhere).await);
    assert!(matches!(refused, Rejection::SessionTaken { .. }));
}

#[tokio::test]
async fn a_stop_ends_what_nobody_holds_and_tells_who_holds_it() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    with_agent(&app).await;
    let waiting = app.request_run(&actor(), command()).await.unwrap().run;
    let id = &waiting.request.run_id;
    let stopped = app.stop_run(&actor(), id).await.unwrap();
    assert_eq!(stopped.outcome, StopOutcome::Stopped);
    assert_eq!(stopped.run.state.status, RunStatus::Stopped);
    let again = app.stop_run(&actor(), id).await.unwrap();
    assert_eq!(again.outcome, StopOutcome::HadEnded);

    let held = app.request_run(&actor(), command()).await.unwrap().run;
    // The claim is stored, and our view may not have it yet: the stop is decided again.
    step(&log, &held, claimed()).await;
    let id = &held.request.run_id;
    let stopping = app.stop_run(&actor(), id).await.unwrap();
    assert_eq!(stopping.outcome, StopOutcome::Stopping);
    step(&log, &held, RunEvent::Stopped { outcome: None }).await;
    let ended = app.wait_for_end(id, LONG).await.unwrap();
    assert_eq!(ended.state.status, RunStatus::Stopped);
}

#[tokio::test]
async fn a_runners_rubbish_does_not_keep_a_run_from_being_stopped() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    with_agent(&app).await;
    let run = app.request_run(&actor(), command()).await.unwrap().run;
    let subject = RunSubject {
        writer: Writer::Runner(runner()),
        run_id: run.request.run_id.clone(),
        lane: run.request.lane_tags.lane(),
    };
    let append = Append {
        stream: Stream::Runs,
        subject: subject.as_string(),
        id: events::EventId::fresh(),
        payload: "rubbish".into(),
        expect: Expect::Nothing,
    };
    log.append(append).await.unwrap();
    let stopped = app.stop_run(&actor(), &run.request.run_id).await.unwrap();
    assert_eq!(stopped.outcome, StopOutcome::Stopped);
    assert_eq!(app.status().await.unwrap().quarantined, 1);
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let (app, _folder) = app().await;
    with_agent(&app).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let run = app.request_run(&actor(), command()).await.unwrap().run;
        ids.insert(0, run.request.run_id);
    }
    app.stop_run(&actor(), &ids[1]).await.unwrap();
    let listed = |query: RunQuery| {
        let page = app.runs(&query).unwrap();
        let found = page.runs.into_iter().map(|run| run.request.run_id);
        (found.collect::<Vec<_>>(), page.next)
    };
    let all = RunQuery {
        status: None,
        agent: None,
        since: None,
        prefix: None,
        limit: 3,
        cursor: None,
    };
    let (first, next) = listed(all.clone());
    let (rest, end) = listed(RunQuery {
        cursor: next,
        ..all.clone()
    });
    assert_eq!(
        (first, rest, end),
        (ids[..3].to_vec(), ids[3..].to_vec(), None)
    );
    let with = |status| RunQuery {
        status: Some(status),
        limit: 10,
        ..all.clone()
    };
    assert_eq!(listed(with(RunStatus::Stopped)).0, ids[1..2]);
    assert_eq!(listed(with(RunStatus::Pending)).0.len(), 4);
    let prefixed = RunQuery {
        prefix: Some(ids[2].as_str()[..12].to_owned()),
        ..all.clone()
    };
    assert_eq!(listed(prefixed).0, ids[2..3]);
    let of_agent = |status| RunQuery {
        agent: Some(name("nightly")),
        ..with(status)
    };
    assert_eq!(listed(of_agent(RunStatus::Stopped)).0, ids[1..2]);
    let waiting = [&ids[..1], &ids[2..]].concat();
    assert_eq!(listed(of_agent(RunStatus::Pending)).0, waiting);
    assert_eq!(listed(of_agent(RunStatus::Failed)).0, []);
    let other = RunQuery {
        agent: Some(name("other")),
        ..all
    };
    assert_eq!(listed(other), (vec![], None));
}

#[tokio::test]
async fn an_inactive_agent_takes_no_runs() {
    let (app, _folder) = app().await;
    with_agent(&app).await;
    let status = AgentStatus::Inactive;
    app.set_agent_status(&actor(), &name("nightly"), status)
        .await
        .unwrap();
    let refused = rejection(app.request_run(&actor(), command()).await);
    assert!(matches!(refused, Rejection::AgentInactive { .. }));
}
