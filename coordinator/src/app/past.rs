//! The catalogue as it was at a moment. One name is found by halving its own subject; everything is the
//! fold of the log up to there, of which the last few are kept.
//!
//! What is skipped now (foreign, beside the chain) is skipped then: the past at the last sequence is
//! what is shown now.

use super::moment::{AsOf, Moment};
use super::pages::{ALL, Pages};
use super::{Agent, App, AppError, LaneView, Script};
use crate::domain::Rejection;
use crate::domain::replay::{self, Difference};
use crate::domain::versions::Versioned;
use crate::projections::CatalogState;
use events::catalog::{
    AgentVersion, CapabilityVersion, Catalog, CatalogEvent, Entry, Pin, ScriptVersion,
};
use events::chain;
use events::log::Stored;
use events::subject::{self, Stream};
use schemas::{AgentDocument, Digest, Name, Tag};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Messages read at once for a fold.
const READ_AT_ONCE: usize = 256;
/// Events of one name read at once: each may have a megabyte.
const READ_OF_NAME: usize = 16;
/// Folds that are kept, so that the next question about that time, or a later one, does not read all of
/// the log again. Each is as large as the catalogue.
const KEPT: usize = 8;

/// The folds that are kept, the one used last at the end.
#[derive(Default)]
pub struct Folds(Vec<CatalogState>);

impl App {
    pub async fn scripts_at(
        &self,
        moment: Moment,
    ) -> Result<(AsOf, Vec<Entry<ScriptVersion>>), AppError> {
        let (as_of, catalog) = self.catalog_at(moment).await?;
        Ok((as_of, catalog.scripts.values().cloned().collect()))
    }

    pub async fn script_at(&self, name: &Name, moment: Moment) -> Result<(AsOf, Script), AppError> {
        let as_of = self.as_of(moment).await?;
        let entry = self.found::<ScriptVersion>(name, as_of).await?;
        let folder = self.stored_folder(&entry.current).await?;
        Ok((as_of, Script { entry, folder }))
    }

    /// As [`App::agents`].
    pub async fn agents_at(
        &self,
        tags: &[Tag],
        moment: Moment,
    ) -> Result<(AsOf, Vec<Agent>), AppError> {
        let (as_of, catalog) = self.catalog_at(moment).await?;
        Ok((as_of, Agent::all(&catalog, tags)))
    }

    pub async fn agent_at(&self, name: &Name, moment: Moment) -> Result<(AsOf, Agent), AppError> {
        let as_of = self.as_of(moment).await?;
        let entry = self.found::<AgentVersion>(name, as_of).await?;
        let around = self.around(&entry.current.document, as_of).await?;
        Ok((as_of, Agent::of(&around, &entry)))
    }

    pub async fn capabilities_at(
        &self,
        moment: Moment,
    ) -> Result<(AsOf, Vec<Entry<CapabilityVersion>>), AppError> {
        let (as_of, catalog) = self.catalog_at(moment).await?;
        Ok((as_of, catalog.capabilities.values().cloned().collect()))
    }

    pub async fn capability_at(
        &self,
        name: &Name,
        moment: Moment,
    ) -> Result<(AsOf, Entry<CapabilityVersion>), AppError> {
        let as_of = self.as_of(moment).await?;
        Ok((as_of, self.found::<CapabilityVersion>(name, as_of).await?))
    }

    /// What each lane had to hold, and for whom. Who was online and what waited stands in no event of
    /// the catalogue.
    pub async fn lanes_at(&self, moment: Moment) -> Result<(AsOf, Vec<LaneView>), AppError> {
        let (as_of, catalog) = self.catalog_at(moment).await?;
        Ok((as_of, LaneView::wanted(&catalog)))
    }

    /// The pins of all scripts, or of one.
    pub async fn pins_at(
        &self,
        script: Option<&Name>,
        moment: Moment,
    ) -> Result<(AsOf, BTreeMap<Name, Vec<Pin>>), AppError> {
        let (as_of, catalog) = self.catalog_at(moment).await?;
        let mut pins = catalog.pins.clone();
        if let Some(script) = script {
            let there = catalog.scripts.contains_key(script);
            there
                .then_some(())
                .ok_or_else(|| not_then::<ScriptVersion>(script, as_of))?;
            pins.retain(|name, _| name == script);
        }
        Ok((as_of, pins))
    }

    /// Everything as it was.
    pub async fn catalog_at(&self, moment: Moment) -> Result<(AsOf, Arc<Catalog>), AppError> {
        let as_of = self.as_of(moment).await?;
        let applied = self.projections().catalog();
        if applied.sequence == as_of.sequence {
            return Ok((as_of, applied.catalog));
        }
        // One at a time: whoever comes next finds what this one has read.
        let mut folds = self.0.folds.lock().await;
        let mut state = folds.before(as_of.sequence);
        let log = self.0.broker.log.clone();
        let pages = Pages::new(log, Stream::Catalog, ALL, as_of.sequence, READ_AT_ONCE);
        let mut pages = pages.from(state.sequence + 1);
        while let Some(page) = pages.next().await? {
            page.iter().for_each(|message| state.fold(message));
            // A page is some milliseconds of work.
            tokio::task::yield_now().await;
        }
        folds.keep(state.clone());
        Ok((as_of, state.catalog))
    }

    /// What changed between two moments, and which ones they are.
    pub async fn differences(
        &self,
        from: Moment,
        to: Moment,
    ) -> Result<(AsOf, AsOf, Vec<Difference>), AppError> {
        let (from, before) = self.catalog_at(from).await?;
        let (to, after) = self.catalog_at(to).await?;
        Ok((from, to, replay::differences(&before, &after)))
    }

    /// As [`App::script_at`], without its files.
    pub async fn script_entry_at(
        &self,
        name: &Name,
        moment: Moment,
    ) -> Result<(AsOf, Entry<ScriptVersion>), AppError> {
        let as_of = self.as_of(moment).await?;
        Ok((as_of, self.found(name, as_of).await?))
    }

    async fn found<V: Versioned>(&self, name: &Name, as_of: AsOf) -> Result<Entry<V>, AppError> {
        let found = self.entry_at::<V>(name, as_of.sequence).await?;
        Ok(found.ok_or_else(|| not_then::<V>(name, as_of))?)
    }

    /// What an agent is shown with: its script, its capabilities and theirs.
    async fn around(&self, agent: &AgentDocument, as_of: AsOf) -> Result<Catalog, AppError> {
        let mut catalog = Catalog::default();
        let mut scripts: Vec<Name> = agent.script.iter().cloned().collect();
        for name in &agent.capabilities {
            let found = self.entry_at::<CapabilityVersion>(name, as_of.sequence);
            if let Some(entry) = found.await? {
                scripts.extend(entry.current.document.script.clone());
                catalog.capabilities.insert(name.clone(), entry);
            }
        }
        for name in scripts {
            let found = self.entry_at::<ScriptVersion>(&name, as_of.sequence);
            if let Some(entry) = found.await? {
                catalog.scripts.insert(name, entry);
            }
        }
        Ok(catalog)
    }

    /// One name as it was after a message of `CATALOG`.
    async fn entry_at<V: Versioned>(
        &self,
        name: &Name,
        sequence: u64,
    ) -> Result<Option<Entry<V>>, AppError> {
        let subject = subject::catalog(V::KIND, name);
        let mut until = sequence;
        loop {
            let Some(last) = self.last_of(&subject, until).await? else {
                return Ok(None);
            };
            until = last.sequence - 1;
            if !self.counts(&last).await? {
                continue;
            }
            let Ok(envelope) = last.envelope::<CatalogEvent>() else {
                continue;
            };
            let Some(current) = V::of(envelope.event) else {
                // Deleted.
                return Ok(None);
            };
            let created_at = self.created::<V>(name, &subject, &last).await?;
            return Ok(Some(Entry {
                current,
                created_at,
                modified_at: last.at,
            }));
        }
    }

    /// The last message of a subject up to a sequence, in as many short reads as that has binary
    /// digits.
    async fn last_of(&self, subject: &str, until: u64) -> Result<Option<Stored>, AppError> {
        let log = &self.0.broker.log;
        let (mut low, mut high, mut found) = (0, until + 1, None);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            let page = log.page(Stream::Catalog, subject, middle, 1).await?;
            match page.into_iter().next() {
                Some(message) if message.sequence <= until => {
                    low = message.sequence;
                    found = Some(message);
                }
                _ => high = middle,
            }
        }
        Ok(found)
    }

    /// Whether the projection took the message, too: it continues the chain, or stands behind a hole.
    async fn counts(&self, message: &Stored) -> Result<bool, AppError> {
        let named = chain::previous(&message.payload).flatten();
        if message.sequence == 1 {
            return Ok(named.is_none());
        }
        let log = &self.0.broker.log;
        let before = log.page(Stream::Catalog, ALL, message.sequence - 1, 1);
        let before = before.await?.into_iter().next();
        let before = before.filter(|before| before.sequence < message.sequence);
        Ok(before.is_none_or(|before| named == Some(Digest::of(&before.payload))))
    }

    /// When a name came to be that was there at that message.
    async fn created<V: Versioned>(
        &self,
        name: &Name,
        subject: &str,
        then: &Stored,
    ) -> Result<events::Timestamp, AppError> {
        let now = self.projections().catalog();
        let present = V::present(&now.catalog, name).map(|entry| entry.created_at);
        // It is the one that is there now, unless that came later.
        if let Some(created_at) = present.filter(|created_at| *created_at <= then.at) {
            return Ok(created_at);
        }
        let log = self.0.broker.log.clone();
        let until = then.sequence;
        let mut pages = Pages::new(log, Stream::Catalog, subject, until, READ_OF_NAME);
        let mut created_at = None;
        while let Some(page) = pages.next().await? {
            for message in page {
                let Ok(envelope) = message.envelope::<CatalogEvent>() else {
                    continue;
                };
                created_at = V::of(envelope.event).map(|_| created_at.unwrap_or(message.at));
            }
        }
        Ok(created_at.unwrap_or(then.at))
    }
}

fn not_then<V: Versioned>(name: &Name, as_of: AsOf) -> Rejection {
    Rejection::NotFoundThen {
        kind: V::KIND,
        name: name.clone(),
        as_of: as_of.to_string(),
    }
}

impl Folds {
    /// The newest one that is not after a sequence.
    fn before(&self, sequence: u64) -> CatalogState {
        let before = self.0.iter().filter(|state| state.sequence <= sequence);
        let nearest = before.max_by_key(|state| state.sequence);
        nearest.cloned().unwrap_or_default()
    }

    fn keep(&mut self, state: CatalogState) {
        self.0.retain(|kept| kept.sequence != state.sequence);
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(state);
    }
}
