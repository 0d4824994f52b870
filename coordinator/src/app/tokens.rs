//! Tokens: who holds one, giving one out, taking one back.

use super::catalog::CatalogWrite;
use super::{App, AppError};
use crate::domain::{Rejection, tokens};
use events::Actor;
use events::catalog::{Catalog, Kind};
use events::token::{Issued, Token};
use schemas::{Digest, Name};
use std::collections::BTreeMap;

impl App {
    /// The token whose text hashes to this; also one that has expired or is used up.
    pub fn token_by_hash(&self, hash: &Digest) -> Option<Issued> {
        let catalog = self.projections().catalog().catalog;
        let mut tokens = catalog.tokens.values();
        tokens.find(|issued| issued.token.hash == *hash).cloned()
    }

    /// All there are, by name.
    pub fn tokens(&self) -> BTreeMap<Name, Issued> {
        self.projections().catalog().catalog.tokens.clone()
    }

    /// See [`tokens::create`].
    pub async fn create_token(&self, actor: &Actor, token: Token) -> Result<Issued, AppError> {
        let (name, now) = (token.name.clone(), self.now());
        let rule = move |catalog: &Catalog| tokens::create(catalog, &token, now);
        self.change_catalog(actor, CatalogWrite::new(rule)).await?;
        let catalog = self.projections().catalog().catalog;
        let issued = catalog.tokens.get(&name).cloned();
        // Somebody may have revoked it in the same moment.
        issued.ok_or_else(|| {
            let kind = Kind::Token;
            Rejection::NotFound { kind, name }.into()
        })
    }

    /// See [`tokens::revoke`].
    pub async fn revoke_token(&self, actor: &Actor, name: &Name) -> Result<(), AppError> {
        let name = name.clone();
        let rule = move |catalog: &Catalog| tokens::revoke(catalog, &name);
        let written = self.change_catalog(actor, CatalogWrite::new(rule));
        written.await.map(drop)
    }
}
