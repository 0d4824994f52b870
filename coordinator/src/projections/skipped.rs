//! The last messages that were skipped, for people who want to know which. In memory: they are found
//! again when the log is read again.

use super::quarantine::Quarantine;
use events::log::Stored;
use events::subject::Stream;
use std::collections::VecDeque;

/// Enough to see what is going on.
const KEPT: usize = 20;

/// A message that cannot be what it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub stream: Stream,
    pub sequence: u64,
    pub subject: String,
    pub reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Last(VecDeque<Skipped>);

impl Last {
    pub fn push(&mut self, stream: Stream, message: &Stored, reason: &Quarantine) {
        self.0.push_back(Skipped {
            stream,
            sequence: message.sequence,
            subject: message.subject.clone(),
            reason: reason.to_string(),
        });
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    pub fn all(&self) -> Vec<Skipped> {
        self.0.iter().cloned().collect()
    }
}
