//! Takes away bundles that nobody needs. Every coordinator does it: what is put again in between stays,
//! whoever comes second finds nothing to do.

use super::Settings;
use crate::app::{App, AppError};
use crate::policy::bundles::Orphans;
use events::subject::Stream;
use jiff::SignedDuration;
use std::time::Duration;

/// Between two looks. What is left over is of failed uploads, so there is little of it.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// A coordinator that has just started has better things to do.
const FIRST_LOOK: Duration = Duration::from_secs(10 * 60);
/// Changes read at once.
const PAGE: usize = 1_000;

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub bundles: u64,
    pub bytes: u64,
    /// Of uploads and removals that did not come to their end.
    pub remains: u64,
}

pub(super) async fn run(app: App, settings: Settings) {
    let mut wait = FIRST_LOOK;
    loop {
        tokio::time::sleep(wait).await;
        wait = LOOK_EVERY;
        match collect(&app, settings.bundle_grace).await {
            Ok(Collected {
                bundles: 0,
                remains: 0,
                ..
            }) => {}
            Ok(Collected {
                bundles,
                bytes,
                remains,
            }) => {
                tracing::info!(
                    bundles,
                    bytes,
                    remains,
                    "took away bundles that nothing refers to"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "bundles that nobody needs could not be taken away");
            }
        }
    }
}

/// Takes away what was put longer ago than `grace` and is referred to by no change of the catalogue.
pub async fn collect(app: &App, grace: Duration) -> Result<Collected, AppError> {
    let (log, bundles) = (&app.broker().log, &app.broker().bundles);
    let (now, grace) = (
        app.now(),
        SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX),
    );
    let mut orphans = Orphans::among(bundles.listed().await?, now, grace);
    // Read after the list: whoever refers to a bundle has put it before, and so later than this list
    // where it is not in these pages.
    let last = log.bounds(Stream::Catalog).await?.last_sequence;
    let mut from = 1;
    while from <= last && !orphans.is_empty() {
        let all = Stream::Catalog.subjects();
        let page = log.page(Stream::Catalog, all, from, PAGE).await?;
        let Some(newest) = page.last() else {
            // A follower of the stream's leader that lags behind has not told us all.
            return Err(AppError::Behind);
        };
        from = newest.sequence + 1;
        page.iter()
            .for_each(|change| orphans.keep_referred(&change.payload));
    }
    let mut collected = Collected::default();
    for bundle in orphans.into_bundles() {
        if bundles.remove(&bundle).await? {
            collected.bundles += 1;
            collected.bytes += bundle.bytes;
        }
    }
    if let Ok(before) = now.checked_sub(grace) {
        collected.remains = bundles.sweep(before).await?;
    }
    Ok(collected)
}
