//! Runners: what they said of themselves, whether they are there, and what they are told.

use super::{App, AppError, TRIES};
use crate::domain::Rejection;
use crate::domain::distribution::{DesiredLane, DesiredScript, distribution};
use crate::domain::runners::{RunnerCommand, Standing, order};
use crate::projections::{Hearing, Holdings, Ordered, Runner, Shelf};
use events::log::{Append, AppendError, Expect};
use events::runner::Registration;
use events::runner::RunnerOrder;
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Lane, LaneTags, RunId, RunnerId, Timestamp};
use schemas::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A runner as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerView {
    pub runner_id: RunnerId,
    pub registration: Registration,
    pub registered_at: Timestamp,
    /// On our clock; `None` when nothing was heard since we started.
    pub last_heartbeat: Option<Timestamp>,
    pub online: bool,
    /// It stopped in order.
    pub left_at: Option<Timestamp>,
    /// It says that it takes no new runs: it was drained, or it is leaving.
    pub draining: bool,
    /// It was told to take no new runs; it knows once `draining` says so too.
    pub drained: Option<Drained>,
    /// The runs it held at its last heartbeat.
    pub runs: BTreeSet<RunId>,
    /// What its folder holds, as far as it said.
    pub scripts: Shelf,
    pub synced_at: Option<Timestamp>,
    /// The lanes in use that its tags serve.
    pub lanes: BTreeMap<Lane, LaneTags>,
}

/// What every lane wants of its runners.
pub struct Wishes(BTreeMap<Lane, DesiredLane>);

impl Wishes {
    /// What a runner should hold, by the lanes it serves.
    pub fn of(&self, runner: &RunnerView) -> BTreeMap<&Name, &DesiredScript> {
        self.of_registration(&runner.registration)
    }

    pub fn of_registration(&self, registration: &Registration) -> BTreeMap<&Name, &DesiredScript> {
        let served = self.0.values();
        let served = served.filter(|lane| registration.serves(&lane.tags));
        served.flat_map(|lane| &lane.scripts).collect()
    }
}

impl RunnerView {
    /// It takes no new runs until it is resumed, and has none. What is not there has none either.
    pub fn is_idle_for_good(&self) -> bool {
        let quiet = self.draining && self.runs.is_empty();
        self.drained.is_some() && (quiet || !self.online)
    }
}

/// Who wants a runner to take no new runs, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct Drained {
    pub since: Timestamp,
    pub by: Actor,
    pub reason: Option<String>,
}

impl Drained {
    pub(super) fn of(ordered: &Ordered) -> Option<Self> {
        let RunnerOrder::Drained { reason } = &ordered.order else {
            return None;
        };
        Some(Self {
            since: ordered.at,
            by: ordered.by.clone(),
            reason: reason.clone(),
        })
    }
}

impl App {
    /// All runners that the stream knows, sorted by id; those that left are among them.
    pub fn runners(&self) -> Vec<RunnerView> {
        let sight = self.sight();
        let runners = self.projections().runners();
        runners.keys().filter_map(|id| sight.view(id)).collect()
    }

    /// What runners should hold.
    pub fn wishes(&self) -> Wishes {
        Wishes(distribution(&self.projections().catalog().catalog))
    }

    /// # Errors
    /// When no such runner has registered, or it was forgotten.
    pub fn runner(&self, id: &RunnerId) -> Result<RunnerView, AppError> {
        let missing = || Rejection::RunnerNotFound {
            runner_id: id.clone(),
        };
        Ok(self.sight().view(id).ok_or_else(missing)?)
    }

    /// What a runner said of itself, where it is known.
    pub fn registration(&self, id: &RunnerId) -> Option<Registration> {
        let runners = self.projections().runners();
        runners.get(id).map(|runner| runner.registration.clone())
    }

    /// The runner once it is drained and has no run left, or as it stands after `patience`.
    pub async fn wait_until_drained(
        &self,
        id: &RunnerId,
        patience: Duration,
    ) -> Result<RunnerView, AppError> {
        let mut news = self.0.heartbeats.news();
        let done = async {
            while self
                .runner(id)
                .is_ok_and(|runner| !runner.is_idle_for_good())
            {
                // The listener lives as long as we do.
                let _ = news.changed().await;
            }
        };
        // Running out of patience is no error.
        let _ = tokio::time::timeout(patience, done).await;
        self.runner(id)
    }

    /// Says something to a runner, and answers with how it stands then; what it stood like before
    /// where it is forgotten. Whether the runner is there to hear it does not matter: it reads the
    /// last word whenever it comes.
    ///
    /// # Errors
    /// When there is no such runner, or the command does not fit how it stands.
    pub async fn command_runner(
        &self,
        actor: &Actor,
        id: &RunnerId,
        command: &RunnerCommand,
    ) -> Result<RunnerView, AppError> {
        for _ in 0..TRIES {
            let before = self.runner(id)?;
            let orders = self.projections().runner_orders();
            let last = orders.get(id);
            let standing = Standing {
                runner_id: id,
                order: last.map(|ordered| &ordered.order),
                // One that long-polls hears of it with its next poll.
                online: before.online && !id.is_over_http(),
            };
            let Some(order) = order(standing, command)? else {
                return Ok(before);
            };
            let expected = last.map_or(0, |ordered| ordered.sequence);
            let appended = self.0.broker.log.append(append(actor, id, order, expected));
            match appended.await {
                Ok(appended) => {
                    self.visible(Stream::Runners, appended.sequence).await?;
                    return Ok(self.runner(id).unwrap_or(before));
                }
                Err(AppendError::Conflict { last }) => self.visible(Stream::Runners, last).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    /// What the runners that are online said of themselves.
    pub(super) fn online(&self) -> BTreeMap<RunnerId, Registration> {
        let (hearing, now) = (self.hearing(), self.now());
        let runners = self.projections().runners();
        let there = runners
            .iter()
            .filter(|(id, runner)| runner.left_at.is_none() && hearing.is_online(id, now));
        there
            .map(|(id, runner)| (id.clone(), runner.registration.clone()))
            .collect()
    }

    /// What heartbeats say, for those who act on it.
    pub(crate) fn hearing(&self) -> Hearing {
        self.0.heartbeats.hearing()
    }

    /// Everything that is known of runners at this moment.
    fn sight(&self) -> Sight {
        Sight {
            runners: self.projections().runners(),
            orders: self.projections().runner_orders(),
            holdings: self.projections().holdings(),
            hearing: self.0.heartbeats.hearing(),
            lanes: self.lanes_needed(),
            now: self.now(),
        }
    }
}

/// What a view of a runner is made of.
struct Sight {
    runners: Arc<BTreeMap<RunnerId, Runner>>,
    orders: Arc<BTreeMap<RunnerId, Ordered>>,
    holdings: Holdings,
    hearing: Hearing,
    lanes: BTreeMap<Lane, LaneTags>,
    now: Timestamp,
}

impl Sight {
    fn view(&self, id: &RunnerId) -> Option<RunnerView> {
        let runner = self.runners.get(id)?;
        let heard = self.hearing.presences.of(id);
        let lanes = self.lanes.iter();
        let served = lanes.filter(|(_, tags)| runner.registration.serves(tags));
        Some(RunnerView {
            runner_id: id.clone(),
            registration: runner.registration.clone(),
            registered_at: runner.registered_at,
            last_heartbeat: heard.map(|heard| heard.at),
            online: self.is_online(id, runner),
            left_at: runner.left_at,
            draining: heard.is_some_and(|heard| heard.presence.draining),
            drained: self.orders.get(id).and_then(Drained::of),
            runs: heard.map_or_else(BTreeSet::new, |heard| heard.presence.runs.clone()),
            scripts: self.holdings.of(id),
            synced_at: runner.synced.map(|synced| synced.at),
            lanes: served
                .map(|(lane, tags)| (lane.clone(), tags.clone()))
                .collect(),
        })
    }

    /// A runner that left in order is not online, whatever heartbeat came last.
    fn is_online(&self, id: &RunnerId, runner: &Runner) -> bool {
        runner.left_at.is_none() && self.hearing.is_online(id, self.now)
    }
}

fn append(actor: &Actor, id: &RunnerId, order: RunnerOrder, expected: u64) -> Append {
    let envelope = Envelope {
        id: EventId::fresh(),
        at: Timestamp::now(),
        actor: actor.clone(),
        previous: None,
        event: order,
    };
    let subject = subject::runner_order(id);
    Append {
        stream: Stream::Runners,
        subject: subject.clone(),
        id: envelope.id,
        payload: envelope.to_bytes(),
        expect: Expect::Subjects {
            filter: subject,
            sequence: expected,
        },
    }
}
