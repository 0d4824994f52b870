//! Waiting for something that happens by itself. Never a bare sleep: a condition, looked at often.

use std::time::Duration;

/// How long a story waits before it says that something never happened. Generous, because the
/// machine may be busy; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `probe` finds something; panics with `what` after [`PATIENCE`].
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe).await
}

/// The same with another patience, for what takes long by its nature.
pub async fn within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(begun.elapsed() < patience, "never happened: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
