//! What is not as it was written, and what that means. A break is judged by its surroundings, for the
//! message that shows it is seldom the one that was touched.

use super::{Keeper, Mark};
use events::catalog::CatalogEvent;
use events::chain::{Break, Fault};
use events::log::Stored;
use events::subject;
use schemars::JsonSchema;
use schemas::Digest;
use serde::Serialize;
use std::fmt;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ChainFinding")]
pub struct Finding {
    pub kind: Wrong,
    /// Where it shows.
    pub sequence: u64,
    /// The first and the last message that is concerned.
    pub from: u64,
    pub to: u64,
    /// The digest that had to be there, and the one that is.
    pub expected: Option<Digest>,
    pub found: Option<Digest>,
    /// For people.
    pub meaning: String,
}

/// In which way it is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// A message has other bytes than when the next one was written.
    Changed,
    /// Messages that were there are not.
    Removed,
    /// A message was put there by something that does not keep the chain.
    Inserted,
    /// A chain begins anew.
    Restarted,
    /// A message stands under a subject that is not its own.
    Misfiled,
    /// The log ends before a checkpoint.
    CutOff,
    /// The log holds together, but is not the one of which a checkpoint was taken.
    Rewritten,
}

/// What the message after a break says about the one that shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It names it as it is.
    Attests,
    /// It names the one before it, as if it had not been there.
    Ignores,
    /// It names something else.
    Denies,
    /// There is none.
    Unknown,
}

/// What a break means.
pub fn judged(broken: &Break, next: Next) -> Finding {
    let at = broken.sequence;
    let before = at.saturating_sub(1);
    let (kind, concerned, meaning) = match (broken.fault, next) {
        (Fault::Missing { first, last }, _) => return removed(first, last, at),
        (Fault::Headless, _) => (
            Wrong::Restarted,
            at,
            "the log begins with a message that was not its first: what stood before it is gone"
                .to_owned(),
        ),
        (_, Next::Ignores) => (
            Wrong::Inserted,
            at,
            format!(
                "the message after {at} was written when {at} was not there: it was put between them"
            ),
        ),
        (Fault::Foreign, Next::Denies) => (
            Wrong::Changed,
            at,
            format!(
                "message {at} is no event of ours, and the one after it was written when something else stood there: it was overwritten"
            ),
        ),
        (Fault::Foreign, _) => (
            Wrong::Inserted,
            at,
            format!(
                "message {at} is no event of ours: something else than a coordinator wrote it. It is skipped"
            ),
        ),
        (Fault::Restarted, _) => (
            Wrong::Restarted,
            at,
            format!(
                "message {at} names none before it, as only the first one does: something that does not know the chain wrote it, or a log was begun anew here. It is skipped"
            ),
        ),
        (Fault::Skips, _) => (
            Wrong::Inserted,
            before,
            format!(
                "message {at} was written when message {before} was not there: that one was put between them"
            ),
        ),
        (Fault::Differs, Next::Denies) => (
            Wrong::Changed,
            at,
            format!(
                "message {at} fits neither the one before it nor the one after it: it is not what was written there"
            ),
        ),
        (Fault::Differs, Next::Attests) => (
            Wrong::Changed,
            before,
            format!(
                "message {at} was written after another message {before} than stands there: its bytes were changed, or what stood between the two was taken out"
            ),
        ),
        (Fault::Differs, Next::Unknown) => (
            Wrong::Changed,
            before,
            format!(
                "message {at}, the last one, names other bytes than message {before} has: one of the two is not what was written there"
            ),
        ),
    };
    Finding {
        kind,
        sequence: at,
        from: concerned,
        to: concerned,
        expected: broken.expected,
        found: broken.found,
        meaning,
    }
}

pub fn removed(from: u64, to: u64, shows_at: u64) -> Finding {
    let which = match from == to {
        true => format!("message {from} is not there: it was"),
        false => format!("messages {from} to {to} are not there: they were"),
    };
    Finding {
        kind: Wrong::Removed,
        sequence: shows_at,
        from,
        to,
        expected: None,
        found: None,
        meaning: format!("{which} removed"),
    }
}

/// A subject is no part of the bytes that the chain covers.
pub fn misfiled(message: &Stored) -> Option<Finding> {
    let event = message.envelope::<CatalogEvent>().ok()?.event;
    let own = subject::catalog(event.kind(), event.name());
    (own != message.subject).then(|| Finding {
        kind: Wrong::Misfiled,
        sequence: message.sequence,
        from: message.sequence,
        to: message.sequence,
        expected: None,
        found: None,
        meaning: format!(
            "message {} is about {own} and stands under {}: it was stored anew under another subject. It is skipped",
            message.sequence, message.subject
        ),
    })
}

pub fn cut_off(mark: &Mark, ends: u64) -> Finding {
    Finding {
        kind: Wrong::CutOff,
        sequence: mark.sequence,
        from: ends + 1,
        to: mark.sequence,
        expected: Some(mark.hash),
        found: None,
        meaning: format!(
            "the log ends with message {ends}, but {} message {}: its end was cut off",
            mark.kept_by, mark.sequence
        ),
    }
}

pub fn rewritten(mark: &Mark, found: Option<Digest>) -> Finding {
    Finding {
        kind: Wrong::Rewritten,
        sequence: mark.sequence,
        from: 1,
        to: mark.sequence,
        expected: Some(mark.hash),
        found,
        meaning: format!(
            "message {0} is not the one that {1}: the log up to there was written anew",
            mark.sequence, mark.kept_by
        ),
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "the checkpoint was taken of",
            Self::Projection => "this coordinator has read",
        })
    }
}
