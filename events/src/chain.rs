//! The hash chain that `CATALOG` is: each envelope names the digest of the bytes of the one before it.
//! Says whether a message continues the chain, and if not, in which way. It reads nothing and knows
//! nothing of what the events mean.

use crate::EventId;
use schemas::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How far the chain was followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    sequence: u64,
    head: Option<Digest>,
    /// The head before that one.
    before: Option<Digest>,
}

/// A message that does not continue the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    pub sequence: u64,
    pub fault: Fault,
    /// What the message had to name: the digest of the one before it. None for the first.
    pub expected: Option<Digest>,
    /// What it names, where it names anything.
    pub found: Option<Digest>,
}

/// In which way a message does not continue the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These sequences are not there.
    Missing { first: u64, last: u64 },
    /// It is no envelope.
    Foreign,
    /// It names nothing, as only the first message does.
    Restarted,
    /// The first message names another one before it.
    Headless,
    /// It names the last message but one, as if the last one had not been there.
    Skips,
    /// It names what is not there.
    Differs,
}

/// As much of an envelope as the chain needs; its event may be of a type we do not know.
#[derive(Deserialize)]
struct Link {
    #[serde(rename = "id")]
    _id: EventId,
    #[serde(default)]
    previous: Option<Digest>,
    #[serde(rename = "event")]
    _event: IgnoredAny,
}

impl Chain {
    /// From the message at this sequence on, whose bytes have this digest.
    pub fn at(sequence: u64, head: Option<Digest>) -> Self {
        Self {
            sequence,
            head,
            before: None,
        }
    }

    /// The sequence of the last message.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The digest of the last message's bytes.
    pub fn head(&self) -> Option<Digest> {
        self.head
    }

    /// Takes the next message. It is the one to go on from also where it breaks the chain: whoever
    /// wrote the one after it saw it there.
    pub fn follow(&mut self, sequence: u64, payload: &[u8]) -> Result<(), Break> {
        let previous = previous(payload);
        let fault = self.fault(sequence, previous);
        let expected = self.head;
        self.sequence = sequence;
        self.before = self.head.replace(Digest::of(payload));
        fault.map_or(Ok(()), |fault| {
            Err(Break {
                sequence,
                fault,
                expected,
                found: previous.flatten(),
            })
        })
    }

    fn fault(&self, sequence: u64, previous: Option<Option<Digest>>) -> Option<Fault> {
        let next = self.sequence + 1;
        if sequence > next {
            return Some(Fault::Missing {
                first: next,
                last: sequence - 1,
            });
        }
        let Some(previous) = previous else {
            return Some(Fault::Foreign);
        };
        match (previous, self.head) {
            (found, expected) if found == expected => None,
            (None, _) => Some(Fault::Restarted),
            (Some(_), None) => Some(Fault::Headless),
            (found, _) if found == self.before => Some(Fault::Skips),
            _ => Some(Fault::Differs),
        }
    }
}

/// What an envelope says about the one before it; none where it is no envelope.
pub fn previous(payload: &[u8]) -> Option<Option<Digest>> {
    let link = serde_json::from_slice::<Link>(payload);
    link.ok().map(|link| link.previous)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// An envelope of a type that nobody knows yet.
    fn link(text: &str, previous: Option<&[u8]>) -> Vec<u8> {
        let id = EventId::fresh();
        let event = serde_json::json!({"type": "later", "text": text});
        let mut envelope = serde_json::json!({"id": id, "event": event});
        if let Some(previous) = previous {
            envelope["previous"] = Digest::of(previous).to_string().into();
        }
        envelope.to_string().into_bytes()
    }

    fn fault(chain: &mut Chain, sequence: u64, payload: &[u8]) -> Option<Fault> {
        chain.follow(sequence, payload).err().map(|b| b.fault)
    }

    #[rstest]
    #[case::next(3, 1, None)]
    #[case::after_a_hole(5, 1, Some(Fault::Missing { first: 3, last: 4 }))]
    #[case::past_the_last(3, 0, Some(Fault::Skips))]
    #[case::of_nothing(3, 2, Some(Fault::Restarted))]
    #[case::of_something_else(3, 3, Some(Fault::Differs))]
    fn a_third_message(
        #[case] sequence: u64,
        #[case] names: usize,
        #[case] expected: Option<Fault>,
    ) {
        let first = link("a", None);
        let second = link("b", Some(&first));
        let named = [Some(&first[..]), Some(&second), None, Some(b"x")][names];
        let third = link("c", named);
        let mut chain = Chain::default();
        assert_eq!(fault(&mut chain, 1, &first), None);
        assert_eq!(fault(&mut chain, 2, &second), None);
        assert_eq!(fault(&mut chain, sequence, &third), expected);
        // Whatever it was, the next one goes on from it.
        let fourth = link("d", Some(&third));
        assert_eq!(fault(&mut chain, sequence + 1, &fourth), None);
    }

    #[test]
    fn a_first_message_names_none_and_rubbish_is_no_link() {
        let mut chain = Chain::default();
        let headless = link("a", Some(b"elsewhere"));
        assert_eq!(fault(&mut chain, 1, &headless), Some(Fault::Headless));
        assert_eq!(fault(&mut chain, 2, b"{}"), Some(Fault::Foreign));
        let next = link("b", Some(b"{}"));
        assert_eq!(fault(&mut chain, 3, &next), None);
        assert_eq!(
            chain,
            Chain {
                sequence: 3,
                ..chain.clone()
            }
        );
    }
}
