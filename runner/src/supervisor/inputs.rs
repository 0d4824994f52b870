//! Where inputs come from: one small task per source, all into one channel.

use super::Input;
use crate::join;
use crate::station::Station;
use events::log::Log as _;
use events::log::jetstream::{Deliveries, LaneLog};
use events::subject::{self, Stream};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Sender;

const TICK: Duration = Duration::from_secs(1);
/// Between two looks whether a live message of `LANES` was lost without a trace.
const LANES_LOOK: Duration = Duration::from_secs(60);
/// Between two questions whether we still belong here.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Between two tries to subscribe.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(500);

/// Starts all sources that live as long as the runner.
pub fn start(station: &Arc<Station>, deliveries: Deliveries, inputs: &Sender<Input>) {
    forward(deliveries.map(Input::Arrival).boxed(), inputs);
    forward(ticks(), inputs);
    moved(station, inputs);
    signals(inputs);
    links(station, inputs);
    shut_out(station, inputs);
    launcher(station, inputs);
    questions(station, inputs);
    commands(station, inputs);
    tags(station, inputs);
    growth(station, inputs);
    super::orders::start(station, inputs);
}

/// Passes a stream on until the runner ends.
fn forward(stream: BoxStream<'static, Input>, inputs: &Sender<Input>) {
    let inputs = inputs.clone();
    tokio::spawn(async move {
        let mut stream = stream;
        while let Some(input) = stream.next().await {
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    });
}

fn ticks() -> BoxStream<'static, Input> {
    let interval = tokio::time::interval(TICK);
    futures::stream::unfold(interval, |mut interval| async move {
        interval.tick().await;
        Some((Input::Tick, interval))
    })
    .boxed()
}

fn signals(inputs: &Sender<Input>) {
    let leave: fn() -> Input = || Input::Signal;
    for (kind, input) in [
        (SignalKind::terminate(), leave),
        (SignalKind::interrupt(), leave),
        (SignalKind::hangup(), || Input::HangUp),
    ] {
        let Ok(mut signals) = signal(kind) else {
            tracing::error!("a signal cannot be listened for");
            continue;
        };
        let inputs = inputs.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if inputs.send(input()).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn links(station: &Arc<Station>, inputs: &Sender<Input>) {
    let mut link = station.connection.link();
    let inputs = inputs.clone();
    tokio::spawn(async move {
        while link.changed().await.is_ok() {
            let now = *link.borrow_and_update();
            if inputs.send(Input::Link(now)).await.is_err() {
                return;
            }
        }
    });
}

/// A broker that does not let us in again may only be starting; whether our key was revoked, the
/// coordinator knows.
fn shut_out(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (station, inputs) = (station.clone(), inputs.clone());
    tokio::spawn(async move {
        let mut link = station.connection.link();
        let mut seen = 0;
        while let Ok(refusals) = link
            .wait_for(|link| link.refusals > seen)
            .await
            .map(|l| l.refusals)
        {
            seen = refusals;
            if let Err(no) = join::still_a_member(&station.settings).await {
                // The loop may be gone itself, which is as good.
                let _ = inputs.send(Input::ShutOut(no)).await;
                return;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    });
}

fn launcher(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (station, inputs) = (station.clone(), inputs.clone());
    tokio::spawn(async move {
        station.launcher.gone().await;
        // The loop may be gone itself, which is as good.
        let _ = inputs.send(Input::LauncherGone).await;
    });
}

fn questions(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (station, inputs) = (station.clone(), inputs.clone());
    tokio::spawn(async move {
        loop {
            match station.connection.questions(station.runner_id()).await {
                Ok(asked) => return forward(asked.map(Input::Asked).boxed(), &inputs),
                Err(_) => tokio::time::sleep(SUBSCRIBE_PAUSE).await,
            }
        }
    });
}

fn commands(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (station, inputs) = (station.clone(), inputs.clone());
    tokio::spawn(async move {
        loop {
            match station.connection.commands(station.runner_id()).await {
                Ok(heard) => return forward(heard.map(Input::Commanded).boxed(), &inputs),
                Err(_) => tokio::time::sleep(SUBSCRIBE_PAUSE).await,
            }
        }
    });
}

/// The lanes whose queue has another server in a cluster.
fn moved(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (station, inputs) = (station.clone(), inputs.clone());
    tokio::spawn(async move {
        loop {
            match station.queue.moved().await {
                Ok(lanes) => return forward(lanes.map(Input::Moved).boxed(), &inputs),
                Err(_) => tokio::time::sleep(SUBSCRIBE_PAUSE).await,
            }
        }
    });
}

/// The tags of lanes that come to be.
fn tags(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (lanes, inputs) = (LaneLog::new(station.connection.clone()), inputs.clone());
    tokio::spawn(async move {
        loop {
            match lanes.follow(subject::every_lane_tags()).await {
                Ok(tags) => return forward(tags.map(Input::Lane).boxed(), &inputs),
                Err(_) => tokio::time::sleep(SUBSCRIBE_PAUSE).await,
            }
        }
    });
}

/// Live copies can be lost, and the last one of a lane leaves no gap: the stream's own last
/// sequence tells.
fn growth(station: &Arc<Station>, inputs: &Sender<Input>) {
    let (connection, inputs) = (station.connection.clone(), inputs.clone());
    // Who wants the disk to be looked at more often wants to know soon what should be there.
    let look_every = LANES_LOOK.min(station.settings.verify_every);
    tokio::spawn(async move {
        let mut known = None;
        loop {
            if let Ok(bounds) = connection.bounds(Stream::Lanes).await {
                let now = Some((bounds.created, bounds.last_sequence));
                // The first look is before the first read.
                if known.is_some() && known != now && inputs.send(Input::LanesGrown).await.is_err()
                {
                    return;
                }
                known = now;
            }
            tokio::time::sleep(look_every).await;
        }
    });
}
