//! The log on JetStream. One file per concern: the connection, the streams' settings, append,
//! reads, bundles, the lanes' queues, and the plain messages beside the log.

mod append;
mod bundles;
mod connection;
mod live;
mod messages;
mod pages;
mod pulse;
mod queue;
mod reads;
mod streams;

pub use connection::{Access, ConnectError, Connection, Link, MINIMUM_SERVER};
pub use live::{LaneLog, LaneMessage};
pub use messages::{AskError, Asked, Commanded};
pub use queue::{
    Arrival, Deliveries, Delivery, Lease, Pull, Queue, QueueError, STANDING_PULL, ensure_consumer,
};
pub use streams::{Durability, SetupError, StreamSettings, durability, ensure_streams};
