//! A checkpoint of the log's head: what it holds, and how it is written down.

use events::Timestamp;
use events::subject::Stream;
use schemas::Digest;
use serde::Deserialize;
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

    #[test]
    fn it_reads_back_as_line_and_as_json() {
        let checkpoint = Checkpoint {
            sequence: 5,
            hash: Digest::of(b"bytes"),
            at: Timestamp::UNIX_EPOCH,
        };
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
