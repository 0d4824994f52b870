//! The log on JetStream. One file per concern: the connection, the streams' settings, append,
//! reads, bundles, the lanes' queues, and the plain messages beside the log.

mod append;
mod bundles;
mod collect;
mod connection;
mod floor;
mod follow;
mod lane_queues;
mod live;
mod messages;
mod pages;
mod patience;
mod pulse;
mod queue;
mod reads;
mod snapshot;
mod storage;
mod streams;

pub use connection::{Access, ConnectError, Connection, Link, MINIMUM_SERVER};
pub use lane_queues::{drop_lane, ensure_consumer, lane_queues, lost_queues};
pub use live::{LaneLog, LaneMessage};
pub use messages::{AskError, Asked, Commanded};
pub use queue::{Arrival, Deliveries, Delivery, Lease, Pull, Queue, QueueError, STANDING_PULL};
pub use snapshot::{Restoring, Snapshot, StreamForm, UnfinishedRestore};
pub use storage::{AccountFacts, Keepers, STREAMS, StorageError, StreamFacts};
pub use streams::{Durability, Retention, SetupError, StreamSettings, durability, ensure_streams};
