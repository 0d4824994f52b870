//! What the system can do: one method per use case, one file per noun. Each write loads the
//! state, lets `domain` decide, appends what follows while expecting that nobody was faster, waits
//! until the projection shows it, and answers from there.
//!
//! It knows neither HTTP nor sled nor async-nats, and reacts to nothing by itself.

mod agents;
mod backup;
mod cache;
mod capabilities;
mod catalog;
mod clock;
mod doctor;
mod error;
mod event_list;
mod explain;
mod feed;
mod heartbeats;
mod history;
mod hooks;
mod lane_views;
mod lanes;
mod members;
mod metrics;
mod moment;
mod output;
mod over_http;
mod owned;
mod pages;
mod past;
mod pins;
mod position;
mod proof;
mod results;
mod retry;
mod rollout;
mod room;
mod run_past;
mod runners;
mod runs;
mod scripts;
mod sessions;
mod status;
mod steps;
mod storage;
mod stored_event;
mod sync;
mod tail;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod timeline;
mod tokens;
mod versions;
mod who_ran;
mod wire;

pub use agents::Agent;
pub use backup::Backup;
pub use error::AppError;
pub use event_list::{EventPage, EventQuery};
pub use feed::{Feed, FeedItem, FeedQuery, Start, TOLD, Told};
pub use lane_views::LaneView;
pub use members::Members;
pub use metrics::{Fleet, Gauges};
pub use moment::{AsOf, Moment};
pub use output::{OutputItem, OutputPage, OutputQuery};
pub use over_http::{
    Application, Delivered, OverHttpRejection, PollAnswer, Report, Shows, Visitor,
};
pub use pins::PinnedScript;
pub use position::{InvalidPosition, Position};
pub use proof::{Progress, Proof};
pub use rollout::RolloutNews;
pub use room::Tight;
pub use runners::{Drained, RunnerView, Wishes};
pub use runs::{Requested, StopOutcome, Stopped};
pub use scripts::{PackedScript, Script};
pub use sessions::SessionPage;
pub use status::{Status, StreamStatus};
pub use storage::Storage;
pub use stored_event::{EventFilter, EventHead, StoredEvent};
pub use sync::{Asked, Reply, Sync};
pub use timeline::{RunStory, StepLine, Timeline, TimelineQuery};
pub use versions::{
    Deletion, History, HistoryQuery, RolledBack, VERSIONS_MAX, Version, VersionLine,
};
pub use who_ran::{Of, Ran, WhoRanQuery};
pub use wire::Wire;

pub(crate) use history::Summarised;
pub(crate) use lanes::lane_append;
pub(crate) use over_http::Desk;
pub(crate) use steps::StepOutcome;

pub use crate::domain::audit::AuditRejection;
pub use crate::domain::distribution::DesiredScript;
pub use crate::domain::explain::{Explanation, NoRunner};
pub use crate::domain::hooks::Answer as HookAnswer;
pub use crate::domain::ids::{run_of_callback, run_of_hook};
pub use crate::domain::members::{Applicant, Ticket};
pub use crate::domain::proof::{Checkpoint, Finding, InvalidCheckpoint, Verified};
pub use crate::domain::replay::{Difference as CatalogDifference, What};
pub use crate::domain::retry::RetryCommand;
pub use crate::domain::rollout::{Line as RolloutLine, Rollout};
pub use crate::domain::runners::RunnerCommand;
pub use crate::domain::runs::RunCommand;
pub use crate::domain::versions::{Versioned, WhereDeleted};
pub use crate::domain::{Condition, Patch, Rejection, Wanted};
pub use crate::projections::{
    Before, Comparison, Difference, EventLine, Line, RunPage, RunQuery, Topic, TrailEntry,
};

use crate::projections::Projections;
use cache::Cache;
use clock::Clock;
use events::log::{Bundles, Log};
use events::subject::Stream;
use events::{Cadence, Timestamp};
use heartbeats::Heartbeats;
use lanes::KnownLanes;
use past::Folds;
use schemas::bundle::Folder;
use schemas::check::CompiledSchema;
use schemas::{Digest, Timeout};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use sync::Syncs;

/// The broker, as four ports.
#[derive(Clone)]
pub struct Broker {
    pub log: Arc<dyn Log>,
    pub bundles: Arc<dyn Bundles>,
    pub wire: Arc<dyn Wire>,
    pub storage: Arc<dyn Storage>,
}

/// The coordinator's use cases. Cloning is cheap; all clones are one, but for the condition under
/// which one of them changes the catalogue.
#[derive(Clone)]
pub struct App(Arc<Inner>, Option<Condition>);

/// What holds for all runs, unless a request says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// How long a run may wait while nobody could take it.
    pub schedule_timeout: Option<Timeout>,
    /// How fast runners give signs of life. No request says otherwise.
    pub cadence: Cadence,
    /// How long a runner over HTTP may be silent.
    pub http_silence: Option<Duration>,
}

struct Inner {
    broker: Broker,
    defaults: Defaults,
    projections: Projections,
    clock: Clock,
    heartbeats: Heartbeats,
    syncs: Syncs,
    /// Writes to `CATALOG` take turns here, so that they meet conflicts only with others.
    catalog_turn: tokio::sync::Mutex<()>,
    /// Verifications take turns here: each reads the whole log.
    proof_turn: tokio::sync::Mutex<()>,
    folds: tokio::sync::Mutex<Folds>,
    lanes: KnownLanes,
    /// The polls of runners over HTTP, and what is remembered of them.
    desk: over_http::Desk,
    over_http: over_http::Memory,
    /// What lanes want, by the sequence of `CATALOG`.
    http_wishes: Cache<u64, Arc<runners::Wishes>>,
    room: room::Room,
    /// Unpacked folders; they weigh what their files do.
    folders: Cache<Digest, Arc<Folder>>,
    /// The parameters' schemas of scripts by the script's digest.
    schemas: Cache<Digest, CompiledSchema>,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq)]
pub struct Written<T> {
    pub change: Change,
    /// How it stands now.
    pub now: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    Changed,
    /// It stood there exactly like this: no new version.
    Unchanged,
}

/// How often a decision that others overtook is made again. Two writers that keep at it needed up
/// to 14 tries.
const TRIES: u32 = 20;
/// How long an answer waits for our own view of what is stored. More than an election takes.
const VISIBLE_WITHIN: Duration = Duration::from_secs(12);
/// Bytes of unpacked folders that are kept: the largest one folder can have.
const FOLDERS_MAX_BYTES: usize = schemas::bundle::MAX_UNPACKED_BYTES;
/// Compiled schemas that are kept.
const SCHEMAS_MAX: usize = 256;

impl App {
    /// Opens the projection in `store` (deleted and rebuilt when it does not fit the streams) and
    /// begins to follow the log. Answers once everything stored by now has been applied.
    ///
    /// # Errors
    /// When the broker does not answer, or another process uses the store.
    pub async fn open(broker: Broker, store: &Path, defaults: Defaults) -> Result<Self, AppError> {
        let projections = Projections::open(broker.log.clone(), store).await?;
        let clock = Clock::start(broker.log.clone(), broker.wire.clone()).await?;
        let heartbeats = Heartbeats::listen(broker.wire.clone(), clock.clone(), defaults.cadence);
        let inner = Inner {
            clock,
            heartbeats,
            projections,
            broker,
            defaults,
            syncs: Syncs::default(),
            catalog_turn: tokio::sync::Mutex::new(()),
            proof_turn: tokio::sync::Mutex::new(()),
            folds: tokio::sync::Mutex::default(),
            lanes: KnownLanes::default(),
            desk: over_http::Desk::default(),
            over_http: over_http::Memory::default(),
            http_wishes: Cache::new(1),
            room: room::Room::default(),
            folders: Cache::new(FOLDERS_MAX_BYTES),
            schemas: Cache::new(SCHEMAS_MAX),
        };
        Ok(Self(Arc::new(inner), None))
    }

    /// The same, whose changes of the catalogue are made only where this holds.
    pub fn only_if(&self, condition: Option<Condition>) -> Self {
        Self(self.0.clone(), condition)
    }

    /// Ends following and brings the projection to the disk. Nothing is lost without it.
    pub async fn close(&self) {
        self.projections().close().await;
    }

    /// What is known, for those who act on it.
    pub fn projections(&self) -> &Projections {
        &self.0.projections
    }

    /// How fast runners are to give signs of life.
    pub fn cadence(&self) -> Cadence {
        self.0.defaults.cadence
    }

    /// The broker's clock: what is compared with times in the log is read here.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Where polls of runners over HTTP wait, for those who bring them something.
    pub(crate) fn desk(&self) -> &Desk {
        &self.0.desk
    }

    pub fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// Waits until our own view has what is stored.
    async fn visible(&self, stream: Stream, sequence: u64) -> Result<(), AppError> {
        let applied = self
            .projections()
            .applied_within(stream, sequence, VISIBLE_WITHIN);
        if applied.await {
            Ok(())
        } else {
            Err(AppError::Behind)
        }
    }
}

/// Runs what takes its time (packing, schemas) where nobody else waits for the thread.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(AppError::internal)
}
