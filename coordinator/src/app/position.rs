//! How far somebody has read in several streams at once, as one word that they can keep and come
//! back with, to any coordinator. It names each stream's making, so that a number of one stream is
//! not taken for one of another that was made in its place.

use events::log::Bounds;
use events::subject::Stream;
use schemas::Digest;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Hex digits of a stream's making: enough to tell two of one name apart.
const MAKING_CHARS: usize = 8;

/// Everything up to these sequences was read. Written `catalog:12:1a2b3c4d,runs:340:5e6f7a8b`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<Stream, Mark>);

/// How far in one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub sequence: u64,
    making: String,
}

/// Text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no position; one is given with every event, such as catalog:12:1a2b3c4d,runs:340:5e6f7a8b"
)]
pub struct InvalidPosition(String);

impl Mark {
    pub fn new(sequence: u64, bounds: &Bounds) -> Self {
        let making = Digest::of(bounds.created.as_bytes()).hex();
        Self {
            sequence,
            making: making.chars().take(MAKING_CHARS).collect(),
        }
    }

    /// Whether it was taken in this very stream.
    pub fn is_of(&self, bounds: &Bounds) -> bool {
        self.making == Self::new(0, bounds).making
    }
}

impl Position {
    pub fn of(&self, stream: Stream) -> Option<&Mark> {
        self.0.get(&stream)
    }

    pub fn streams(&self) -> impl Iterator<Item = Stream> {
        self.0.keys().copied()
    }

    pub fn set(&mut self, stream: Stream, mark: Mark) {
        self.0.insert(stream, mark);
    }

    /// Goes on to a later sequence of a stream that it names.
    pub fn advance(&mut self, stream: Stream, sequence: u64) {
        if let Some(mark) = self.0.get_mut(&stream) {
            mark.sequence = sequence;
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (stream, mark)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let name = stream.name().to_ascii_lowercase();
            write!(f, "{comma}{name}:{}:{}", mark.sequence, mark.making)?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let invalid = || InvalidPosition(schemas::shown(text));
        let mut marks = BTreeMap::new();
        for part in text.split(',') {
            let (stream, mark) = parse(part).ok_or_else(invalid)?;
            if marks.insert(stream, mark).is_some() {
                return Err(invalid());
            }
        }
        Ok(Self(marks))
    }
}

fn parse(part: &str) -> Option<(Stream, Mark)> {
    let mut words = part.trim().split(':');
    let (stream, sequence, making) = (words.next()?, words.next()?, words.next()?);
    let is_making = making.len() == MAKING_CHARS && making.bytes().all(|b| b.is_ascii_hexdigit());
    let mark = Mark {
        sequence: sequence.parse().ok()?,
        making: making.to_owned(),
    };
    (words.next().is_none() && is_making).then_some((Stream::named(stream)?, mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Timestamp;
    use rstest::rstest;

    fn bounds(created: &str) -> Bounds {
        Bounds {
            created: created.to_owned(),
            first_sequence: 1,
            last_sequence: 9,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_position_reads_back_and_belongs_to_its_stream() {
        let mut position = Position::default();
        position.set(Stream::Runs, Mark::new(340, &bounds("then")));
        position.set(Stream::Catalog, Mark::new(12, &bounds("then")));
        position.advance(Stream::Runs, 341);
        let text = position.to_string();
        assert!(text.starts_with("catalog:12:"), "{text}");
        assert_eq!(text.parse(), Ok(position.clone()));
        let mark = position.of(Stream::Runs).unwrap();
        assert!(mark.is_of(&bounds("then")) && !mark.is_of(&bounds("again")));
    }

    #[rstest]
    #[case("")]
    #[case("12")]
    #[case("catalog:x:1a2b3c4d")]
    #[case("catalog:1:1a2b")]
    #[case("nothing:1:1a2b3c4d")]
    #[case("catalog:1:1a2b3c4d:more")]
    #[case("catalog:1:1a2b3c4d,catalog:2:1a2b3c4d")]
    fn no_positions(#[case] text: &str) {
        assert!(text.parse::<Position>().is_err());
    }
}
