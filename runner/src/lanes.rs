//! Which lanes are mine, and what they want on this host. Pure: messages in, wishes out.

use events::distribution::LaneEvent;
use events::log::jetstream::LaneMessage;
use events::subject::LaneSubject;
use events::{Lane, LaneTags};
use schemas::{Digest, Name, Tag};
use std::collections::{BTreeMap, BTreeSet};

/// The lanes a runner serves, each with what it holds.
#[derive(Debug, Default)]
pub struct Lanes {
    offered: BTreeSet<Tag>,
    /// Where not empty, a lane of mine demands one of these.
    one_of: BTreeSet<Tag>,
    mine: BTreeMap<Lane, Holding>,
}

/// One of my lanes.
#[derive(Debug, Default)]
struct Holding {
    scripts: BTreeMap<Name, Wish>,
    /// The newest message of the lane that was taken in.
    sequence: u64,
    /// The message with its tags; a later one means that the lane was retired and made again.
    opened: u64,
}

/// A script that a lane wants, or wants no more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    /// Version and digest.
    script: Option<(u32, Digest)>,
    catalog_sequence: u64,
}

/// What is to be done after a message of `LANES`.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// A lane that is mine and that nobody reads yet.
    Opened(Lane),
    /// What this host should hold may be another now.
    Wishes,
    /// Something of the lane was missed: read it again.
    Gap(Lane),
    /// A lane that was mine is no more.
    Closed(Lane),
}

/// The scripts this host should hold.
pub type Wanted = BTreeMap<Name, Want>;

/// The version of a script that is wanted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub version: u32,
    pub digest: Digest,
    /// The `CATALOG` sequence that says so.
    pub catalog_sequence: u64,
}

impl Lanes {
    pub fn new(offered: BTreeSet<Tag>, one_of: BTreeSet<Tag>) -> Self {
        Self {
            offered,
            one_of,
            mine: BTreeMap::new(),
        }
    }

    pub fn mine(&self) -> impl Iterator<Item = &Lane> {
        self.mine.keys()
    }

    /// Takes in what was followed live.
    pub fn follow(&mut self, message: &LaneMessage) -> Change {
        match (&message.subject, &message.event) {
            (LaneSubject::Tags(lane), LaneEvent::Tags { tags }) => {
                self.tags(lane, tags, message.sequence)
            }
            (LaneSubject::Tags(lane), LaneEvent::Retired) => self.retired(lane, message.sequence),
            (LaneSubject::Script(lane, name), event) => {
                let Some(holding) = self.mine.get_mut(lane) else {
                    return Change::Nothing;
                };
                let gap = message.follows.is_some_and(|last| last > holding.sequence);
                if gap {
                    return Change::Gap(lane.clone());
                }
                holding.take(name, event, message.sequence);
                Change::Wishes
            }
            (LaneSubject::Tags(_), _) => Change::Nothing,
        }
    }

    /// The lanes of mine that are not among the tags of all lanes, read when `LANES` went up to
    /// `horizon`: their end was missed, and they are mine no more.
    pub fn close_missing(&mut self, read: &[LaneMessage], horizon: u64) -> Vec<Lane> {
        let there: BTreeSet<&Lane> = read.iter().map(|message| message.subject.lane()).collect();
        let missing = self.mine.iter().filter(|(lane, holding)| {
            // What came to be after the read cannot be in it.
            holding.opened <= horizon && !there.contains(lane)
        });
        let missing: Vec<Lane> = missing.map(|(lane, _)| lane.clone()).collect();
        for lane in &missing {
            self.mine.remove(lane);
        }
        missing
    }

    /// Takes in a lane that was read as a whole.
    pub fn read(&mut self, lane: &Lane, messages: &[LaneMessage]) {
        let Some(holding) = self.mine.get_mut(lane) else {
            return;
        };
        for message in messages {
            match &message.subject {
                LaneSubject::Script(_, name) => {
                    holding.take(name, &message.event, message.sequence);
                }
                LaneSubject::Tags(_) => holding.sequence = holding.sequence.max(message.sequence),
            }
        }
    }

    /// The scripts of all my lanes. Where two disagree for a moment, the newer decision holds.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::new();
        for (name, wish) in self.mine.values().flat_map(|holding| &holding.scripts) {
            let Some((version, digest)) = wish.script else {
                continue;
            };
            let newest = wanted.get(name).map_or(0, |want| want.catalog_sequence);
            if wish.catalog_sequence >= newest {
                let want = Want {
                    version,
                    digest,
                    catalog_sequence: wish.catalog_sequence,
                };
                wanted.insert(name.clone(), want);
            }
        }
        wanted
    }

    fn tags(&mut self, lane: &Lane, tags: &LaneTags, sequence: u64) -> Change {
        let genuine = tags.lane() == *lane;
        if !genuine || !tags.is_served_by(&self.offered, &self.one_of) {
            return Change::Nothing;
        }
        let known = self.mine.get(lane).map(|holding| holding.opened);
        if known.is_some_and(|opened| opened >= sequence) {
            return Change::Nothing;
        }
        let begun = Holding {
            opened: sequence,
            ..Holding::default()
        };
        self.mine.insert(lane.clone(), begun);
        match known {
            None => Change::Opened(lane.clone()),
            Some(_) => Change::Gap(lane.clone()),
        }
    }

    fn retired(&mut self, lane: &Lane, sequence: u64) -> Change {
        let opened = self.mine.get(lane).map(|holding| holding.opened);
        if opened.is_none_or(|opened| opened > sequence) {
            return Change::Nothing;
        }
        self.mine.remove(lane);
        Change::Closed(lane.clone())
    }
}

impl Holding {
    fn take(&mut self, name: &Name, event: &LaneEvent, sequence: u64) {
        let (script, catalog_sequence) = match event {
            LaneEvent::Sync {
                version,
                digest,
                catalog_sequence,
                ..
            } => (Some((*version, *digest)), *catalog_sequence),
            LaneEvent::Remove {
                catalog_sequence, ..
            } => (None, *catalog_sequence),
            LaneEvent::Tags { .. } | LaneEvent::Retired => return,
        };
        // A page that was read before the lane was retired and made again: nothing of it holds.
        if sequence < self.opened {
            return;
        }
        self.sequence = self.sequence.max(sequence);
        let known = self
            .scripts
            .get(name)
            .map_or(0, |wish| wish.catalog_sequence);
        if catalog_sequence >= known {
            let wish = Wish {
                script,
                catalog_sequence,
            };
            self.scripts.insert(name.clone(), wish);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(texts: &[&str]) -> LaneTags {
        texts
            .iter()
            .map(|text| text.parse::<Tag>().unwrap())
            .collect()
    }

    fn opened(lanes: &mut Lanes, texts: &[&str], sequence: u64) -> Change {
        let tags = tags(texts);
        lanes.follow(&LaneMessage {
            subject: LaneSubject::Tags(tags.lane()),
            sequence,
            follows: Some(0),
            event: LaneEvent::Tags { tags },
        })
    }

    fn sync(lane: &Lane, sequence: u64, follows: u64, content: &str) -> LaneMessage {
        let script: Name = "deploy".parse().unwrap();
        LaneMessage {
            subject: LaneSubject::Script(lane.clone(), script.clone()),
            sequence,
            follows: Some(follows),
            event: LaneEvent::Sync {
                script,
                version: 1,
                digest: Digest::of(content.as_bytes()),
                size: 1,
                catalog_sequence: sequence,
            },
        }
    }

    fn runner() -> Lanes {
        let offered = ["uv", "bash"].iter().map(|t| t.parse().unwrap());
        Lanes::new(offered.collect(), BTreeSet::new())
    }

    #[test]
    fn only_lanes_whose_tags_are_offered_are_mine() {
        let mut lanes = runner();
        assert_eq!(opened(&mut lanes, &["gpu"], 1), Change::Nothing);
        let mine = tags(&["bash"]).lane();
        assert_eq!(opened(&mut lanes, &["bash"], 2), Change::Opened(mine));
        assert_eq!(opened(&mut lanes, &["bash"], 2), Change::Nothing);
    }

    #[test]
    fn of_those_only_the_ones_that_demand_what_this_runner_is_kept_for() {
        let one_of = ["uv".parse().unwrap()].into();
        let mut lanes = Lanes::new(runner().offered, one_of);
        assert_eq!(opened(&mut lanes, &["bash"], 1), Change::Nothing);
        let mine = tags(&["bash", "uv"]).lane();
        assert_eq!(opened(&mut lanes, &["bash", "uv"], 2), Change::Opened(mine));
    }

    #[test]
    fn a_lane_whose_tags_are_not_behind_its_id_is_refused() {
        let mut lanes = runner();
        let forged = LaneMessage {
            subject: LaneSubject::Tags(tags(&["gpu"]).lane()),
            sequence: 1,
            follows: None,
            event: LaneEvent::Tags {
                tags: tags(&["bash"]),
            },
        };
        assert_eq!(lanes.follow(&forged), Change::Nothing);
    }

    #[test]
    fn a_missed_message_shows_as_a_gap() {
        let mut lanes = runner();
        let lane = tags(&["bash"]).lane();
        opened(&mut lanes, &["bash"], 1);
        lanes.read(&lane, &[]);
        assert_eq!(lanes.follow(&sync(&lane, 2, 0, "one")), Change::Wishes);
        let after_a_lost_one = sync(&lane, 9, 7, "three");
        assert_eq!(lanes.follow(&after_a_lost_one), Change::Gap(lane.clone()));
        lanes.read(&lane, &[after_a_lost_one]);
        let name: Name = "deploy".parse().unwrap();
        assert_eq!(lanes.wanted()[&name].digest, Digest::of(b"three"));
    }

    fn retired(lane: &Lane, sequence: u64) -> LaneMessage {
        LaneMessage {
            subject: LaneSubject::Tags(lane.clone()),
            sequence,
            follows: Some(sequence - 1),
            event: LaneEvent::Retired,
        }
    }

    #[test]
    fn a_lane_comes_back_empty_after_it_was_retired() {
        let mut lanes = runner();
        let lane = tags(&["bash"]).lane();
        opened(&mut lanes, &["bash"], 1);
        lanes.read(&lane, &[sync(&lane, 2, 1, "old")]);
        assert_eq!(
            lanes.follow(&retired(&lane, 3)),
            Change::Closed(lane.clone())
        );
        assert!(lanes.wanted().is_empty());
        assert_eq!(lanes.follow(&retired(&lane, 3)), Change::Nothing);
        assert_eq!(
            opened(&mut lanes, &["bash"], 4),
            Change::Opened(lane.clone())
        );
        assert_eq!(lanes.follow(&retired(&lane, 3)), Change::Nothing, "late");
        assert!(lanes.wanted().is_empty());
    }

    #[test]
    fn a_lane_that_was_made_again_unseen_is_read_anew() {
        let mut lanes = runner();
        let lane = tags(&["bash"]).lane();
        opened(&mut lanes, &["bash"], 1);
        lanes.read(&lane, &[sync(&lane, 2, 1, "old")]);
        assert_eq!(opened(&mut lanes, &["bash"], 9), Change::Gap(lane));
        assert!(lanes.wanted().is_empty());
    }

    #[test]
    fn a_page_from_before_a_lane_was_made_again_brings_nothing_back() {
        let mut lanes = runner();
        let lane = tags(&["bash"]).lane();
        opened(&mut lanes, &["bash"], 1);
        lanes.follow(&retired(&lane, 3));
        opened(&mut lanes, &["bash"], 4);
        lanes.read(&lane, &[sync(&lane, 2, 1, "old")]);
        assert!(lanes.wanted().is_empty());
        lanes.read(&lane, &[sync(&lane, 5, 4, "new")]);
        assert_eq!(lanes.wanted().len(), 1);
    }

    #[test]
    fn a_lane_that_is_nowhere_to_be_read_is_mine_no_more() {
        let mut lanes = runner();
        let (old, new) = (tags(&["bash"]).lane(), tags(&["uv"]).lane());
        opened(&mut lanes, &["bash"], 1);
        opened(&mut lanes, &["uv"], 7);
        assert_eq!(lanes.close_missing(&[], 6), [old]);
        assert!(lanes.mine().eq([&new]), "it came to be after the read");
    }

    #[test]
    fn an_older_decision_never_replaces_a_newer_one() {
        let mut lanes = runner();
        let lane = tags(&["bash"]).lane();
        opened(&mut lanes, &["bash"], 1);
        lanes.read(&lane, &[sync(&lane, 5, 0, "new"), sync(&lane, 3, 0, "old")]);
        let name: Name = "deploy".parse().unwrap();
        let want = lanes.wanted()[&name];
        assert_eq!(
            (want.digest, want.catalog_sequence),
            (Digest::of(b"new"), 5)
        );
    }
}
