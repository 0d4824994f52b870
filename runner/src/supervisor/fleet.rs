//! Many runners in one process, for measurements: each with its own connection, lanes and folders, and
//! the same code as one alone. What they have in common is the launcher and the interpreters found.

use super::{Host, RunnerError, allowed, only_one, work_on};
use crate::config::Settings;
use crate::execute::interpreter::Interpreters;
use crate::launcher::Launcher;
use futures::{StreamExt as _, TryStreamExt as _};
use std::sync::Arc;

/// Members that join at once: enough to be quick, and no flood for the coordinator.
const JOINING: usize = 32;

/// All of them join, work until the process is told to leave, and leave in order.
pub async fn fleet(members: Vec<Settings>) -> Result<(), RunnerError> {
    let Some(first) = members.first() else {
        return Ok(());
    };
    let launcher = Launcher::start().map_err(RunnerError::Launcher)?;
    let host = Arc::new(Host {
        launcher: Arc::new(launcher),
        interpreters: Interpreters::detect(&allowed(first), &first.search_path).await,
    });
    let joined = futures::stream::iter(members).map(join).buffered(JOINING);
    let mut working = tokio::task::JoinSet::new();
    let mut joined = std::pin::pin!(joined);
    while let Some((settings, membership, lock)) = joined.try_next().await? {
        let host = host.clone();
        working.spawn(async move {
            let _only_one = lock;
            work_on(&host, settings, membership).await
        });
    }
    while let Some(worked) = working.join_next().await {
        worked.map_err(|error| RunnerError::Launcher(std::io::Error::other(error)))??;
    }
    Ok(())
}

async fn join(
    settings: Settings,
) -> Result<(Settings, crate::join::Membership, std::fs::File), RunnerError> {
    let lock = only_one(&settings)?;
    let membership = crate::join::membership(&settings).await?;
    Ok((settings, membership, lock))
}
