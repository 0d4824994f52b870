//! The runners as far as one run goes: whether each could take it, and if not, why.

use events::{LaneTags, RunId, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::Tag;
use serde::Serialize;
use std::collections::BTreeSet;

/// A runner, whether it serves the lane or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub runner_id: RunnerId,
    pub hostname: String,
    pub offers: BTreeSet<Tag>,
    /// Where not empty, only lanes that demand one of these are for it.
    pub one_of: BTreeSet<Tag>,
    /// How many runs it executes at once; 0 where it holds scripts only.
    pub slots: u32,
    /// The runs that the log says it holds.
    pub holds: BTreeSet<RunId>,
    pub contact: Contact,
}

/// Whether a runner is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    Online,
    /// Online, and takes no new runs.
    Draining {
        since: Timestamp,
    },
    /// Nobody listened long enough to say.
    Unheard,
    /// Last heard then; `None` where that was before anybody listened.
    Silent {
        since: Option<Timestamp>,
    },
    /// It stopped in order.
    Left {
        at: Timestamp,
    },
}

/// A runner as it stands to the run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunnerNote {
    pub runner_id: RunnerId,
    pub hostname: String,
    pub state: Standing,
    pub online: bool,
    /// The demanded tags that it does not offer.
    pub missing: Vec<Tag>,
    pub running: usize,
    pub slots: u32,
    /// Since when it is in this state, where that is known.
    pub since: Option<Timestamp>,
}

/// What a runner is to a run; the first is the most to hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has the run.
    Holds,
    /// It serves the lane and has a free slot.
    Free,
    Busy,
    Draining,
    /// It serves the lane; whether it is there is not known yet.
    Unheard,
    Offline,
    Left,
    /// It offers all tags, and executes nothing.
    HoldsOnly,
    /// It offers all tags, and takes only lanes that demand one of its own.
    OwnTagsOnly,
    LacksTags,
}

impl Candidate {
    /// Whether runs of the lane are for it, as long as it is there and not drained.
    pub fn executes(&self, tags: &LaneTags) -> bool {
        self.unfit(tags).is_none()
    }

    /// Why runs of the lane are not for it, whether it is there or not.
    pub fn unfit(&self, tags: &LaneTags) -> Option<Standing> {
        let lacks = tags.missing_from(&self.offers).next().is_some();
        match tags.is_served_by(&self.offers, &self.one_of) {
            true => (self.slots == 0).then_some(Standing::HoldsOnly),
            false if lacks => Some(Standing::LacksTags),
            false => Some(Standing::OwnTagsOnly),
        }
    }

    /// Heard lately, or possibly there.
    pub fn may_be_there(&self) -> bool {
        !matches!(self.contact, Contact::Silent { .. } | Contact::Left { .. })
    }

    pub fn note(&self, tags: &LaneTags, run: &RunId) -> RunnerNote {
        let (state, since) = self.standing(tags, run);
        RunnerNote {
            runner_id: self.runner_id.clone(),
            hostname: self.hostname.clone(),
            state,
            online: matches!(self.contact, Contact::Online | Contact::Draining { .. }),
            missing: tags.missing_from(&self.offers).cloned().collect(),
            running: self.holds.len(),
            slots: self.slots,
            since,
        }
    }

    fn standing(&self, tags: &LaneTags, run: &RunId) -> (Standing, Option<Timestamp>) {
        let full = self.holds.len() >= self.slots as usize;
        let unfit = self.unfit(tags);
        // Who is gone and would take runs is offline first of all.
        let counts = self.may_be_there() || unfit.is_some();
        match (unfit, self.contact) {
            _ if counts && self.holds.contains(run) => (Standing::Holds, None),
            (Some(unfit), _) => (unfit, None),
            (None, contact) => match contact {
                Contact::Silent { since } => (Standing::Offline, since),
                Contact::Left { at } => (Standing::Left, Some(at)),
                Contact::Draining { since } => (Standing::Draining, Some(since)),
                Contact::Unheard => (Standing::Unheard, None),
                Contact::Online if full => (Standing::Busy, None),
                Contact::Online => (Standing::Free, None),
            },
        }
    }
}
