//! Where polls of runners over HTTP wait, and the leases of what they hold. In memory only: whoever
//! waits asks again, here or elsewhere, and a lease that is lost with us brings a redelivery.
//!
//! What a poll is answered with is `polls`'; which lanes are pulled from is a reactor's.

use events::log::jetstream::{Delivery, Lease, Queue};
use events::runner::Registration;
use events::{Lane, LaneTags, RunId, RunnerId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Desk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// A poll wants a run.
    came: Notify,
}

#[derive(Default)]
struct State {
    /// Polls are served in the order in which they came.
    next: u64,
    polls: HashMap<u64, Poll>,
    /// Those that want a run, by lane.
    open: BTreeMap<Lane, BTreeSet<u64>>,
    lanes: BTreeMap<Lane, LaneTags>,
    queue: Option<Queue>,
    leases: HashMap<RunId, Lease>,
}

struct Poll {
    runner_id: RunnerId,
    registration: Arc<Registration>,
    news: mpsc::UnboundedSender<News>,
    is_open: bool,
}

/// What ends a wait.
#[derive(Debug)]
pub enum News {
    /// Something may be told now.
    Look,
    Run(Box<Delivery>),
}

/// A poll that waits; it leaves when it is dropped.
pub struct Waiting {
    desk: Desk,
    id: u64,
    news: mpsc::UnboundedReceiver<News>,
}

impl Desk {
    pub fn wait(&self, runner_id: &RunnerId, registration: Arc<Registration>) -> Waiting {
        let (sender, news) = mpsc::unbounded_channel();
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let poll = Poll {
            runner_id: runner_id.clone(),
            registration,
            news: sender,
            is_open: false,
        };
        state.polls.insert(id, poll);
        let desk = self.clone();
        Waiting { desk, id, news }
    }

    /// Resolves when a poll has come that wants a run.
    pub async fn came(&self) {
        self.0.came.notified().await;
    }

    pub fn is_empty(&self) -> bool {
        self.lock().polls.is_empty()
    }

    /// Whether a poll of this runner waits here.
    pub fn is_waiting(&self, runner_id: &RunnerId) -> bool {
        let state = self.lock();
        state
            .polls
            .values()
            .any(|poll| poll.runner_id == *runner_id)
    }

    /// The lanes that somebody wants a run of.
    pub fn open_lanes(&self) -> Vec<Lane> {
        self.lock().open.keys().cloned().collect()
    }

    pub fn is_open(&self, lane: &Lane) -> bool {
        self.lock().open.contains_key(lane)
    }

    /// All lanes that there are now.
    pub fn set_lanes(&self, lanes: BTreeMap<Lane, LaneTags>) {
        let mut state = self.lock();
        state.lanes = lanes;
        let open: Vec<u64> = state
            .polls
            .iter()
            .filter(|(_, p)| p.is_open)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            state.close(id);
            state.open(id);
        }
    }

    pub fn set_queue(&self, queue: Option<Queue>) {
        self.lock().queue = queue;
    }

    /// The polls of these runners look again; those of all where none are named.
    pub fn look(&self, runners: Option<&BTreeSet<RunnerId>>) {
        let state = self.lock();
        let meant = |poll: &&Poll| runners.is_none_or(|ids| ids.contains(&poll.runner_id));
        for poll in state.polls.values().filter(meant) {
            // Whoever has gone meanwhile needs no news.
            let _ = poll.news.send(News::Look);
        }
    }

    /// Gives a run to the poll that has waited for it longest; back where nobody does any more.
    pub fn give(&self, delivery: Box<Delivery>) -> Result<(), Box<Delivery>> {
        let mut state = self.lock();
        let mut delivery = delivery;
        loop {
            let first = state
                .open
                .get(&delivery.lane)
                .and_then(|open| open.first().copied());
            let Some(id) = first else {
                return Err(delivery);
            };
            // One poll takes one run.
            state.close(id);
            let Some(poll) = state.polls.get(&id) else {
                continue;
            };
            match poll.news.send(News::Run(delivery)) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(News::Run(back))) => delivery = back,
                Err(_) => unreachable!("what was sent comes back"),
            }
        }
    }

    pub fn keep(&self, run_id: &RunId, lease: Lease) {
        self.lock().leases.insert(run_id.clone(), lease);
    }

    /// What is held here.
    pub fn leases(&self) -> Vec<(RunId, Lease)> {
        let state = self.lock();
        let leases = state.leases.iter();
        leases
            .map(|(id, lease)| (id.clone(), lease.clone()))
            .collect()
    }

    /// The run has ended: it is not to be delivered again, where its lease is here.
    pub async fn ack(&self, run_id: &RunId) {
        if let Some((queue, lease)) = self.released(run_id) {
            queue.ack(&lease).await;
        }
    }

    /// Somebody else is to have it after `delay`, where its lease is here.
    pub async fn hand_back(&self, run_id: &RunId, delay: Duration) {
        if let Some((queue, lease)) = self.released(run_id) {
            queue.hand_back(&lease, delay).await;
        }
    }

    /// Still at work.
    pub async fn progress(&self, lease: &Lease) {
        let queue = self.lock().queue.clone();
        if let Some(queue) = queue {
            queue.progress(lease).await;
        }
    }

    fn released(&self, run_id: &RunId) -> Option<(Queue, Lease)> {
        let mut state = self.lock();
        let lease = state.leases.remove(run_id)?;
        Some((state.queue.clone()?, lease))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, id: u64) {
        let Some(poll) = self.polls.get_mut(&id) else {
            return;
        };
        poll.is_open = true;
        for (lane, tags) in &self.lanes {
            if poll.registration.executes(tags) {
                self.open.entry(lane.clone()).or_default().insert(id);
            }
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(poll) = self.polls.get_mut(&id) {
            poll.is_open = false;
        }
        self.open.retain(|_, open| {
            open.remove(&id);
            !open.is_empty()
        });
    }
}

impl Waiting {
    /// From here on it takes a run.
    pub fn open(&self) {
        self.desk.lock().open(self.id);
        self.desk.0.came.notify_one();
    }

    pub async fn next(&mut self) -> News {
        // The desk holds the other end as long as we wait.
        self.news.recv().await.unwrap_or(News::Look)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.close(self.id);
        state.polls.remove(&self.id);
        let queue = state.queue.clone();
        drop(state);
        while let Ok(news) = self.news.try_recv() {
            if let (News::Run(delivery), Some(queue)) = (news, &queue)
                && let Ok(runtime) = tokio::runtime::Handle::try_current()
            {
                let queue = queue.clone();
                runtime
                    .spawn(async move { queue.hand_back(&delivery.lease, Duration::ZERO).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::registration;
    use bytes::Bytes;
    use schemas::Tag;

    fn tags(texts: &[&str]) -> LaneTags {
        let tags = texts.iter().map(|text| text.parse::<Tag>().unwrap());
        tags.collect()
    }

    fn delivery(lane: &LaneTags) -> Box<Delivery> {
        Box::new(Delivery {
            lane: lane.lane(),
            run_id: RunId::from_bits(1),
            sequence: 1,
            delivered: 1,
            payload: Bytes::new(),
            lease: Lease::new("lease".to_owned()),
        })
    }

    fn waits(desk: &Desk, id: &str, offered: &[&str]) -> Waiting {
        desk.wait(&id.parse().unwrap(), Arc::new(registration(offered)))
    }

    fn desk() -> Desk {
        let desk = Desk::default();
        let lanes = [tags(&["bash"]), tags(&["uv"])];
        desk.set_lanes(lanes.map(|tags| (tags.lane(), tags)).into());
        desk
    }

    #[tokio::test]
    async fn a_run_goes_to_who_has_waited_longest_and_serves_its_lane() {
        let desk = desk();
        let mut uv = waits(&desk, "uv", &["uv"]);
        let (mut first, mut second) = (waits(&desk, "a", &["bash"]), waits(&desk, "b", &["bash"]));
        for waiting in [&uv, &second, &first] {
            waiting.open();
        }
        let bash = tags(&["bash"]);
        desk.give(delivery(&bash)).unwrap();
        assert!(matches!(first.next().await, News::Run(_)));
        desk.give(delivery(&bash)).unwrap();
        assert!(matches!(second.next().await, News::Run(_)));
        assert!(desk.give(delivery(&bash)).is_err(), "one poll, one run");
        assert_eq!(desk.open_lanes(), [tags(&["uv"]).lane()]);
        desk.look(Some(&["uv".parse().unwrap()].into()));
        assert!(matches!(uv.next().await, News::Look));
    }

    #[tokio::test]
    async fn who_has_gone_or_does_not_want_one_gets_none() {
        let desk = desk();
        let bash = tags(&["bash"]);
        let closed = waits(&desk, "a", &["bash"]);
        assert!(desk.give(delivery(&bash)).is_err());
        closed.open();
        assert!(desk.is_waiting(&"a".parse().unwrap()));
        drop(closed);
        assert!(desk.give(delivery(&bash)).is_err() && desk.is_empty());
    }

    #[tokio::test]
    async fn a_lane_that_comes_to_be_is_waited_for_at_once() {
        let desk = desk();
        let waiting = waits(&desk, "a", &["gpu"]);
        waiting.open();
        assert!(desk.open_lanes().is_empty());
        let gpu = tags(&["gpu"]);
        desk.set_lanes([(gpu.lane(), gpu.clone())].into());
        assert!(desk.is_open(&gpu.lane()));
        desk.give(delivery(&gpu)).unwrap();
    }
}
