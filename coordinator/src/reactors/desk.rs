//! Pulls runs from the lanes that polls of runners over HTTP wait for, at most one pull per lane however
//! many polls wait, and wakes polls when there may be something else to tell them.

use super::Settings;
use crate::app::{App, Desk};
use events::claim::Pulls;
use events::distribution::LaneEvent;
use events::log::jetstream::{Arrival, Pull, Queue};
use events::subject::{self, LaneSubject, Stream};
use events::{Envelope, Lane, LaneTags};
use futures::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two tries to listen.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks whether a pull was lost, or a lane that refused takes pulls again.
const TICK: Duration = Duration::from_secs(1);
/// Between two full looks at the lanes, in case a hint was lost.
const LANES_LOOK: Duration = Duration::from_secs(60);
/// Lanes read at once.
const PAGE: usize = 1_000;

type Failed = Box<dyn Error + Send + Sync>;

pub(super) async fn run(app: App, _settings: Settings) {
    loop {
        if let Err(error) = serve(&app).await {
            tracing::debug!(%error, "lanes are not pulled from for runners over HTTP; trying again");
        }
        app.desk().set_queue(None);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn serve(app: &App) -> Result<(), Failed> {
    let (queue, mut arrivals) = app.broker().wire.open_queue().await?;
    let desk = app.desk();
    desk.set_queue(Some(queue.clone()));
    let mut counter = Counter {
        desk: desk.clone(),
        queue,
        pulls: Pulls::default(),
        lanes: BTreeSet::new(),
    };
    let log = &app.broker().log;
    let mut lanes = log
        .changes(Stream::Lanes, subject::every_lane_tags())
        .await?;
    let mut link = app.broker().wire.link();
    let [mut catalog, mut runners, mut runs] =
        [Stream::Catalog, Stream::Runners, Stream::Runs].map(|s| app.projections().watch(s));
    let mut orders = app.projections().runner_orders();
    let mut tick = tokio::time::interval(TICK);
    let mut look = tokio::time::interval(LANES_LOOK);
    loop {
        tokio::select! {
            arrival = arrivals.next() => match arrival {
                Some(arrival) => counter.arrived(arrival).await,
                None => return Ok(()),
            },
            () = desk.came() => {}
            _ = look.tick() => counter.read_lanes(app).await?,
            change = lanes.next() => match change {
                Some(()) => counter.read_lanes(app).await?,
                None => return Ok(()),
            },
            Ok(()) = link.changed() => {
                if link.borrow_and_update().connected {
                    counter.pulls.forget();
                    counter.read_lanes(app).await?;
                }
            }
            Ok(()) = catalog.changed() => desk.look(None),
            Ok(()) = runners.changed() => {
                // Who is drained, taken back or sent away; what runners say of themselves is theirs.
                let now = app.projections().runner_orders();
                if !Arc::ptr_eq(&orders, &now) {
                    orders = now;
                    desk.look(None);
                }
                continue;
            }
            Ok(()) = runs.changed(), if !desk.is_empty() => {
                let stopping: BTreeSet<_> = app.projections().stopping_over_http().collect();
                desk.look(Some(&stopping));
                continue;
            }
            _ = tick.tick(), if !desk.is_empty() => {}
        }
        counter.pull().await;
    }
}

/// The pulls of all polls here.
struct Counter {
    desk: Desk,
    queue: Queue,
    pulls: Pulls,
    lanes: BTreeSet<Lane>,
}

impl Counter {
    async fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        match arrival {
            Arrival::Nothing { lane } => {
                let free = usize::from(self.desk.is_open(&lane));
                if let Some(pull) = self.pulls.nothing(&lane, free, now) {
                    self.send(&lane, pull).await;
                }
            }
            Arrival::Refused { lane, reason } => {
                tracing::debug!(%lane, reason, "a lane refuses pulls for now");
                self.pulls.refused(&lane, now);
            }
            Arrival::Run(delivery) => {
                self.pulls.delivered(&delivery.lane);
                if let Err(unwanted) = self.desk.give(Box::new(delivery)) {
                    self.queue.hand_back(&unwanted.lease, Duration::ZERO).await;
                }
            }
        }
    }

    /// One pull for each lane that somebody waits for.
    async fn pull(&mut self) {
        let now = Instant::now();
        for lane in self.desk.open_lanes() {
            if self.pulls.ask(&lane, now) {
                self.send(&lane, Pull::Now).await;
            }
        }
    }

    async fn send(&self, lane: &Lane, pull: Pull) {
        if let Err(error) = self.queue.pull(lane, pull).await {
            tracing::debug!(%error, "a pull was not sent");
        }
    }

    async fn read_lanes(&mut self, app: &App) -> Result<(), Failed> {
        let lanes = lanes(app).await?;
        let there: BTreeSet<Lane> = lanes.keys().cloned().collect();
        for gone in self.lanes.difference(&there) {
            self.pulls.remove(gone);
        }
        for lane in &there {
            self.pulls.add(lane.clone());
        }
        self.lanes = there;
        self.desk.set_lanes(lanes);
        Ok(())
    }
}

/// All lanes that there are.
async fn lanes(app: &App) -> Result<BTreeMap<Lane, LaneTags>, Failed> {
    let (mut lanes, mut from) = (BTreeMap::new(), 1);
    loop {
        let log = &app.broker().log;
        let page = log
            .page(Stream::Lanes, subject::every_lane_tags(), from, PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(lanes);
        };
        from = last.sequence + 1;
        for message in &page {
            let event = Envelope::<LaneEvent>::from_bytes(&message.payload);
            if let (Some(LaneSubject::Tags(lane)), Ok(envelope)) =
                (LaneSubject::parse(&message.subject), event)
                && let LaneEvent::Tags { tags } = envelope.event
            {
                lanes.insert(lane, tags);
            }
        }
    }
}
