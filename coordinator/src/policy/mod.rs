//! When something happened, what follows: pure functions from what is known to what is to be done.
//! `reactors` carry it out. Every rule may run twice, late, and in several coordinators at once.

pub mod announcements;
pub mod bundles;
pub mod callbacks;
pub mod distribution;
pub mod history;
pub mod hooks;
pub mod over_http;
pub mod settle;

pub use settle::Patience;
