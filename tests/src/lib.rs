//! The harness: a real nats-server, the real binaries, temporary folders, and patience.
//!
//! It asserts nothing about the product; the stories under `tests/` do.

// A broken harness should stop its story at once and say where.
#![allow(clippy::unwrap_used)]

pub mod eventually;
pub mod nats;
pub mod process;
