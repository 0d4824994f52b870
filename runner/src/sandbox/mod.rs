//! What scripts may reach on this host, by Landlock: everything else is as if they were another user.
//!
//! `rules` says which paths, as plain values; `enforce` has the kernel hold a process to them. Landlock only
//! ever allows: what lies below an allowed folder cannot be taken out again. Not here: networks, and what a
//! script may use up (`launcher::ResourceLimits`).

mod enforce;
mod rules;

pub use enforce::{SandboxError, attempt, rule_set};
pub use rules::{Access, Places, Plan, Rule, around};
