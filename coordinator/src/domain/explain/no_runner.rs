//! That nobody who is there could ever take a run: a warning where it is requested, a refusal where
//! the client wants that.

use super::{Cause, Explanation, Standing};
use events::{LaneTags, RunnerId};
use schemas::Tag;
use std::fmt;

/// No runner that is online could take the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRunner {
    pub lane_tags: LaneTags,
    /// The online runner that lacks the fewest of them, and what it lacks.
    pub closest: Option<(RunnerId, Vec<Tag>)>,
    /// A sentence for people.
    why: String,
    hint: Option<String>,
}

impl NoRunner {
    /// `None` where a runner will take the run, or may.
    pub fn of(explanation: &Explanation) -> Option<Self> {
        let nobody = matches!(
            explanation.cause,
            Cause::NoRunner
                | Cause::MissingTags
                | Cause::HoldsOnly
                | Cause::OwnTagsOnly
                | Cause::Offline
                | Cause::Draining
        );
        let mut notes = explanation.runners.iter();
        let closest = notes.find(|note| note.online && note.state == Standing::LacksTags);
        nobody.then(|| Self {
            lane_tags: explanation.lane_tags.clone(),
            closest: closest.map(|note| (note.runner_id.clone(), note.missing.clone())),
            why: explanation.summary.clone(),
            hint: explanation.hint.clone(),
        })
    }

    /// What to try.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for NoRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
