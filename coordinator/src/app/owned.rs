//! Agents that runners own, on their way into the catalogue and out of it. Policy decides when.

use super::catalog::CatalogWrite;
use super::{App, AppError};
use crate::domain::owned;
use events::{Actor, RunnerId};
use schemas::{CommandAgent, Name};
use std::collections::BTreeMap;

impl App {
    /// See [`owned::announce`].
    pub(crate) async fn announce_agent(
        &self,
        runner_id: &RunnerId,
        agent: CommandAgent,
        registered_sequence: u64,
    ) -> Result<(), AppError> {
        let (actor, runner_id) = (Actor::runner(runner_id), runner_id.clone());
        let rule =
            move |catalog: &_| owned::announce(catalog, &runner_id, &agent, registered_sequence);
        let written = self.change_catalog(&actor, CatalogWrite::new(rule));
        written.await.map(drop)
    }

    /// See [`owned::withdraw`].
    pub(crate) async fn withdraw_agent(
        &self,
        runner_id: &RunnerId,
        name: &Name,
        read_to: u64,
    ) -> Result<(), AppError> {
        let (runner_id, name) = (runner_id.clone(), name.clone());
        let rule = move |catalog: &_| Ok(owned::withdraw(catalog, &runner_id, &name, read_to));
        let actor = Actor::policy("announcements");
        let written = self.change_catalog(&actor, CatalogWrite::new(rule));
        written.await.map(drop)
    }

    /// Which of these names somebody else has than the runner, a sentence for people each.
    pub fn refused_agents<'a>(
        &self,
        runner_id: &RunnerId,
        names: impl IntoIterator<Item = &'a Name>,
    ) -> Vec<String> {
        self.agent_clashes(runner_id, names).into_values().collect()
    }

    /// The same by name.
    pub fn agent_clashes<'a>(
        &self,
        runner_id: &RunnerId,
        names: impl IntoIterator<Item = &'a Name>,
    ) -> BTreeMap<&'a Name, String> {
        let catalog = self.projections().catalog().catalog;
        let refusal = |name| Some((name, owned::clash(&catalog, runner_id, name)?.to_string()));
        names.into_iter().filter_map(refusal).collect()
    }
}
