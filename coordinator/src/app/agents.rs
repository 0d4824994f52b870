//! Agents: list, show, create, replace, patch, activate, delete.

use super::catalog::{CatalogOutcome, CatalogWrite};
use super::{App, AppError, Written};
use crate::domain::{Decision, Patch, Rejection, agents, equipment, same_name};
use events::Actor;
use events::catalog::{AgentVersion, Catalog, Entry};
use schemas::{AgentDocument, AgentStatus, Name, Tag};

/// An agent as it is written, and as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub entry: Entry<AgentVersion>,
    /// With what it has from its script or its capabilities.
    pub resolved: AgentDocument,
}

impl Agent {
    pub(super) fn of(catalog: &Catalog, entry: &Entry<AgentVersion>) -> Self {
        Self {
            resolved: equipment::resolved(catalog, &entry.current.document),
            entry: entry.clone(),
        }
    }

    /// See [`App::agents`].
    pub(super) fn all(catalog: &Catalog, tags: &[Tag]) -> Vec<Self> {
        let carries = |entry: &&Entry<AgentVersion>| {
            let own = &entry.current.document.tags;
            tags.iter().all(|tag| own.contains(tag))
        };
        let wanted = catalog.agents.values().filter(carries);
        let (runners, ours): (Vec<_>, Vec<_>) =
            wanted.partition(|entry| entry.current.owner.is_some());
        let listed = ours.into_iter().chain(runners);
        listed.map(|entry| Self::of(catalog, entry)).collect()
    }
}

impl App {
    /// The agents that carry all of `tags`: the coordinator's own and then those of runners, each
    /// sorted by name.
    pub fn agents(&self, tags: &[Tag]) -> Vec<Agent> {
        Agent::all(&self.projections().catalog().catalog, tags)
    }

    pub fn agent(&self, name: &Name) -> Result<Agent, AppError> {
        let state = self.projections().catalog();
        let entry = agents::find(&state.catalog, name)?;
        Ok(Agent::of(&state.catalog, entry))
    }

    pub async fn create_agent(
        &self,
        actor: &Actor,
        document: AgentDocument,
    ) -> Result<Written<Agent>, AppError> {
        let name = document.name.clone();
        let rule = move |catalog: &_| agents::create(catalog, &document);
        self.write_agent(actor, &name, rule).await
    }

    /// Creates or replaces the whole agent.
    pub async fn put_agent(
        &self,
        actor: &Actor,
        name: &Name,
        document: AgentDocument,
    ) -> Result<Written<Agent>, AppError> {
        same_name(name, &document.name)?;
        let rule = move |catalog: &_| agents::put(catalog, &document);
        self.write_agent(actor, name, rule).await
    }

    pub async fn patch_agent(
        &self,
        actor: &Actor,
        name: &Name,
        patch: Patch,
    ) -> Result<Written<Agent>, AppError> {
        let patched = name.clone();
        let rule = move |catalog: &_| agents::patch(catalog, &patched, &patch);
        self.write_agent(actor, name, rule).await
    }

    pub async fn set_agent_status(
        &self,
        actor: &Actor,
        name: &Name,
        status: AgentStatus,
    ) -> Result<Written<Agent>, AppError> {
        let changed = name.clone();
        let rule = move |catalog: &_| agents::set_status(catalog, &changed, status);
        self.write_agent(actor, name, rule).await
    }

    pub async fn delete_agent(&self, actor: &Actor, name: &Name) -> Result<(), AppError> {
        let name = name.clone();
        let write = CatalogWrite::new(move |catalog| agents::delete(catalog, &name));
        self.change_catalog(actor, write).await.map(drop)
    }

    async fn write_agent(
        &self,
        actor: &Actor,
        name: &Name,
        rule: impl Fn(&Catalog) -> Result<Decision, Rejection> + Send + Sync + 'static,
    ) -> Result<Written<Agent>, AppError> {
        match self.change_catalog(actor, CatalogWrite::new(rule)).await? {
            CatalogOutcome::Done { change, after } => {
                let now = Agent::of(&after, agents::find(&after, name)?);
                Ok(Written { change, now })
            }
            // No rule of agents is made for one version.
            CatalogOutcome::Outdated => Err(AppError::Contended { tries: 1 }),
        }
    }
}
