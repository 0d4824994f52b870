//! How every change of the catalogue is made: decide, put the bundle, append, see it.

use super::{App, AppError, Change, TRIES, off_thread};
use crate::domain::{Decision, Rejection};
use crate::projections::CatalogState;
use bytes::Bytes;
use events::catalog::{Catalog, CatalogEvent};
use events::log::{Append, AppendError, Expect};
use events::subject::{self, Stream};
use events::{Actor, Envelope, EventId, Timestamp};
use std::sync::Arc;

/// A rule of the domain with its command.
pub type Decide = Arc<dyn Fn(&Catalog) -> Result<Decision, Rejection> + Send + Sync>;

/// A change on its way.
pub struct CatalogWrite {
    pub decide: Decide,
    /// What the event refers to; it is stored before the event is.
    pub bundle: Option<Bytes>,
}

/// What came of it, and the catalogue as it was right after.
pub enum CatalogOutcome {
    Done {
        change: Change,
        after: Arc<Catalog>,
    },
    /// See [`Decision::Outdated`].
    Outdated,
}

impl CatalogWrite {
    pub fn new(
        decide: impl Fn(&Catalog) -> Result<Decision, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self {
            decide: Arc::new(decide),
            bundle: None,
        }
    }
}

impl App {
    pub(super) async fn change_catalog(
        &self,
        actor: &Actor,
        mut write: CatalogWrite,
    ) -> Result<CatalogOutcome, AppError> {
        let _turn = self.0.catalog_turn.lock().await;
        for _ in 0..TRIES {
            let base = self.projections().catalog();
            if let Some(sequence) = base.newer {
                return Err(AppError::Outdated { sequence });
            }
            if let Some(condition) = &self.1 {
                condition.check(&base.catalog)?;
            }
            let (decide, catalog) = (write.decide.clone(), base.catalog.clone());
            let event = match off_thread(move || decide(&catalog)).await?? {
                Decision::Append(event) => *event,
                Decision::Outdated => return Ok(CatalogOutcome::Outdated),
                Decision::Unchanged => {
                    let (change, after) = (Change::Unchanged, base.catalog);
                    return Ok(CatalogOutcome::Done { change, after });
                }
            };
            if let Some(bundle) = write.bundle.take() {
                self.0.broker.bundles.put(bundle).await?;
            }
            let at = self.now();
            let (change, after) = (change_of(&event), after(&base, at, &event));
            let append = append(actor, &base, at, event);
            match self.0.broker.log.append(append).await {
                Ok(appended) => {
                    self.visible(Stream::Catalog, appended.sequence).await?;
                    let after = self.as_applied(appended.sequence, after);
                    return Ok(CatalogOutcome::Done { change, after });
                }
                Err(AppendError::Conflict { last }) => self.visible(Stream::Catalog, last).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    /// The state right after our event as the projection has it, which knows the broker's time of it;
    /// ours where somebody else's event has been applied already.
    fn as_applied(&self, sequence: u64, ours: Arc<Catalog>) -> Arc<Catalog> {
        let applied = self.projections().catalog();
        match applied.sequence == sequence {
            true => applied.catalog,
            false => ours,
        }
    }
}

fn append(actor: &Actor, base: &CatalogState, at: Timestamp, event: CatalogEvent) -> Append {
    let envelope = Envelope {
        id: EventId::fresh(),
        at,
        actor: actor.clone(),
        previous: base.head,
        event,
    };
    Append {
        stream: Stream::Catalog,
        subject: subject::catalog(envelope.event.kind(), envelope.event.name()),
        id: envelope.id,
        payload: envelope.to_bytes(),
        expect: Expect::Stream {
            sequence: base.sequence,
        },
    }
}

/// The state our own event leads to: what the answer shows, whatever others do meanwhile.
fn after(base: &CatalogState, at: Timestamp, event: &CatalogEvent) -> Arc<Catalog> {
    let mut catalog = Catalog::clone(&base.catalog);
    catalog.evolve(at, event);
    Arc::new(catalog)
}

fn change_of(event: &CatalogEvent) -> Change {
    match event {
        CatalogEvent::ScriptCreated(_)
        | CatalogEvent::AgentCreated(_)
        | CatalogEvent::CapabilityCreated(_)
        | CatalogEvent::ScriptPinned { .. }
        | CatalogEvent::TokenCreated(_)
        | CatalogEvent::RunnerJoined(_) => Change::Created,
        CatalogEvent::ScriptChanged(_)
        | CatalogEvent::AgentChanged(_)
        | CatalogEvent::CapabilityChanged(_)
        | CatalogEvent::ScriptDeleted { .. }
        | CatalogEvent::AgentDeleted { .. }
        | CatalogEvent::CapabilityDeleted { .. }
        | CatalogEvent::ScriptUnpinned { .. }
        | CatalogEvent::TokenRevoked { .. }
        | CatalogEvent::RunnerRevoked { .. } => Change::Changed,
    }
}
