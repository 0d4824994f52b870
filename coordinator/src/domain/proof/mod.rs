//! Whether `CATALOG` is what was written: its hash chain message by message, and what is known about
//! its head from elsewhere. Reading the messages is `app`'s.

mod checkpoint;
mod finding;

pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use finding::{Finding, Wrong};

use events::chain::{self, Break, Chain};
use events::log::Stored;
use finding::{Next, cut_off, judged, misfiled, removed, rewritten};
use schemas::Digest;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::script_created;
    use crate::testing::envelope;
    use events::Timestamp;
    use events::subject;
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
}
