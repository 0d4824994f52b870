//! Whether `CATALOG` is what was written: its hash chain message by message, and what is known about
//! its head from elsewhere. A break is judged by its surroundings, for the message that shows it is
//! seldom the one that was touched. Reading the messages is `app`'s.

use events::Timestamp;
use events::catalog::CatalogEvent;
use events::chain::{self, Break, Chain, Fault};
use events::log::Stored;
use events::subject::{self, Stream};
use schemas::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The last message as it was at some time: kept elsewhere, it shows later whether the log still says
/// what it said then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub sequence: u64,
    /// Of the message's bytes.
    pub hash: Digest,
    /// The broker's time.
    pub at: Timestamp,
}

/// Text that is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "A checkpoint is a line as `coordinator audit checkpoint` prints it ({} 42 sha256:… 2026-11-20T09:00:00Z), or its JSON, not {}",
    Stream::Catalog.name(),
    .0
)]
pub struct InvalidCheckpoint(String);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Messages that were read.
    pub events: u64,
    /// The last one of them.
    pub head: Option<Checkpoint>,
    /// How many of them do not continue the chain.
    pub breaks: u64,
    /// The first break, then what does not fit the checkpoints. None: all is as it was written.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

/// What is known of the log from elsewhere.
#[derive(Clone, Debug)]
pub struct Mark {
    pub sequence: u64,
    pub hash: Digest,
    pub kept_by: Keeper,
}

/// Who kept a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Whoever asks.
    Caller,
    /// This coordinator, when it applied the message.
    Projection,
}

/// A walk along the chain.
pub struct Walk {
    chain: Chain,
    head: Option<Checkpoint>,
    events: u64,
    breaks: u64,
    /// The first break, until the message after it says more.
    open: Option<Break>,
    first: Option<Finding>,
    marks: Vec<Mark>,
    unfit: Vec<Finding>,
}

impl Walk {
    pub fn new(marks: Vec<Mark>) -> Self {
        Self {
            chain: Chain::default(),
            head: None,
            events: 0,
            breaks: 0,
            open: None,
            first: None,
            marks,
            unfit: Vec::new(),
        }
    }

    /// The next message, in the order of the log.
    pub fn take(&mut self, message: &Stored) {
        if let Some(open) = self.open.take() {
            let follows = message.sequence == open.sequence + 1;
            let named = chain::previous(&message.payload).flatten();
            let next = match follows {
                false => Next::Unknown,
                true if named == self.chain.head() => Next::Attests,
                true if named == open.expected => Next::Ignores,
                true => Next::Denies,
            };
            self.first = Some(judged(&open, next));
        }
        let followed = self.chain.follow(message.sequence, &message.payload);
        self.events += 1;
        if let Err(broken) = followed {
            self.breaks += 1;
            if self.first.is_none() {
                self.open = Some(broken);
            }
        } else if let Some(finding) = misfiled(message) {
            self.breaks += 1;
            self.first.get_or_insert(finding);
        }
        self.compare(message);
    }

    fn compare(&mut self, message: &Stored) {
        let Some(hash) = self.chain.head() else {
            return;
        };
        self.head = Some(Checkpoint {
            sequence: message.sequence,
            hash,
            at: message.at,
        });
        let (passed, ahead): (Vec<_>, Vec<_>) = std::mem::take(&mut self.marks)
            .into_iter()
            .partition(|mark| mark.sequence <= message.sequence);
        self.marks = ahead;
        for mark in passed {
            let found = (mark.sequence == message.sequence).then_some(hash);
            if found != Some(mark.hash) {
                self.unfit.push(rewritten(&mark, found));
            }
        }
    }

    /// What was found, where the log is known to go to this sequence.
    pub fn finish(mut self, last_sequence: u64) -> Verified {
        if let Some(open) = self.open.take() {
            self.first = Some(judged(&open, Next::Unknown));
        }
        if self.chain.sequence() < last_sequence {
            self.breaks += 1;
            let gone = removed(self.chain.sequence() + 1, last_sequence, last_sequence);
            self.first.get_or_insert(gone);
        }
        let ends = self.chain.sequence().max(last_sequence);
        let cut = self.marks.iter().map(|mark| match mark.sequence > ends {
            true => cut_off(mark, ends),
            false => rewritten(mark, None),
        });
        Verified {
            events: self.events,
            head: self.head,
            breaks: self.breaks,
            findings: self
                .first
                .into_iter()
                .chain(self.unfit)
                .chain(cut)
                .collect(),
        }
    }
}

/// What the message after a break says about the one that shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
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
fn judged(broken: &Break, next: Next) -> Finding {
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

fn removed(from: u64, to: u64, shows_at: u64) -> Finding {
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
fn misfiled(message: &Stored) -> Option<Finding> {
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

fn cut_off(mark: &Mark, ends: u64) -> Finding {
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

fn rewritten(mark: &Mark, found: Option<Digest>) -> Finding {
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

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, hash, at } = self;
        write!(f, "{} {sequence} {hash} {at}", Stream::Catalog.name())
    }
}

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        let text = text.trim();
        let parsed = match text.starts_with('{') {
            true => of_json(text),
            false => of_line(text),
        };
        parsed.ok_or_else(|| InvalidCheckpoint(schemas::shown(text)))
    }
}

fn of_line(line: &str) -> Option<Checkpoint> {
    let mut words = line.split_whitespace();
    let checkpoint = (words.next()? == Stream::Catalog.name())
        .then_some(())
        .and_then(|()| {
            Some(Checkpoint {
                sequence: words.next()?.parse().ok()?,
                hash: words.next()?.parse().ok()?,
                at: words.next()?.parse().ok()?,
            })
        });
    checkpoint.filter(|_| words.next().is_none())
}

fn of_json(text: &str) -> Option<Checkpoint> {
    #[derive(Deserialize)]
    struct Written {
        stream: String,
        sequence: u64,
        hash: Digest,
        at: Timestamp,
    }
    let written: Written = serde_json::from_str(text).ok()?;
    (written.stream == Stream::Catalog.name()).then_some(Checkpoint {
        sequence: written.sequence,
        hash: written.hash,
        at: written.at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::script_created;
    use crate::testing::envelope;
    use rstest::rstest;

    fn message(sequence: u64, name: &str, previous: Option<&Stored>) -> Stored {
        let mut envelope = envelope(Timestamp::UNIX_EPOCH, script_created(name, "1"));
        envelope.previous = previous.map(|before| Digest::of(&before.payload));
        Stored {
            subject: subject::catalog(envelope.event.kind(), envelope.event.name()),
            sequence,
            at: Timestamp::UNIX_EPOCH,
            payload: envelope.to_bytes(),
            follows: None,
        }
    }

    /// Five messages that are as they were written.
    fn log() -> Vec<Stored> {
        let mut log: Vec<Stored> = Vec::new();
        for (sequence, name) in (1..).zip(["a", "b", "c", "d", "e"]) {
            log.push(message(sequence, name, log.last()));
        }
        log
    }

    fn walked(log: &[Stored], last: u64, marks: Vec<Mark>) -> Verified {
        let mut walk = Walk::new(marks);
        log.iter().for_each(|message| walk.take(message));
        walk.finish(last)
    }

    type Log = Vec<Stored>;
    type Tamper = fn(&mut Log);

    fn renumbered(log: &mut [Stored]) {
        for (sequence, message) in (1..).zip(log) {
            message.sequence = sequence;
        }
    }

    #[rstest]
    #[case::nothing(|_: &mut Log| {}, None)]
    #[case::a_message_is_changed(|log: &mut Log| log[2] = message(3, "x", log.get(1)), Some((Wrong::Changed, 4, 3)))]
    #[case::and_says_so_of_what_is_before(
        |log: &mut Log| log[2] = message(3, "x", log.get(3)), Some((Wrong::Changed, 3, 3))
    )]
    #[case::a_message_is_removed(|log: &mut Log| drop(log.remove(2)), Some((Wrong::Removed, 4, 3)))]
    #[case::the_first_is_removed(|log: &mut Log| drop(log.remove(0)), Some((Wrong::Removed, 2, 1)))]
    #[case::and_the_rest_moved_up(
        |log: &mut Log| { log.remove(0); renumbered(log); }, Some((Wrong::Restarted, 1, 1))
    )]
    #[case::the_last_is_removed(|log: &mut Log| drop(log.pop()), Some((Wrong::Removed, 5, 5)))]
    #[case::one_is_put_between(
        |log: &mut Log| { let x = message(3, "x", log.get(1)); log.insert(2, x); renumbered(log); },
        Some((Wrong::Inserted, 4, 3))
    )]
    #[case::rubbish_is_put_between(
        |log: &mut Log| {
            let rubbish = Stored {
                payload: "{}".into(),
                ..log[2].clone()
            };
            log.insert(2, rubbish);
            renumbered(log);
        },
        Some((Wrong::Inserted, 3, 3))
    )]
    #[case::rubbish_is_put_in_its_place(
        |log: &mut Log| log[2].payload = "{}".into(),
        Some((Wrong::Changed, 3, 3))
    )]
    #[case::rubbish_is_appended(
        |log: &mut Log| log.push(Stored { payload: "{}".into(), sequence: 6, ..log[4].clone() }),
        Some((Wrong::Inserted, 6, 6))
    )]
    #[case::an_event_without_a_past_is_appended(
        |log: &mut Log| log.push(message(6, "x", None)), Some((Wrong::Restarted, 6, 6))
    )]
    #[case::a_subject_is_another(
        |log: &mut Log| log[1].subject = "catalog.script.z".to_owned(), Some((Wrong::Misfiled, 2, 2))
    )]
    fn a_break_says_what_was_done(
        #[case] tamper: Tamper,
        #[case] expected: Option<(Wrong, u64, u64)>,
    ) {
        let mut log = log();
        tamper(&mut log);
        let last = log.last().unwrap().sequence.max(5);
        let verified = walked(&log, last, Vec::new());
        let found = verified.findings.first();
        let found = found.map(|finding| (finding.kind, finding.sequence, finding.from));
        assert_eq!(found, expected, "{verified:?}");
    }

    #[rstest]
    #[case::it_holds(|_: &mut Log| {}, None)]
    #[case::it_goes_on(|log: &mut Log| { let f = message(6, "f", log.last()); log.push(f) }, None)]
    #[case::its_end_is_cut_off(|log: &mut Log| log.truncate(3), Some(Wrong::CutOff))]
    #[case::it_is_empty(|log: &mut Log| log.clear(), Some(Wrong::CutOff))]
    #[case::it_is_written_anew(
        |log: &mut Log| {
            log.truncate(3);
            for (sequence, name) in (4..).zip(["x", "y", "z"]) {
                let next = message(sequence, name, log.last());
                log.push(next);
            }
        },
        Some(Wrong::Rewritten)
    )]
    fn a_checkpoint_finds_what_the_chain_cannot(
        #[case] tamper: Tamper,
        #[case] expected: Option<Wrong>,
    ) {
        let mut log = log();
        let mark = Mark {
            sequence: 5,
            hash: Digest::of(&log[4].payload),
            kept_by: Keeper::Caller,
        };
        tamper(&mut log);
        let last = log.last().map_or(0, |message| message.sequence);
        let verified = walked(&log, last, vec![mark]);
        assert_eq!(verified.breaks, 0);
        let kinds: Vec<Wrong> = verified.findings.iter().map(|f| f.kind).collect();
        assert_eq!(kinds, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_checkpoint_reads_back_as_line_and_as_json() {
        let checkpoint = walked(&log(), 5, Vec::new()).head.unwrap();
        assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint.clone()));
        let Checkpoint { sequence, hash, at } = &checkpoint;
        let json = format!(
            r#"{{"stream": "CATALOG", "sequence": {sequence}, "hash": "{hash}", "at": "{at}", "line": ""}}"#
        );
        assert_eq!(json.parse(), Ok(checkpoint));
        for text in ["", "RUNS 1 x y", "{}", "CATALOG 5 sha256:0 now"] {
            let refused = text.parse::<Checkpoint>().unwrap_err().to_string();
            assert!(refused.contains("audit checkpoint"), "{refused}");
        }
    }
}
