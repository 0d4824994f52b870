//! Capabilities: list, show, create, replace, patch, delete.

use super::catalog::{CatalogOutcome, CatalogWrite};
use super::{App, AppError, Written};
use crate::domain::{Decision, Patch, Rejection, capabilities, same_name};
use events::Actor;
use events::catalog::{CapabilityVersion, Catalog, Entry};
use schemas::{CapabilityDocument, Name};

impl App {
    /// All capabilities, sorted by name.
    pub fn capabilities(&self) -> Vec<Entry<CapabilityVersion>> {
        let state = self.projections().catalog();
        state.catalog.capabilities.values().cloned().collect()
    }

    pub fn capability(&self, name: &Name) -> Result<Entry<CapabilityVersion>, AppError> {
        let state = self.projections().catalog();
        Ok(capabilities::find(&state.catalog, name)?.clone())
    }

    pub async fn create_capability(
        &self,
        actor: &Actor,
        document: CapabilityDocument,
    ) -> Result<Written<Entry<CapabilityVersion>>, AppError> {
        let name = document.name.clone();
        let rule = move |catalog: &_| capabilities::create(catalog, &document);
        self.write_capability(actor, &name, rule).await
    }

    /// Creates or replaces the whole capability.
    pub async fn put_capability(
        &self,
        actor: &Actor,
        name: &Name,
        document: CapabilityDocument,
    ) -> Result<Written<Entry<CapabilityVersion>>, AppError> {
        same_name(name, &document.name)?;
        let rule = move |catalog: &_| capabilities::put(catalog, &document);
        self.write_capability(actor, name, rule).await
    }

    pub async fn patch_capability(
        &self,
        actor: &Actor,
        name: &Name,
        patch: Patch,
    ) -> Result<Written<Entry<CapabilityVersion>>, AppError> {
        let patched = name.clone();
        let rule = move |catalog: &_| capabilities::patch(catalog, &patched, &patch);
        self.write_capability(actor, name, rule).await
    }

    pub async fn delete_capability(&self, actor: &Actor, name: &Name) -> Result<(), AppError> {
        let name = name.clone();
        let write = CatalogWrite::new(move |catalog| capabilities::delete(catalog, &name));
        self.change_catalog(actor, write).await.map(drop)
    }

    async fn write_capability(
        &self,
        actor: &Actor,
        name: &Name,
        rule: impl Fn(&Catalog) -> Result<Decision, Rejection> + Send + Sync + 'static,
    ) -> Result<Written<Entry<CapabilityVersion>>, AppError> {
        match self.change_catalog(actor, CatalogWrite::new(rule)).await? {
            CatalogOutcome::Done { change, after } => {
                let now = capabilities::find(&after, name)?.clone();
                Ok(Written { change, now })
            }
            // No rule of capabilities is made for one version.
            CatalogOutcome::Outdated => Err(AppError::Contended { tries: 1 }),
        }
    }
}
