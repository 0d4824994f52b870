//! Runners' access to the broker: joining, and being shut out.

use super::catalog::CatalogWrite;
use super::{App, AppError};
use crate::domain::members::{self, Applicant};
use events::catalog::Catalog;
use events::member::Member;
use events::{Actor, RunnerId};
use schemas::Name;
use std::collections::BTreeMap;

/// Who has joined, as far as `CATALOG` is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// By runner; also those whose access was revoked.
    pub by_runner: BTreeMap<Name, Member>,
    /// Of `CATALOG`: nothing after it is in there.
    pub sequence: u64,
}

impl App {
    pub fn members(&self) -> Members {
        let state = self.projections().catalog();
        Members {
            by_runner: state.catalog.members.clone(),
            sequence: state.sequence,
        }
    }

    /// How far `CATALOG` is known.
    pub fn catalog_sequence(&self) -> u64 {
        self.projections().catalog().sequence
    }

    pub fn member(&self, runner: &RunnerId) -> Option<Member> {
        let catalog = self.projections().catalog().catalog;
        let name = events::member::catalog_name(runner);
        catalog.members.get(&name).cloned()
    }

    /// See [`members::join`].
    pub async fn join_runner(&self, actor: &Actor, who: Applicant) -> Result<(), AppError> {
        let now = self.now();
        let rule = move |catalog: &Catalog| members::join(catalog, &who, now);
        let written = self.change_catalog(actor, CatalogWrite::new(rule));
        written.await.map(drop)
    }

    /// See [`members::revoke`].
    pub async fn revoke_runner(&self, actor: &Actor, runner: &RunnerId) -> Result<(), AppError> {
        let runner = runner.clone();
        let rule = move |catalog: &Catalog| members::revoke(catalog, &runner);
        let written = self.change_catalog(actor, CatalogWrite::new(rule));
        written.await.map(drop)
    }
}
