//! The harness: a real nats-server, the real binaries, temporary folders, and patience.
//!
//! It asserts nothing about the product; the stories under `tests/` do.

pub mod archives;
pub mod clock;
pub mod cluster;
pub mod contract;
pub mod coordinator;
pub mod events;
pub mod eventually;
pub mod hand;
pub mod nats;
pub mod oracle;
pub mod process;
pub mod runner;
pub mod sources;
pub mod steps;
