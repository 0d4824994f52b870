//! What follows from what happens. Synchronous and without I/O: an input in, effects out.

use super::orders::Order;
use crate::apply::Synced;
use crate::join::JoinError;
use crate::lanes::{Change, Lanes, Wanted};
use crate::spool::Waiting;
use crate::work::Leaving;
use events::claim::Pulls;
use events::log::jetstream::{Arrival, Asked, Commanded, Delivery, LaneMessage, Lease, Link, Pull};
use events::question::{Answer, Question};
use events::runner::RunnerOrder;
use events::{Lane, RunId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a run rests whose kept result is being told.
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// Everything that can happen to a runner.
pub enum Input {
    Arrival(Arrival),
    /// A lane's queue has another server; what was out to it is lost.
    Moved(Lane),
    /// A live message of `LANES`.
    Lane(LaneMessage),
    /// The tags of all lanes, read as a whole when `LANES` went up to `horizon`.
    TagsRead {
        tags: Vec<LaneMessage>,
        horizon: u64,
    },
    /// One lane, read as a whole.
    LaneRead(Lane, Vec<LaneMessage>),
    /// A coordinator said something to a run.
    Hint(RunId),
    Asked(Asked),
    /// A coordinator wants something done at once.
    Commanded(Commanded),
    /// Everything was read again for it.
    Rechecked(Commanded),
    /// A run that was at work is not any more.
    Ended(RunId),
    /// A kept result was told, or is not wanted any more.
    Told(RunId),
    Synced(Synced),
    /// The last word of a coordinator to this runner, where there is one.
    Ordered(Option<Order>),
    Link(Link),
    /// About once a second.
    Tick,
    /// TERM or Ctrl-C.
    Signal,
    /// HUP.
    HangUp,
    /// `LANES` has grown since somebody last looked.
    LanesGrown,
    /// The grace time after a signal is over.
    GraceOver,
    /// What was ended after the grace time has had its time, too.
    PatienceOver,
    LauncherGone,
    /// The broker lets us in no more, and the coordinator says why.
    ShutOut(JoinError),
}

/// Everything a runner can do about it.
#[derive(Debug)]
pub enum Effect {
    ReadTags,
    /// Follow a lane of ours, and read it.
    OpenLane(Lane),
    /// It is no more: stop following it.
    CloseLane(Lane),
    ReadLane(Lane),
    Pull(Lane, Pull),
    Work(Box<Delivery>),
    /// Not now; deliver it again after this.
    HandBack(Lease, Duration),
    /// A run we hold was delivered again.
    Renew(RunId, Lease),
    Hint(RunId),
    Answer(Asked, Answer),
    /// Tell a result that an earlier life kept.
    Tell(Box<Waiting>),
    Converge(Wanted),
    Report(Synced),
    /// Read these lanes, and all tags, again; then make a round and answer.
    Recheck(Commanded, Vec<Lane>),
    Round(Commanded),
    SetLeaving(Leaving),
    /// Drained, or not any more; tell who listens.
    SetDrained(Option<Order>),
    /// Nobody expected us any more, as of this sequence of `RUNNERS`: register again.
    Register(u64),
    /// Read the folder of our own agents again, and register with what it holds.
    ReadAgents,
    /// Everything is done; go.
    Leave,
}

/// The runner as far as its decisions need it.
pub struct State {
    lanes: Lanes,
    pulls: Pulls,
    max_runs: usize,
    active: BTreeSet<RunId>,
    kept: BTreeMap<RunId, Waiting>,
    wanted: Wanted,
    reported: Option<Synced>,
    interruptions: u64,
    connected: bool,
    leaving: Leaving,
    /// What coordinators ordered; nothing is taken before that is known.
    order: Known<Option<Order>>,
}

/// Something that has to be read first.
#[derive(Debug, PartialEq)]
enum Known<T> {
    NotYet,
    As(T),
}

impl State {
    pub fn new(lanes: Lanes, pulls: Pulls, max_runs: u32, kept: Vec<Waiting>) -> Self {
        let by_run = kept
            .into_iter()
            .map(|waiting| (waiting.run_id.clone(), waiting));
        Self {
            lanes,
            pulls,
            max_runs: usize::try_from(max_runs).unwrap_or(usize::MAX),
            active: BTreeSet::new(),
            kept: by_run.collect(),
            wanted: Wanted::new(),
            reported: None,
            interruptions: 0,
            connected: true,
            leaving: Leaving::No,
            order: Known::NotYet,
        }
    }

    /// What a runner does first.
    pub fn begin(&self) -> Vec<Effect> {
        let kept = self.kept.values().cloned().map(Box::new).map(Effect::Tell);
        kept.chain([Effect::ReadTags]).collect()
    }

    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = match input {
            Input::Arrival(arrival) => self.arrival(arrival, now),
            Input::Moved(lane) => {
                self.pulls.moved(&lane);
                Vec::new()
            }
            Input::Lane(message) => self.lane(&message),
            Input::TagsRead { tags, horizon } => self.tags_read(&tags, horizon),
            Input::LaneRead(lane, messages) => self.lane_read(&lane, &messages),
            Input::Hint(run_id) => self.known(run_id).map(Effect::Hint).into_iter().collect(),
            Input::Asked(asked) => vec![self.asked(asked)],
            Input::Commanded(commanded) => {
                vec![Effect::Recheck(
                    commanded,
                    self.lanes.mine().cloned().collect(),
                )]
            }
            Input::Rechecked(commanded) => vec![Effect::Round(commanded)],
            Input::Ended(run_id) => {
                self.active.remove(&run_id);
                Vec::new()
            }
            Input::Told(run_id) => {
                self.kept.remove(&run_id);
                Vec::new()
            }
            Input::Synced(synced) => self.synced(synced),
            Input::Ordered(order) => self.ordered(order),
            Input::Link(link) => self.link(link),
            Input::Tick | Input::LauncherGone | Input::ShutOut(_) => Vec::new(),
            Input::Signal => self.signal(),
            Input::HangUp => vec![Effect::ReadAgents],
            Input::LanesGrown => self.read_all().collect(),
            Input::GraceOver => self.leave_by(Leaving::Now),
            // While the broker is away nothing can be told; what was to be told is on the disk.
            Input::PatienceOver => vec![Effect::Leave],
        };
        effects.extend(self.pull(now));
        if self.leaving != Leaving::No && self.active.is_empty() {
            effects.push(Effect::Leave);
        }
        effects
    }

    fn arrival(&mut self, arrival: Arrival, now: Instant) -> Vec<Effect> {
        match arrival {
            Arrival::Nothing { lane } => {
                let free = if self.takes_runs() { self.free() } else { 0 };
                let pull = self.pulls.nothing(&lane, free, now);
                pull.map(|pull| Effect::Pull(lane, pull))
                    .into_iter()
                    .collect()
            }
            Arrival::Refused { lane, reason } => {
                tracing::debug!(%lane, reason, "a lane refuses pulls for now");
                self.pulls.refused(&lane, now);
                Vec::new()
            }
            Arrival::Run(delivery) => {
                self.pulls.delivered(&delivery.lane);
                vec![self.delivery(delivery)]
            }
        }
    }

    fn delivery(&mut self, delivery: Delivery) -> Effect {
        if self.active.contains(&delivery.run_id) {
            return Effect::Renew(delivery.run_id, delivery.lease);
        }
        // Its result is on its way to the log, and the log will say that it is over.
        if self.kept.contains_key(&delivery.run_id) {
            return Effect::HandBack(delivery.lease, TELL_PAUSE);
        }
        if self.free() == 0 || !self.takes_runs() {
            return Effect::HandBack(delivery.lease, Duration::ZERO);
        }
        self.active.insert(delivery.run_id.clone());
        Effect::Work(Box::new(delivery))
    }

    fn lane(&mut self, message: &LaneMessage) -> Vec<Effect> {
        match self.lanes.follow(message) {
            Change::Nothing => Vec::new(),
            Change::Opened(lane) => {
                self.pulls.add(lane.clone());
                vec![Effect::OpenLane(lane)]
            }
            Change::Gap(lane) => vec![Effect::ReadLane(lane)],
            Change::Wishes => self.converge(),
            Change::Closed(lane) => self.close(lane),
        }
    }

    fn tags_read(&mut self, tags: &[LaneMessage], horizon: u64) -> Vec<Effect> {
        let gone = self.lanes.close_missing(tags, horizon).into_iter();
        let mut effects: Vec<Effect> = gone.flat_map(|lane| self.close(lane)).collect();
        effects.extend(tags.iter().flat_map(|message| self.lane(message)));
        effects
    }

    fn close(&mut self, lane: Lane) -> Vec<Effect> {
        self.pulls.remove(&lane);
        let mut effects = vec![Effect::CloseLane(lane)];
        effects.extend(self.converge());
        effects
    }

    fn lane_read(&mut self, lane: &Lane, messages: &[LaneMessage]) -> Vec<Effect> {
        self.lanes.read(lane, messages);
        self.converge()
    }

    fn converge(&mut self) -> Vec<Effect> {
        let wanted = self.lanes.wanted();
        // The first round also runs for nothing: it clears away what an earlier life left.
        if self.reported.is_some() && wanted == self.wanted {
            return Vec::new();
        }
        self.wanted.clone_from(&wanted);
        vec![Effect::Converge(wanted)]
    }

    fn synced(&mut self, synced: Synced) -> Vec<Effect> {
        if self.reported.as_ref() == Some(&synced) {
            return Vec::new();
        }
        self.reported = Some(synced.clone());
        vec![Effect::Report(synced)]
    }

    fn asked(&self, asked: Asked) -> Effect {
        let Question::HoldsRun { run_id, .. } = &asked.question;
        let holds = self.active.contains(run_id) || self.kept.contains_key(run_id);
        let answer = if holds { Answer::Yes } else { Answer::No };
        Effect::Answer(asked, answer)
    }

    fn ordered(&mut self, order: Option<Order>) -> Vec<Effect> {
        let was_drained = self.is_drained();
        let order = Known::As(order);
        if self.order == order {
            return Vec::new();
        }
        self.order = order;
        let Known::As(Some(order)) = &self.order else {
            return Vec::new();
        };
        match order.order {
            RunnerOrder::Drained { .. } => vec![Effect::SetDrained(Some(order.clone()))],
            RunnerOrder::Resumed if was_drained => vec![Effect::SetDrained(None)],
            RunnerOrder::Resumed => Vec::new(),
            RunnerOrder::Forgotten => {
                vec![Effect::SetDrained(None), Effect::Register(order.sequence)]
            }
        }
    }

    fn is_drained(&self) -> bool {
        matches!(&self.order, Known::As(Some(order)) if order.order.is_drained())
    }

    fn takes_runs(&self) -> bool {
        self.leaving == Leaving::No && self.order != Known::NotYet && !self.is_drained()
    }

    /// After an interruption nothing that was out can be relied on.
    fn link(&mut self, link: Link) -> Vec<Effect> {
        self.connected = link.connected;
        if !link.connected || link.interruptions == self.interruptions {
            return Vec::new();
        }
        self.interruptions = link.interruptions;
        self.pulls.forget();
        let hints = self.active.iter().cloned().map(Effect::Hint);
        self.read_all().chain(hints).collect()
    }

    fn read_all(&self) -> impl Iterator<Item = Effect> {
        let lanes = self.lanes.mine().cloned().map(Effect::ReadLane);
        [Effect::ReadTags].into_iter().chain(lanes)
    }

    fn signal(&mut self) -> Vec<Effect> {
        match self.leaving {
            Leaving::No => self.leave_by(Leaving::Draining),
            // Whoever asks twice does not want to wait.
            Leaving::Draining | Leaving::Now => self.leave_by(Leaving::Now),
        }
    }

    fn leave_by(&mut self, leaving: Leaving) -> Vec<Effect> {
        if leaving <= self.leaving {
            return Vec::new();
        }
        self.leaving = leaving;
        vec![Effect::SetLeaving(leaving)]
    }

    fn pull(&mut self, now: Instant) -> Vec<Effect> {
        // What is sent without a connection only piles up.
        if !self.takes_runs() || !self.connected {
            return Vec::new();
        }
        let lanes = self.pulls.next(self.free(), now).into_iter();
        lanes.map(|lane| Effect::Pull(lane, Pull::Now)).collect()
    }

    fn free(&self) -> usize {
        self.max_runs.saturating_sub(self.active.len())
    }

    fn known(&self, run_id: RunId) -> Option<RunId> {
        self.active.contains(&run_id).then_some(run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::LaneTags;
    use events::distribution::LaneEvent;
    use events::subject::LaneSubject;
    use schemas::Tag;

    fn lane_tags() -> LaneTags {
        ["bash".parse::<Tag>().unwrap()].into_iter().collect()
    }

    fn lanes() -> Lanes {
        Lanes::new(["bash".parse().unwrap()].into(), [].into())
    }

    fn delivery(number: u64) -> Delivery {
        Delivery {
            lane: lane_tags().lane(),
            run_id: RunId::from_bits(number),
            sequence: number,
            delivered: 1,
            payload: bytes::Bytes::new(),
            lease: Lease::new(format!("lease {number}")),
        }
    }

    /// A runner with one slot that serves one lane, and what it did so far.
    fn runner(kept: Vec<Waiting>) -> State {
        let mut state = State::new(lanes(), Pulls::default(), 1, kept);
        assert!(handle(&mut state, Input::Ordered(None)).is_empty());
        let message = LaneMessage {
            subject: LaneSubject::Tags(lane_tags().lane()),
            sequence: 1,
            follows: Some(0),
            event: LaneEvent::Tags { tags: lane_tags() },
        };
        let said = told(state.handle(
            Input::TagsRead {
                tags: vec![message],
                horizon: 1,
            },
            Instant::now(),
        ));
        assert_eq!(said, ["open", "pull now"]);
        state
    }

    fn told(effects: Vec<Effect>) -> Vec<String> {
        let name = |effect: Effect| match effect {
            Effect::ReadTags => "read tags".to_owned(),
            Effect::OpenLane(_) => "open".to_owned(),
            Effect::CloseLane(_) => "close".to_owned(),
            Effect::ReadLane(_) => "read lane".to_owned(),
            Effect::Pull(_, Pull::Now) => "pull now".to_owned(),
            Effect::Pull(_, Pull::Standing) => "pull standing".to_owned(),
            Effect::Work(delivery) => format!("work {}", delivery.sequence),
            Effect::HandBack(lease, _) => format!("hand back {lease:?}"),
            Effect::Renew(_, _) => "renew".to_owned(),
            Effect::Hint(_) => "hint".to_owned(),
            Effect::Answer(_, answer) => format!("{answer:?}"),
            Effect::Tell(_) => "tell".to_owned(),
            Effect::Converge(_) => "converge".to_owned(),
            Effect::Report(_) => "report".to_owned(),
            Effect::Recheck(..) => "recheck".to_owned(),
            Effect::Round(_) => "round".to_owned(),
            Effect::SetLeaving(leaving) => format!("{leaving:?}"),
            Effect::SetDrained(order) => format!("drained {}", order.is_some()),
            Effect::Register(sequence) => format!("register {sequence}"),
            Effect::ReadAgents => "read agents".to_owned(),
            Effect::Leave => "leave".to_owned(),
        };
        effects.into_iter().map(name).collect()
    }

    fn handle(state: &mut State, input: Input) -> Vec<String> {
        told(state.handle(input, Instant::now()))
    }

    fn arrives(number: u64) -> Input {
        Input::Arrival(Arrival::Run(delivery(number)))
    }

    #[test]
    fn a_run_takes_the_slot_and_its_end_frees_it() {
        let mut state = runner(Vec::new());
        assert_eq!(handle(&mut state, arrives(1)), ["work 1"]);
        let back = handle(&mut state, arrives(2));
        assert_eq!(back, [format!("hand back {:?}", delivery(2).lease)]);
        let ended = handle(&mut state, Input::Ended(RunId::from_bits(1)));
        assert_eq!(ended, ["pull now"]);
    }

    #[test]
    fn a_run_at_work_that_is_delivered_again_goes_on_with_the_new_lease() {
        let mut state = runner(Vec::new());
        handle(&mut state, arrives(1));
        assert_eq!(handle(&mut state, arrives(1)), ["renew"]);
    }

    #[test]
    fn a_queue_that_has_moved_is_asked_again() {
        let mut state = runner(Vec::new());
        let lane = lane_tags().lane();
        let empty = Arrival::Nothing { lane: lane.clone() };
        assert_eq!(handle(&mut state, Input::Arrival(empty)), ["pull standing"]);
        assert!(handle(&mut state, Input::Tick).is_empty());
        assert_eq!(handle(&mut state, Input::Moved(lane)), ["pull now"]);
    }

    #[test]
    fn an_interruption_makes_everything_be_read_again() {
        let mut state = runner(Vec::new());
        handle(&mut state, arrives(1));
        let link = |connected, interruptions| {
            Input::Link(Link {
                connected,
                since: Instant::now(),
                interruptions,
                refusals: 0,
            })
        };
        assert!(handle(&mut state, link(false, 0)).is_empty());
        let back = handle(&mut state, link(true, 1));
        assert_eq!(back, ["read tags", "read lane", "hint"]);
        assert!(handle(&mut state, link(true, 1)).is_empty());
    }

    #[test]
    fn without_a_connection_nothing_is_asked_for() {
        let mut state = runner(Vec::new());
        let link = |connected, interruptions| Link {
            connected,
            since: Instant::now(),
            interruptions,
            refusals: 0,
        };
        let later = Instant::now() + Duration::from_secs(60);
        assert!(state.handle(Input::Link(link(false, 0)), later).is_empty());
        assert!(state.handle(Input::Tick, later).is_empty());
        let back = told(state.handle(Input::Link(link(true, 1)), later));
        assert_eq!(back, ["read tags", "read lane", "pull now"]);
    }

    #[test]
    fn lanes_that_have_grown_are_read_again() {
        let mut state = runner(Vec::new());
        let again = handle(&mut state, Input::LanesGrown);
        assert_eq!(again, ["read tags", "read lane"]);
    }

    #[test]
    fn what_cannot_be_told_does_not_hold_up_who_leaves() {
        let mut state = runner(Vec::new());
        handle(&mut state, arrives(1));
        handle(&mut state, Input::GraceOver);
        assert_eq!(handle(&mut state, Input::PatienceOver), ["leave"]);
    }

    #[test]
    fn who_leaves_takes_nothing_new_and_goes_when_all_is_done() {
        let mut state = runner(Vec::new());
        handle(&mut state, arrives(1));
        assert_eq!(handle(&mut state, Input::Signal), ["Draining"]);
        assert!(handle(&mut state, arrives(2))[0].starts_with("hand back"));
        assert_eq!(handle(&mut state, Input::GraceOver), ["Now"]);
        assert_eq!(handle(&mut state, Input::Signal), Vec::<String>::new());
        let ended = handle(&mut state, Input::Ended(RunId::from_bits(1)));
        assert_eq!(ended, ["leave"]);
    }

    fn ordered(sequence: u64, order: RunnerOrder) -> Input {
        Input::Ordered(Some(Order {
            order,
            at: "2026-11-20T10:00:00Z".parse().unwrap(),
            by: events::Actor::policy("test"),
            sequence,
        }))
    }

    #[test]
    fn who_is_drained_takes_nothing_new_until_it_is_resumed() {
        let mut state = runner(Vec::new());
        handle(&mut state, arrives(1));
        let drained = || ordered(5, RunnerOrder::Drained { reason: None });
        assert_eq!(handle(&mut state, drained()), ["drained true"]);
        assert!(handle(&mut state, drained()).is_empty());
        assert!(handle(&mut state, Input::Ended(RunId::from_bits(1))).is_empty());
        assert!(handle(&mut state, arrives(2))[0].starts_with("hand back"));
        let resumed = handle(&mut state, ordered(6, RunnerOrder::Resumed));
        assert_eq!(resumed, ["drained false", "pull now"]);
    }

    #[test]
    fn nothing_is_taken_before_orders_are_known() {
        let mut state = State::new(lanes(), Pulls::default(), 1, Vec::new());
        assert!(handle(&mut state, arrives(1))[0].starts_with("hand back"));
        assert!(handle(&mut state, Input::Ordered(None)).is_empty());
        assert_eq!(handle(&mut state, arrives(1)), ["work 1"]);
    }

    #[test]
    fn who_was_forgotten_registers_again_once() {
        let mut state = runner(Vec::new());
        let forgotten = || ordered(7, RunnerOrder::Forgotten);
        let again = handle(&mut state, forgotten());
        assert_eq!(again[..2], ["drained false", "register 7"]);
        assert!(handle(&mut state, forgotten()).is_empty());
    }

    #[test]
    fn a_hang_up_is_no_end() {
        let mut state = runner(Vec::new());
        assert_eq!(handle(&mut state, Input::HangUp), ["read agents"]);
        assert_eq!(handle(&mut state, arrives(1)), ["work 1"]);
    }

    #[test]
    fn a_runner_without_work_leaves_at_once() {
        let mut state = runner(Vec::new());
        assert_eq!(handle(&mut state, Input::Signal), ["Draining", "leave"]);
    }

    #[test]
    fn a_kept_result_counts_as_held_until_it_is_told() {
        let run_id = RunId::from_bits(1);
        let waiting = Waiting {
            lane: lane_tags().lane(),
            run_id: run_id.clone(),
            attempt: 1,
            event: events::run::RunEvent::Stopped { outcome: None },
            large_result: None,
        };
        let mut state = runner(vec![waiting]);
        assert_eq!(told(state.begin()), ["tell", "read tags"]);
        assert!(handle(&mut state, arrives(1))[0].starts_with("hand back"));
        handle(&mut state, Input::Told(run_id));
        assert_eq!(handle(&mut state, arrives(1)), ["work 1"]);
    }
}
