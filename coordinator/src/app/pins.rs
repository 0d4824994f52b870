//! Pins: which scripts were sent where by hand; sending one, and taking it back.

use super::catalog::{CatalogOutcome, CatalogWrite};
use super::{App, AppError, Written};
use crate::domain::{Rejection, pins, scripts};
use events::catalog::{Catalog, Pin, Place};
use events::{Actor, LaneTags, RunnerId};
use schemas::Name;
use std::collections::BTreeSet;

/// A pin, and who holds the script for its sake.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedScript {
    pub script: Name,
    pub pin: Pin,
    /// The runners that are online and are meant.
    pub runners: BTreeSet<RunnerId>,
}

impl App {
    /// All pins, or those of one script, by script, oldest first.
    ///
    /// # Errors
    /// When there is no such script.
    pub fn pins(&self, script: Option<&Name>) -> Result<Vec<PinnedScript>, AppError> {
        let catalog = self.projections().catalog().catalog;
        if let Some(script) = script {
            scripts::find(&catalog, script)?;
        }
        let meant = catalog.pins.iter();
        let meant = meant.filter(|(name, _)| script.is_none_or(|script| script == *name));
        let all = meant.flat_map(|(name, pins)| pins.iter().map(move |pin| (name, pin)));
        Ok(all.map(|(name, pin)| self.pinned(name, pin)).collect())
    }

    pub async fn pin_script(
        &self,
        actor: &Actor,
        script: &Name,
        place: Place,
    ) -> Result<Written<PinnedScript>, AppError> {
        self.known(&place)?;
        let (name, wanted) = (script.clone(), place.clone());
        let write = CatalogWrite::new(move |catalog| pins::pin(catalog, &name, &wanted));
        let CatalogOutcome::Done { change, after } = self.change_catalog(actor, write).await?
        else {
            // A pin is made for no version.
            return Err(AppError::Contended { tries: 1 });
        };
        let pin = pin_of(&after, script, &place)?;
        let now = self.pinned(script, &pin);
        Ok(Written { change, now })
    }

    /// Takes one pin of a script back, or all.
    pub async fn unpin_script(
        &self,
        actor: &Actor,
        script: &Name,
        place: Option<Place>,
    ) -> Result<(), AppError> {
        let script = script.clone();
        let write = CatalogWrite::new(move |catalog| pins::unpin(catalog, &script, place.as_ref()));
        self.change_catalog(actor, write).await.map(drop)
    }

    /// The runners that are online and serve a lane.
    fn online_for(&self, tags: &LaneTags) -> BTreeSet<RunnerId> {
        let there = self.online();
        let serving = there.iter().filter(|(_, there)| there.serves(tags));
        serving.map(|(id, _)| id.clone()).collect()
    }

    /// A runner that never was here is most likely a slip of the pen.
    fn known(&self, place: &Place) -> Result<(), Rejection> {
        match place {
            Place::Runner { runner_id }
                if !self.projections().runners().contains_key(runner_id) =>
            {
                let runner_id = runner_id.clone();
                Err(Rejection::UnknownRunner { runner_id })
            }
            Place::Runner { .. } | Place::Tags { .. } => Ok(()),
        }
    }

    fn pinned(&self, script: &Name, pin: &Pin) -> PinnedScript {
        PinnedScript {
            script: script.clone(),
            pin: pin.clone(),
            runners: self.online_for(&pin.place.lane_tags()),
        }
    }
}

fn pin_of(catalog: &Catalog, script: &Name, place: &Place) -> Result<Pin, Rejection> {
    let mut pins = catalog.pins.get(script).into_iter().flatten();
    let pin = pins.find(|pin| pin.place == *place);
    pin.cloned().ok_or_else(|| Rejection::NotPinned {
        script: script.clone(),
    })
}
