//! The fold of `CATALOG`: the catalogue, the sequence it stands at, and the head of the hash
//! chain that the next event has to name.

use super::changes::Changes;
use super::keys;
use super::quarantine::Quarantine;
use super::store::{Cursor, Store, StoreError};
use events::catalog::{Catalog, CatalogEvent, Kind};
use events::chain::{Break, Chain};
use events::log::Stored;
use events::subject::{self, Stream};
use schemas::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a decision on the catalogue is based on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogState {
    pub catalog: Arc<Catalog>,
    /// Of the last message, in `CATALOG`.
    pub sequence: u64,
    /// The digest of the last message's bytes.
    pub head: Option<Digest>,
    pub breaks: Breaks,
    /// The first change that only a newer coordinator can read.
    pub newer: Option<u64>,
}

/// Where messages did not continue the hash chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaks {
    pub count: u64,
    /// The sequence of the first one.
    pub first: Option<u64>,
}

impl CatalogState {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let catalog = Catalog {
            scripts: load(store, &keys::entries(Kind::Script))?,
            agents: load(store, &keys::entries(Kind::Agent))?,
            capabilities: load(store, &keys::entries(Kind::Capability))?,
            pins: load(store, &keys::entries(Kind::Pin))?,
            tokens: load(store, &keys::entries(Kind::Token))?,
            members: load(store, &keys::entries(Kind::Runner))?,
            deleted_scripts: load(store, &keys::deleted_entries(Kind::Script))?,
            deleted_agents: load(store, &keys::deleted_entries(Kind::Agent))?,
            deleted_capabilities: load(store, &keys::deleted_entries(Kind::Capability))?,
        };
        let cursor = store.cursor(Stream::Catalog)?;
        Ok(Self {
            catalog: Arc::new(catalog),
            sequence: cursor.as_ref().map_or(0, |cursor| cursor.sequence),
            head: cursor.and_then(|cursor| cursor.head),
            breaks: store.get(keys::CHAIN_BREAKS)?.unwrap_or_default(),
            newer: store.get(keys::NEWER_CHANGE)?,
        })
    }

    /// Applies one message, without rows. What cannot be applied is skipped, as ever.
    pub fn fold(&mut self, message: &Stored) {
        // Who follows the stream has counted and told it.
        let _ = self.take(message);
    }

    /// Applies one message.
    pub(super) fn apply(
        &mut self,
        message: &Stored,
        changes: &mut Changes,
    ) -> Result<(), Quarantine> {
        let (breaks, newer) = (self.breaks, self.newer);
        let applied = self.take(message);
        if self.newer != newer {
            changes.put(keys::NEWER_CHANGE.to_vec(), &self.newer);
        }
        if self.breaks != breaks {
            changes.put(keys::CHAIN_BREAKS.to_vec(), &self.breaks);
        }
        let event = applied?;
        note(&self.catalog, event.kind(), event.name(), changes);
        Ok(())
    }

    /// It counts for the chain also where it cannot be applied: the next writer saw it as the last
    /// one too.
    fn take(&mut self, message: &Stored) -> Result<CatalogEvent, Quarantine> {
        let mut chain = Chain::at(self.sequence, self.head);
        let follows_directly = message.sequence == self.sequence + 1;
        let followed = chain.follow(message.sequence, &message.payload);
        (self.sequence, self.head) = (chain.sequence(), chain.head());
        if let Err(broken) = &followed {
            self.breaks.note(broken);
        }
        let envelope = match message.envelope::<CatalogEvent>() {
            // Who knew the head of the chain, and what an envelope is, is one of us.
            Err(_) if followed.is_ok() => {
                self.newer.get_or_insert(message.sequence);
                return Err(Quarantine::Newer);
            }
            read => read?,
        };
        if follows_directly && followed.is_err() {
            return Err(Quarantine::Chain);
        }
        let (at, event) = (envelope.at, envelope.event);
        if subject::catalog(event.kind(), event.name()) != message.subject {
            return Err(Quarantine::Mismatch);
        }
        Arc::make_mut(&mut self.catalog).evolve(at, &event);
        Ok(event)
    }

    pub(super) fn cursor(&self, created: &str) -> Cursor {
        Cursor {
            created: created.to_owned(),
            sequence: self.sequence,
            head: self.head,
        }
    }
}

impl Breaks {
    fn note(&mut self, broken: &Break) {
        self.count += 1;
        self.first.get_or_insert(broken.sequence);
    }
}

/// The rows of one name as the catalogue has it now.
fn note(catalog: &Catalog, kind: Kind, name: &Name, changes: &mut Changes) {
    let row = keys::entry(kind, name);
    let deleted = match kind {
        Kind::Script => {
            put_or_delete(changes, row, catalog.scripts.get(name));
            // A script's pins go with it.
            note(catalog, Kind::Pin, name, changes);
            &catalog.deleted_scripts
        }
        Kind::Agent => {
            put_or_delete(changes, row, catalog.agents.get(name));
            &catalog.deleted_agents
        }
        Kind::Capability => {
            put_or_delete(changes, row, catalog.capabilities.get(name));
            &catalog.deleted_capabilities
        }
        Kind::Pin => return put_or_delete(changes, row, catalog.pins.get(name)),
        Kind::Token => return put_or_delete(changes, row, catalog.tokens.get(name)),
        Kind::Runner => {
            let member = catalog.members.get(name);
            // The token that let it in is used up by the same event.
            if let Some(token) = member.and_then(|member| member.token.as_ref()) {
                note(catalog, Kind::Token, token, changes);
            }
            return put_or_delete(changes, row, member);
        }
    };
    put_or_delete(changes, keys::deleted(kind, name), deleted.get(name));
}

fn put_or_delete(changes: &mut Changes, key: Vec<u8>, value: Option<&impl serde::Serialize>) {
    match value {
        Some(value) => changes.put(key, value),
        None => changes.delete(key),
    }
}

fn load<T: serde::de::DeserializeOwned>(
    store: &Store,
    prefix: &[u8],
) -> Result<BTreeMap<Name, T>, StoreError> {
    let mut entries = BTreeMap::new();
    for row in store.rows::<T>(prefix) {
        let (key, value) = row?;
        let name = keys::text_of(prefix, &key).and_then(|text| text.parse().ok());
        let name = name.ok_or_else(|| StoreError::Damaged("a name is none".to_owned()))?;
        entries.insert(name, value);
    }
    Ok(entries)
}
