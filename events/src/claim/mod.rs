//! How whoever executes comes to a lane's runs, natively or in the name of a runner that cannot reach
//! the broker: `pulls` says which lane is asked next, `claiming` makes a delivered run somebody's by
//! `verdict`'s rules, and `steps` appends what follows.
//!
//! Nothing is executed here, and no lease is settled.

mod claiming;
mod pulls;
mod steps;
mod verdict;

pub use claiming::{Ask, Claimed, HAND_BACK_DELAY, claim, readable};
pub use pulls::Pulls;
pub use steps::{AWAY_PAUSE, Failed, Hold, Standing, Told, Voice, append, full, latest};
pub use verdict::{Holder, Next, Verdict, after_conflict, verdict};
