//! What runners write: output, and what they say of themselves.

use super::*;

#[tokio::test]
async fn output_is_followed_until_the_run_has_ended() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    with_agent(&app).await;
    let run = app.request_run(&actor(), command()).await.unwrap().run;
    let write = async |number: u64| {
        let chunk = OutputChunk::of(OutputStream::Stdout, number.to_string().as_bytes());
        let batch = OutputBatch {
            at: Timestamp::now(),
            attempt: 1,
            number,
            chunks: vec![chunk],
        };
        let lane = run.request.lane_tags.lane();
        let batch = envelope(Timestamp::now(), batch);
        let append = Append {
            stream: Stream::Output,
            subject: subject::output(&lane, &run.request.run_id, &runner()),
            id: batch.id,
            payload: batch.to_bytes(),
            expect: Expect::Nothing,
        };
        log.append(append).await.unwrap();
    };
    write(1).await;
    let tail = app.tail_output(&run.request.run_id, 0).await.unwrap();
    let (items, ()) = tokio::join!(tail.try_collect::<Vec<_>>(), async {
        step(&log, &run, claimed()).await;
        step(&log, &run, started()).await;
        write(2).await;
        step(&log, &run, completed()).await;
    });
    let numbers: Vec<u64> = items
        .unwrap()
        .iter()
        .map(|item| item.batch.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
    let query = OutputQuery {
        after: 1,
        limit: 10,
    };
    let page = app.output(&run.request.run_id, query).await.unwrap();
    assert_eq!((page.items.len(), page.next, page.ended), (1, 2, true));
}

#[tokio::test]
async fn runners_are_known_by_what_they_said() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    with_agent(&app).await;
    let registered = RunnerEvent::Registered(crate::testing::registration(&["type:procedural"]));
    for event in [registered, RunnerEvent::Left] {
        let said = envelope(Timestamp::now(), event);
        let append = Append {
            stream: Stream::Runners,
            subject: subject::runner(&runner()),
            id: said.id,
            payload: said.to_bytes(),
            expect: Expect::Nothing,
        };
        let sequence = log.append(append).await.unwrap().sequence;
        app.projections().applied(Stream::Runners, sequence).await;
    }
    let [view] = &app.runners()[..] else { panic!() };
    assert!(view.left_at.is_some() && !view.online);
    assert_eq!(view.lanes.len(), 1);
}
