//! What would cost all data if it went on in silence: a broker's cluster block beside a store that was
//! made without one. Its streams count as orphans there, and are deleted within a minute.

use super::PROJECTION;
use crate::projections;
use events::log::jetstream::Connection;
use events::subject::Stream;
use std::path::Path;

/// What the embedded broker reads, in its folder; written anew at every start.
const CONF_FILES: [&str; 3] = ["nats.conf", "local.conf", "accounts.conf"];

/// Says where somebody has added a cluster block to the embedded broker's files.
pub fn warn_of_cluster_block(data_dir: &Path) {
    for name in CONF_FILES {
        let file = data_dir.join("broker").join(name);
        if std::fs::read_to_string(&file).is_ok_and(|text| has_cluster_block(&text)) {
            tracing::warn!(
                file = %file.display(),
                "a cluster block beside the store of a single server: a server that reads it deletes every stream within a minute. It is ignored, and the file written anew. From one server to three: backup, new cluster, restore (README, Cluster)"
            );
        }
    }
}

/// Refuses to begin from nothing where we know that there was something.
///
/// # Errors
/// When the broker is a cluster, has no catalogue, and our read model was built from one.
pub async fn refuse_lost_streams(connection: &Connection, data_dir: &Path) -> anyhow::Result<()> {
    if connection
        .stream_facts(Stream::Catalog.name())
        .await?
        .is_some()
    {
        return Ok(());
    }
    let changes = projections::remembered(&data_dir.join(PROJECTION)).await;
    match (changes, connection.cluster()) {
        (0, _) => Ok(()),
        (changes, None) => {
            tracing::error!(
                changes,
                "the broker has no catalogue, and this coordinator has read one with so many changes: its store was deleted, or this is another broker; beginning from nothing"
            );
            Ok(())
        }
        (changes, Some(cluster)) => anyhow::bail!(
            "the broker is the cluster {cluster} and has no catalogue, but this coordinator has read one with {changes} changes. If a cluster block was added to a server that had data, stop that server NOW and take the block out: its streams are deleted within a minute. From one server to three lead backup, new cluster, restore (README, Cluster). If this broker is meant to be empty, give another --data-dir"
        ),
    }
}

fn has_cluster_block(text: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.trim_start().strip_prefix("cluster");
        rest.is_some_and(|rest| rest.trim_start().starts_with(['{', ':', '=']))
    })
}

#[cfg(test)]
mod tests {
    use super::has_cluster_block;

    #[test]
    fn a_block_is_told_from_what_is_said_of_it() {
        for block in [
            "cluster {",
            "  cluster: {",
            "cluster= {",
            "a: 1\ncluster {\n}",
        ] {
            assert!(has_cluster_block(block), "{block}");
        }
        for none in [
            "# cluster {",
            "cluster_name: x",
            "",
            "# from one to a cluster",
        ] {
            assert!(!has_cluster_block(none), "{none}");
        }
        assert!(!has_cluster_block(include_str!("../../../nats.conf")));
    }
}
