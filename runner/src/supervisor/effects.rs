//! Carries effects out. What takes time runs in a task of its own and comes back as an input.

use super::orders::Order;
use super::rounds::{Calls, rounds};
use super::voice::{Ears, speak};
use super::{Effect, Input};
use crate::apply::Synced;
use crate::lanes::Wanted;
use crate::station::Station;
use crate::work::{Leaving, Ticket, deliver, work};
use events::log::jetstream::{Commanded, LaneLog};
use events::log::{Append, Expect, Log as _, ReadError};
use events::runner::{Presence, Registration, RunnerEvent, RunnerOrder};
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Lane, RunId, Timestamp};
use futures::StreamExt as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

/// Between two tries to read lanes, or to be heard.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How long a runner that leaves at once waits for its scripts to be gone and their ends told:
/// TERM, KILL, and a few answers of the broker.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Rounds that somebody asked for and that wait for the one before.
const COMMANDS_AHEAD: usize = 16;

/// The runs at work, shared with the heartbeat.
type Tickets = Arc<Mutex<HashMap<RunId, Ticket>>>;

pub struct Effects {
    station: Arc<Station>,
    lanes: LaneLog,
    /// The tasks that follow our lanes.
    following: HashMap<Lane, AbortHandle>,
    inputs: mpsc::Sender<Input>,
    tickets: Tickets,
    leaving: watch::Sender<Leaving>,
    drained: watch::Sender<bool>,
    /// Registrations before this sequence of `RUNNERS` do not count any more.
    forgotten: watch::Sender<u64>,
    wanted: watch::Sender<Option<Wanted>>,
    synced: watch::Sender<Option<Synced>>,
    commands: mpsc::Sender<Commanded>,
    read_agents: Arc<Notify>,
}

impl Effects {
    /// Also starts what goes on by itself: heartbeats, registration, and the rounds that put
    /// scripts in place.
    pub fn new(
        station: Arc<Station>,
        registration: Registration,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_AHEAD);
        let effects = Self {
            synced: watch::Sender::new(None),
            commands,
            lanes: LaneLog::new(station.connection.clone()),
            following: HashMap::new(),
            station,
            inputs,
            tickets: Tickets::default(),
            leaving: watch::Sender::new(Leaving::No),
            drained: watch::Sender::new(false),
            forgotten: watch::Sender::new(0),
            wanted: watch::Sender::new(None),
            read_agents: Arc::default(),
        };
        let ears = Ears {
            synced: effects.synced.subscribe(),
            forgotten: effects.forgotten.subscribe(),
            agents: effects.read_agents.clone(),
        };
        tokio::spawn(speak(effects.station.clone(), registration, ears));
        tokio::spawn(heartbeats(
            effects.station.clone(),
            effects.tickets.clone(),
            effects.leaving.subscribe(),
            effects.drained.subscribe(),
        ));
        let calls = Calls {
            wanted: effects.wanted.subscribe(),
            commands: received,
        };
        tokio::spawn(rounds(
            effects.station.clone(),
            calls,
            effects.inputs.clone(),
        ));
        effects
    }

    pub async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ReadTags => self.read(None),
            Effect::ReadLane(lane) => self.read(Some(lane)),
            Effect::OpenLane(lane) => self.open_lane(lane),
            Effect::CloseLane(lane) => self.close_lane(&lane),
            Effect::Pull(lane, pull) => {
                if let Err(error) = self.station.queue.pull(&lane, pull).await {
                    tracing::debug!(%error, "a pull was not sent");
                }
            }
            Effect::Work(delivery) => self.work(*delivery),
            Effect::HandBack(lease, delay) => {
                self.station.queue.hand_back(&lease, delay).await;
            }
            Effect::Renew(run_id, lease) => {
                if let Some(ticket) = self.ticket(&run_id) {
                    ticket.renew(lease);
                }
            }
            Effect::Hint(run_id) => {
                if let Some(ticket) = self.ticket(&run_id) {
                    ticket.hint();
                }
            }
            Effect::Answer(asked, answer) => self.station.connection.answer(&asked, &answer).await,
            Effect::Tell(waiting) => {
                let (station, inputs) = (self.station.clone(), self.inputs.clone());
                tokio::spawn(async move {
                    deliver(&station, &waiting).await;
                    let _ = inputs.send(Input::Told(waiting.run_id.clone())).await;
                });
            }
            Effect::Converge(wanted) => {
                self.wanted.send_replace(Some(wanted));
            }
            Effect::Report(synced) => {
                self.synced.send_replace(Some(synced));
            }
            Effect::Recheck(commanded, lanes) => self.recheck(commanded, lanes),
            Effect::Round(commanded) => {
                // Who asks more often than rounds go gets no answer, and asks again.
                if self.commands.try_send(commanded).is_err() {
                    tracing::debug!("more rounds are asked for than can be made");
                }
            }
            Effect::SetLeaving(leaving) => self.leave_by(leaving),
            Effect::SetDrained(order) => self.drain(order.as_ref()),
            Effect::Register(sequence) => {
                self.forgotten.send_replace(sequence);
            }
            Effect::ReadAgents => self.read_agents.notify_one(),
            Effect::Leave => {}
        }
    }

    /// The last words, as far as somebody hears them.
    pub async fn leave(&self) {
        if self.station.connection.is_connected() {
            let left = say(&self.station, RunnerEvent::Left);
            if tokio::time::timeout(LAST_WORDS, left).await.is_err() {
                tracing::warn!("the broker did not take the last words");
            }
            self.station.connection.close().await;
        }
    }

    fn leave_by(&mut self, leaving: Leaving) {
        tracing::info!(?leaving, "leaving");
        self.leaving.send_replace(leaving);
        match leaving {
            Leaving::No => {}
            Leaving::Draining => self.later(self.station.settings.grace, Input::GraceOver),
            Leaving::Now => self.later(LEAVE_PATIENCE, Input::PatienceOver),
        }
    }

    fn drain(&self, order: Option<&Order>) {
        let running = locked(&self.tickets).len();
        match order {
            Some(Order {
                order: RunnerOrder::Drained { reason },
                by,
                ..
            }) => {
                let reason = reason.as_deref().unwrap_or("none given");
                tracing::info!(
                    by = by.name,
                    reason,
                    running,
                    "drained: no new runs, running ones finish"
                );
            }
            _ if *self.drained.borrow() => tracing::info!("taking runs again"),
            _ => {}
        }
        self.drained.send_replace(order.is_some());
    }

    fn later(&self, after: Duration, input: Input) {
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = inputs.send(input).await;
        });
    }

    fn work(&mut self, delivery: events::log::jetstream::Delivery) {
        let ticket = Ticket::new(&delivery, self.leaving.subscribe());
        locked(&self.tickets).insert(delivery.run_id.clone(), ticket.clone());
        let (station, inputs) = (self.station.clone(), self.inputs.clone());
        let (tickets, drained) = (self.tickets.clone(), self.drained.clone());
        tokio::spawn(async move {
            let run_id = delivery.run_id.clone();
            // A panic in one run must not cost the runner its slot.
            let worked = tokio::spawn(work(station, delivery, ticket)).await;
            if let Err(error) = worked {
                tracing::error!(run = %run_id, %error, "work on a run failed");
            }
            locked(&tickets).remove(&run_id);
            // Somebody may be waiting for the last run of a drained runner.
            if *drained.borrow() {
                drained.send_modify(|_| {});
            }
            let _ = inputs.send(Input::Ended(run_id)).await;
        });
    }

    fn ticket(&self, run_id: &RunId) -> Option<Ticket> {
        locked(&self.tickets).get(run_id).cloned()
    }

    /// Subscribes first and reads then, so that nothing falls between.
    fn open_lane(&mut self, lane: Lane) {
        let (station, lanes, inputs) = (
            self.station.clone(),
            self.lanes.clone(),
            self.inputs.clone(),
        );
        let followed = lane.clone();
        let following = tokio::spawn(async move {
            let mut heard = loop {
                let scripts = lanes.follow(&subject::lane_all(&lane)).await;
                let commands = station.connection.lane_commands(&lane).await;
                if let (Ok(scripts), Ok(commands)) = (scripts, commands) {
                    let (scripts, commands) = (scripts.map(Input::Lane), commands.map(Input::Hint));
                    break futures::stream::select(scripts, commands);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            };
            tokio::spawn(read(lanes, Some(lane), inputs.clone()));
            while let Some(input) = heard.next().await {
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        });
        self.following.insert(followed, following.abort_handle());
    }

    fn close_lane(&mut self, lane: &Lane) {
        if let Some(following) = self.following.remove(lane) {
            following.abort();
        }
    }

    /// Reads everything again, and only then lets the round be made that was asked for.
    fn recheck(&self, commanded: Commanded, lanes: Vec<Lane>) {
        let (log, inputs) = (self.lanes.clone(), self.inputs.clone());
        tokio::spawn(async move {
            read(log.clone(), None, inputs.clone()).await;
            for lane in lanes {
                read(log.clone(), Some(lane), inputs.clone()).await;
            }
            let _ = inputs.send(Input::Rechecked(commanded)).await;
        });
    }

    fn read(&self, lane: Option<Lane>) {
        tokio::spawn(read(self.lanes.clone(), lane, self.inputs.clone()));
    }
}

fn locked(tickets: &Tickets) -> std::sync::MutexGuard<'_, HashMap<RunId, Ticket>> {
    tickets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one lane, or the tags of all, until it succeeds.
async fn read(lanes: LaneLog, lane: Option<Lane>, inputs: mpsc::Sender<Input>) {
    let input = loop {
        let read: Result<Input, ReadError> = match &lane {
            Some(lane) => {
                let messages = lanes.read(&subject::lane_all(lane)).await;
                messages.map(|messages| Input::LaneRead(lane.clone(), messages))
            }
            None => {
                let read = lanes.read_all(subject::every_lane_tags()).await;
                read.map(|(tags, horizon)| Input::TagsRead { tags, horizon })
            }
        };
        match read {
            Ok(input) => break input,
            Err(error) => {
                tracing::debug!(%error, "lanes cannot be read now; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    };
    let _ = inputs.send(input).await;
}

/// Stores what the runner says of itself; tries until the broker has it. Gives its sequence.
pub(super) async fn say(station: &Station, event: RunnerEvent) -> u64 {
    let envelope = Envelope {
        id: EventId::fresh(),
        at: Timestamp::now(),
        actor: Actor::runner(station.runner_id()),
        previous: None,
        event,
    };
    let append = Append {
        stream: Stream::Runners,
        subject: subject::runner(station.runner_id()),
        id: envelope.id,
        payload: envelope.to_bytes(),
        expect: Expect::Nothing,
    };
    loop {
        match station.connection.append(append.clone()).await {
            Ok(appended) => return appended.sequence,
            Err(error) => {
                tracing::debug!(%error, "the runner's word was not stored; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Regularly, and at once when the runner begins or ceases to take runs.
async fn heartbeats(
    station: Arc<Station>,
    tickets: Tickets,
    mut leaving: watch::Receiver<Leaving>,
    mut drained: watch::Receiver<bool>,
) {
    let mut interval = tokio::time::interval(station.cadence.heartbeat());
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            Ok(()) = leaving.changed() => {}
            Ok(()) = drained.changed() => {}
        }
        let presence = Presence {
            runner_id: station.runner_id().clone(),
            at: Timestamp::now(),
            runs: locked(&tickets).keys().cloned().collect(),
            max_runs: station.settings.max_runs,
            draining: *drained.borrow() || *leaving.borrow() != Leaving::No,
            silence_seconds: None,
        };
        station.connection.announce(&presence).await;
    }
}
