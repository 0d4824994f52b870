//! The coordinator: scripts, agents and runs in one place.

pub mod broker;
