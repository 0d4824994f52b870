//! The vocabulary on the broker, and the log that carries it.
//!
//! Everything the coordinator and the runners tell each other is a type of this crate: ids and
//! lanes, the envelope, one event enum per stream, the folds that turn events into state, and
//! every subject, stream and consumer name. `log` is the only place that talks to the broker.
//!
//! `claim` has the rules by which a run that waits becomes somebody's, because runners and
//! coordinators follow the same ones. Beyond that it decides nothing: commands and their rules live
//! in the coordinator, plans in the runner.

pub mod actor;
pub mod cadence;
pub mod catalog;
pub mod chain;
pub mod claim;
pub mod control;
pub mod distribution;
pub mod envelope;
pub mod history;
pub mod id;
pub mod lane;
pub mod log;
pub mod member;
pub mod output;
pub mod question;
pub mod run;
pub mod runner;
pub mod subject;
mod tagged;
pub mod token;

pub use actor::{Actor, Via};
pub use cadence::Cadence;
pub use envelope::Envelope;
pub use id::{EventId, RunId, RunnerId, SessionId};
pub use jiff::Timestamp;
pub use lane::{Lane, LaneTags};
pub use member::BrokerKey;
pub use token::Role;
