//! `OUTPUT`: what a run's script writes, in batches, stdout and stderr told apart.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What arrived within one batching interval of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputBatch {
    /// The runner's clock.
    pub at: Timestamp,
    pub attempt: u32,
    /// Counts from 1 per attempt; a hole means that a batch was lost.
    pub number: u64,
    pub chunks: Vec<OutputChunk>,
}

/// A piece of one of the two streams, in the order in which it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputChunk {
    Text {
        stream: OutputStream,
        text: String,
    },
    /// Bytes that are not UTF-8, in base64.
    Bytes {
        stream: OutputStream,
        base64: String,
    },
    /// This many bytes were written by the script and are not kept.
    Gap {
        stream: OutputStream,
        bytes: u64,
    },
}

/// Which of the script's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputChunk {
    /// Text where the bytes are UTF-8, else base64.
    pub fn of(stream: OutputStream, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text {
                stream,
                text: text.to_owned(),
            },
            Err(_) => Self::Bytes {
                stream,
                base64: STANDARD.encode(bytes),
            },
        }
    }
}
