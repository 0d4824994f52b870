//! The runner as a library, so that its tests reach what the binary is made of.
//!
//! Arrows point down: `supervisor` → `work` → `apply`, `station` → `agents`, `shelf`, `launcher`,
//! `execute`;
//! `lanes` and `plan` are pure; how a lane's runs are claimed is `events::claim`.

pub mod agents;
pub mod apply;
pub mod config;
pub mod confine;
pub mod disk;
pub mod execute;
pub mod floor;
pub mod join;
pub mod key;
pub mod lanes;
pub mod launcher;
pub mod offer;
pub mod plan;
pub mod private;
pub mod sandbox;
pub mod settings;
pub mod shelf;
pub mod spool;
pub mod station;
pub mod supervisor;
pub mod verify;
pub mod work;
