//! Streams read as one: whole, in parts, filtered, and with positions that do not fit.

use crate::app::testing::app_on;
use crate::app::{App, AppError, EventFilter, FeedItem, FeedQuery, Position, Start, TOLD, Told};
use crate::domain::testing::{agent, folder};
use crate::testing::{actor, command};
use events::log::memory::MemoryLog;
use events::subject::Stream;

async fn told(app: &App, query: FeedQuery) -> Vec<FeedItem> {
    let mut feed = app.feed(query).await.unwrap();
    let mut items = Vec::new();
    while let Some(item) = feed.next().await.unwrap() {
        items.push(item);
    }
    items
}

fn all(start: Start) -> FeedQuery {
    FeedQuery {
        streams: TOLD.to_vec(),
        start,
        filter: EventFilter::default(),
        follow: false,
    }
}

fn names(items: &[FeedItem]) -> Vec<String> {
    let name = |item: &FeedItem| match &item.what {
        Told::Event(event) => format!("{} {}", event.stream.name(), event.stored.sequence),
        Told::Dropped { from, to, .. } => format!("dropped {from}-{to}"),
    };
    items.iter().map(name).collect()
}

/// A script, its agent, a run of it, and a change.
async fn busy(app: &App) {
    app.create_script(&actor(), folder("deploy", "1"))
        .await
        .unwrap();
    app.create_agent(&actor(), agent("nightly", "deploy"))
        .await
        .unwrap();
    app.request_run(&actor(), command("nightly")).await.unwrap();
    let name = "deploy".parse().unwrap();
    app.put_script(&actor(), &name, folder("deploy", "2"))
        .await
        .unwrap();
}

#[tokio::test]
async fn every_event_is_told_once_wherever_one_goes_on() {
    let (app, _folder) = app_on(&MemoryLog::default()).await;
    busy(&app).await;
    let whole = told(&app, all(Start::Oldest)).await;
    assert_eq!(
        names(&whole),
        ["CATALOG 1", "CATALOG 2", "RUNS 1", "CATALOG 3"]
    );
    for (index, item) in whole.iter().enumerate() {
        let text = item.position.to_string();
        let rest = told(&app, all(Start::After(text.parse().unwrap()))).await;
        assert_eq!(names(&rest), names(&whole[index + 1..]), "after {text}");
    }
    assert!(told(&app, all(Start::Now)).await.is_empty());
}

#[tokio::test]
async fn who_follows_is_told_what_comes() {
    let (app, _folder) = app_on(&MemoryLog::default()).await;
    let follow = FeedQuery {
        follow: true,
        ..all(Start::Now)
    };
    let mut feed = app.feed(follow).await.unwrap();
    let (first, ()) = tokio::join!(feed.next(), busy(&app));
    let mut items = vec![first.unwrap().unwrap()];
    while items.len() < 4 {
        items.push(feed.next().await.unwrap().unwrap());
    }
    let mut told = names(&items);
    told.sort();
    assert_eq!(told, ["CATALOG 1", "CATALOG 2", "CATALOG 3", "RUNS 1"]);
}

#[tokio::test]
async fn types_and_actors_are_picked_out() {
    let (app, _folder) = app_on(&MemoryLog::default()).await;
    busy(&app).await;
    let only = |types: &[&str], actor: Option<&str>| FeedQuery {
        filter: EventFilter {
            types: types.iter().map(|t| (*t).to_owned()).collect(),
            actor: actor.map(str::to_owned),
        },
        ..all(Start::Oldest)
    };
    let requested = told(&app, only(&["requested", "script_changed"], None)).await;
    assert_eq!(names(&requested), ["RUNS 1", "CATALOG 3"]);
    assert!(told(&app, only(&[], Some("nobody"))).await.is_empty());
    assert_eq!(told(&app, only(&[], Some("test"))).await.len(), 4);
}

#[tokio::test]
async fn a_position_of_another_stream_or_ahead_of_it_is_refused() {
    let (app, _folder) = app_on(&MemoryLog::default()).await;
    busy(&app).await;
    let mut ahead = told(&app, all(Start::Oldest)).await.pop().unwrap().position;
    ahead.advance(Stream::Catalog, 99);
    let foreign = ahead.to_string();
    let (_, making) = foreign.split_once("catalog:99:").unwrap();
    let foreign = format!("catalog:1:{}", making.replacen(&making[..8], "00000000", 1));
    let refused = async |position: Position| match app.feed(all(Start::After(position))).await {
        Err(AppError::Rejected(why)) => why.to_string(),
        _ => panic!("not refused"),
    };
    assert!(refused(ahead).await.contains("ends at 3"));
    let foreign = refused(foreign.parse().unwrap()).await;
    assert!(foreign.contains("another stream CATALOG"), "{foreign}");
}
