//! A piece of output as clients see it, and the id under which they go on after it.

use crate::app::OutputItem;
use events::Timestamp;
use events::output::{OutputChunk, OutputStream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The id of a chunk, `<sequence>.<n>`: its batch's sequence in `OUTPUT`, and its place in the batch,
/// counting from 1. A sequence alone is the end of that batch. The default is before everything.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Position {
    sequence: u64,
    chunk: u32,
}

/// Text that is no chunk's id.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not the id of a chunk, such as 17.2")]
pub struct InvalidPosition(String);

/// One chunk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Chunk {
    pub id: Position,
    at: Timestamp,
    attempt: u32,
    stream: OutputStream,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// This many bytes are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<u64>,
}

/// The chunks of a batch that come after a position.
pub fn chunks(item: OutputItem, after: Position) -> impl Iterator<Item = Chunk> {
    let OutputItem {
        sequence, batch, ..
    } = item;
    let numbered = batch.chunks.into_iter().zip(1..);
    numbered
        .map(move |(chunk, number)| {
            let id = Position {
                sequence,
                chunk: number,
            };
            Chunk::of(id, batch.at, batch.attempt, chunk)
        })
        .filter(move |chunk| chunk.id > after)
}

impl Position {
    /// The sequence after which the rest begins: the batch may have been seen in part.
    pub fn before(self) -> u64 {
        self.sequence.saturating_sub(1)
    }
}

impl Chunk {
    fn of(id: Position, at: Timestamp, attempt: u32, chunk: OutputChunk) -> Self {
        let (stream, text, base64, gap) = match chunk {
            OutputChunk::Text { stream, text } => (stream, Some(text), None, None),
            OutputChunk::Bytes { stream, base64 } => (stream, None, Some(base64), None),
            OutputChunk::Gap { stream, bytes } => (stream, None, None, Some(bytes)),
        };
        Self {
            id,
            at,
            attempt,
            stream,
            text,
            base64,
            gap,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.chunk)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let parsed = match text.split_once('.') {
            Some((sequence, chunk)) => sequence.parse().ok().zip(chunk.parse().ok()),
            None => text.parse().ok().zip(Some(u32::MAX)),
        };
        let (sequence, chunk) = parsed.ok_or_else(|| InvalidPosition(schemas::shown(text)))?;
        Ok(Self { sequence, chunk })
    }
}

impl TryFrom<String> for Position {
    type Error = InvalidPosition;
    fn try_from(text: String) -> Result<Self, InvalidPosition> {
        text.parse()
    }
}

impl From<Position> for String {
    fn from(position: Position) -> String {
        position.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::output::OutputBatch;
    use rstest::rstest;

    #[rstest]
    #[case("", &["7.1", "7.2"])]
    #[case("6.9", &["7.1", "7.2"])]
    #[case("7.1", &["7.2"])]
    #[case("7.2", &[])]
    #[case("7", &[])]
    fn goes_on_after_what_was_seen(#[case] after: &str, #[case] left: &[&str]) {
        let text = |text: &str| OutputChunk::Text {
            stream: OutputStream::Stdout,
            text: text.to_owned(),
        };
        let batch = OutputBatch {
            at: Timestamp::UNIX_EPOCH,
            attempt: 1,
            number: 1,
            chunks: vec![text("a"), text("b")],
        };
        let runner_id = "r".parse().unwrap();
        let item = OutputItem {
            sequence: 7,
            runner_id,
            batch,
        };
        let after = after.parse().unwrap_or_default();
        let ids: Vec<String> = chunks(item, after)
            .map(|chunk| chunk.id.to_string())
            .collect();
        assert_eq!(ids, left);
    }

    #[rstest]
    #[case("x")]
    #[case("1.x")]
    #[case("1.2.3")]
    #[case("-1")]
    fn no_ids(#[case] text: &str) {
        assert!(text.parse::<Position>().is_err());
    }
}
