//! Which lane is asked next, and how. Pure; the rules are BROKER.md's "Claim loop": while a slot
//! is free ask in rotation, leave a standing pull where nothing waits, renew it when it has ended,
//! never cancel one, and give back at once what arrives without a free slot.

use crate::log::jetstream::{Pull, STANDING_PULL};
use crate::{Lane, RunnerId};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// An answer to "is there anything now?" that has not come by then is not coming.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// A standing pull whose end was not told by then has been lost.
const STANDING_PATIENCE: Duration = STANDING_PULL.saturating_add(Duration::from_secs(5));
/// A lane that refuses pulls (no queue yet, too many waiting) is asked again after this.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The state of all pulls of one runner.
#[derive(Debug, Default)]
pub struct Pulls {
    lanes: BTreeMap<Lane, Asked>,
    /// Lanes in the order in which they are asked next.
    rotation: VecDeque<Lane>,
    /// Where on the circle of all lanes the rotation begins.
    begin: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing is out.
    Not,
    /// "Is there anything now?" is out since then.
    Now(Instant),
    /// A standing pull is out since then.
    Standing(Instant),
    /// It refused; not before then.
    Later(Instant),
}

impl Pulls {
    /// Each runner begins with another lane: if all went the same way, the last lane of a burst would
    /// wait for all runs of the lanes before it.
    pub fn of(runner: &RunnerId) -> Self {
        let mut hasher = DefaultHasher::new();
        runner.as_str().hash(&mut hasher);
        Self {
            begin: hasher.finish(),
            ..Self::default()
        }
    }

    pub fn add(&mut self, lane: Lane) {
        if self.lanes.insert(lane.clone(), Asked::Not).is_none() {
            let turn = self.turn(&lane);
            let at = self
                .rotation
                .iter()
                .position(|other| self.turn(other) > turn);
            self.rotation
                .insert(at.unwrap_or(self.rotation.len()), lane);
        }
    }

    /// How far a lane is from where the rotation begins.
    fn turn(&self, lane: &Lane) -> u64 {
        lane.number().wrapping_sub(self.begin)
    }

    /// The lane is no more; whatever is out to it comes back as a refusal.
    pub fn remove(&mut self, lane: &Lane) {
        self.lanes.remove(lane);
        self.rotation.retain(|other| other != lane);
    }

    /// The link was interrupted: whatever was out is lost.
    pub fn forget(&mut self) {
        self.lanes
            .values_mut()
            .for_each(|asked| *asked = Asked::Not);
    }

    /// Another server keeps the lane's queue: whatever was out to it is lost.
    pub fn moved(&mut self, lane: &Lane) {
        self.set(lane, Asked::Not);
    }

    /// A run arrived from this lane; its pull is used up.
    pub fn delivered(&mut self, lane: &Lane) {
        self.set(lane, Asked::Not);
    }

    /// The lane has nothing, which no question has to find out again: while a slot is free the next
    /// pull stands. `None` without one; then the lane waits for its turn.
    pub fn nothing(&mut self, lane: &Lane, free: usize, now: Instant) -> Option<Pull> {
        let asked = self.lanes.get_mut(lane)?;
        if free == 0 {
            *asked = Asked::Not;
            return None;
        }
        *asked = Asked::Standing(now);
        Some(Pull::Standing)
    }

    pub fn refused(&mut self, lane: &Lane, now: Instant) {
        self.set(lane, Asked::Later(now + REFUSED_PAUSE));
    }

    /// The next lanes to ask, as many as `free` slots have no question out for them.
    pub fn next(&mut self, free: usize, now: Instant) -> Vec<Lane> {
        self.expire(now);
        let out = self
            .lanes
            .values()
            .filter(|asked| matches!(asked, Asked::Now(_)));
        let mut wanted = free.saturating_sub(out.count());
        let mut chosen = Vec::new();
        for _ in 0..self.rotation.len() {
            if wanted == 0 {
                break;
            }
            let Some(lane) = self.rotation.pop_front() else {
                break;
            };
            self.rotation.push_back(lane.clone());
            if self.lanes.get(&lane) == Some(&Asked::Not) {
                self.set(&lane, Asked::Now(now));
                chosen.push(lane);
                wanted -= 1;
            }
        }
        chosen
    }

    /// Whether this lane is to be asked now, by who asks for each lane by itself.
    pub fn ask(&mut self, lane: &Lane, now: Instant) -> bool {
        self.expire(now);
        let idle = self.lanes.get(lane) == Some(&Asked::Not);
        if idle {
            self.set(lane, Asked::Now(now));
        }
        idle
    }

    fn expire(&mut self, now: Instant) {
        for asked in self.lanes.values_mut() {
            let over = match *asked {
                Asked::Not => false,
                Asked::Now(since) => now.duration_since(since) > ANSWER_PATIENCE,
                Asked::Standing(since) => now.duration_since(since) > STANDING_PATIENCE,
                Asked::Later(until) => now >= until,
            };
            if over {
                *asked = Asked::Not;
            }
        }
    }

    fn set(&mut self, lane: &Lane, asked: Asked) {
        if let Some(entry) = self.lanes.get_mut(lane) {
            *entry = asked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(number: u8) -> Lane {
        format!("{number:032x}").parse().unwrap()
    }

    fn three() -> Pulls {
        let mut pulls = Pulls::default();
        (1..=3).for_each(|number| pulls.add(lane(number)));
        pulls
    }

    #[test]
    fn lanes_are_asked_in_rotation_one_per_free_slot() {
        let (mut pulls, now) = (three(), Instant::now());
        assert_eq!(pulls.next(2, now), [lane(1), lane(2)]);
        assert_eq!(pulls.next(2, now), []);
        pulls.delivered(&lane(1));
        assert_eq!(pulls.next(2, now), [lane(3)]);
    }

    /// The order among lanes is everybody's; where it begins is the runner's.
    #[test]
    fn runners_ask_the_lanes_in_one_order_and_begin_with_different_ones() {
        let all = [1_u64, 1 << 61, 1 << 62, 3 << 62];
        let lanes = all.map(|number| format!("{number:032x}").parse::<Lane>().unwrap());
        let mut firsts = std::collections::BTreeSet::new();
        for runner in 0..32 {
            let mut pulls = Pulls::of(&format!("runner-{runner}").parse().unwrap());
            lanes.iter().rev().cloned().for_each(|lane| pulls.add(lane));
            let asked = pulls.next(lanes.len(), Instant::now());
            let first = lanes.iter().position(|lane| *lane == asked[0]).unwrap();
            let mut expected = lanes.to_vec();
            expected.rotate_left(first);
            assert_eq!(asked, expected);
            firsts.insert(first);
        }
        assert_eq!(firsts.len(), lanes.len());
    }

    #[test]
    fn an_empty_lane_gets_a_standing_pull_and_the_next_lane_its_turn() {
        let (mut pulls, now) = (three(), Instant::now());
        assert_eq!(pulls.next(1, now), [lane(1)]);
        assert_eq!(pulls.nothing(&lane(1), 1, now), Some(Pull::Standing));
        assert_eq!(pulls.next(1, now), [lane(2)]);
        assert_eq!(pulls.nothing(&lane(2), 1, now), Some(Pull::Standing));
        assert_eq!(pulls.next(1, now), [lane(3)]);
    }

    #[test]
    fn a_standing_pull_that_ended_is_renewed_while_a_slot_is_free() {
        let (mut pulls, now) = (three(), Instant::now());
        pulls.next(1, now);
        pulls.nothing(&lane(1), 1, now);
        assert_eq!(pulls.nothing(&lane(1), 1, now), Some(Pull::Standing));
        assert_eq!(pulls.nothing(&lane(1), 0, now), None);
        assert_eq!(pulls.next(3, now), [lane(2), lane(3), lane(1)]);
    }

    /// What the broker is asked by a runner whose lanes are empty, on a clock of its own: a standing
    /// pull ends when its time is over, a question at once.
    #[test]
    fn an_idle_runner_asks_each_lane_less_than_once_in_half_a_minute() {
        const LANES: u8 = 200;
        const SECONDS: u32 = 600;
        let (mut pulls, begin) = (Pulls::default(), Instant::now());
        (1..=LANES).for_each(|number| pulls.add(lane(number)));
        let mut standing: BTreeMap<Lane, Instant> = BTreeMap::new();
        let mut requests = 0;
        for second in 0..SECONDS {
            let now = begin + Duration::from_secs(second.into());
            let (over, out): (Vec<_>, Vec<_>) = std::mem::take(&mut standing)
                .into_iter()
                .partition(|(_, ends)| *ends <= now);
            standing.extend(out);
            let mut empty: VecDeque<Lane> = over.into_iter().map(|(lane, _)| lane).collect();
            loop {
                let asked = pulls.next(1, now);
                requests += asked.len();
                empty.extend(asked);
                let Some(lane) = empty.pop_front() else { break };
                if pulls.nothing(&lane, 1, now).is_some() {
                    requests += 1;
                    standing.insert(lane, now + STANDING_PULL);
                }
            }
        }
        let allowed = usize::from(LANES) * SECONDS as usize / 30;
        assert!(
            requests <= allowed,
            "{requests} requests, {allowed} are allowed"
        );
    }

    #[test]
    fn without_a_free_slot_nothing_is_asked() {
        assert_eq!(three().next(0, Instant::now()), []);
    }

    #[test]
    fn a_refusing_lane_rests_and_does_not_hold_up_the_others() {
        let (mut pulls, now) = (three(), Instant::now());
        pulls.next(1, now);
        pulls.refused(&lane(1), now);
        assert_eq!(pulls.next(3, now), [lane(2), lane(3)]);
        assert_eq!(pulls.next(3, now + REFUSED_PAUSE), [lane(1)]);
    }

    #[test]
    fn a_lane_that_is_no_more_is_not_asked() {
        let (mut pulls, now) = (three(), Instant::now());
        pulls.next(3, now);
        pulls.remove(&lane(2));
        pulls.refused(&lane(2), now);
        pulls.forget();
        assert_eq!(pulls.next(3, now), [lane(1), lane(3)]);
    }

    #[test]
    fn a_lane_that_is_asked_by_itself_has_one_pull_out() {
        let (mut pulls, now) = (three(), Instant::now());
        assert!(pulls.ask(&lane(2), now) && !pulls.ask(&lane(2), now));
        assert_eq!(pulls.nothing(&lane(2), 1, now), Some(Pull::Standing));
        assert!(!pulls.ask(&lane(2), now) && !pulls.ask(&lane(9), now));
        pulls.delivered(&lane(2));
        assert!(pulls.ask(&lane(2), now));
    }

    #[test]
    fn a_lost_answer_and_a_lost_link_free_the_lane() {
        let (mut pulls, now) = (three(), Instant::now());
        pulls.next(3, now);
        let later = now + ANSWER_PATIENCE + Duration::from_millis(1);
        assert_eq!(pulls.next(3, later).len(), 3);
        pulls.forget();
        assert_eq!(pulls.next(3, later).len(), 3);
    }
}
